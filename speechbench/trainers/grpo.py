"""GRPO as arXiv 2509.16990 uses it: group-normalised rewards, the loss of DAPO, a k3 penalty on the KL.

The names say the shapes: `_PG` is [prompt, member of the group], `_PGT` is [prompt, member, token].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.models.base import Completions, Prompts, Sampling, SpeechModel
from speechbench.rewards.base import Reward
from speechbench.trainers.base import SpeechTrainer, TrainConfig, TrainResult


@dataclass(frozen=True)
class GrpoConfig(TrainConfig):
    """The paper's, but for learning rate and steps: those were chosen as SFT's were. For a model of billions of
    parameters the paper searched learning rates from 1e-6 to 5e-5.

    Attributes:
        num_generations: G, the size of the group.
        temperature: Of sampling, and of the probabilities in the loss.
        beta: Weight of the KL to the model before training.
        epsilon: The ratio is clipped to [1 − epsilon, 1 + epsilon]. With one update per batch of samples, as
            here, the ratio is 1 and nothing is clipped; it acts from the second update of `num_iterations` on.
        num_iterations: Optimizer steps taken on each batch of samples.

    Raises:
        UsageError: If a value makes no sense.
    """

    num_generations: int = 8
    temperature: float = 1.0
    beta: float = 0.02
    epsilon: float = 0.2
    num_iterations: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.num_generations >= 2, "num_generations", "a group needs at least 2 members to compare")
        self.require_positive("temperature", "as 1.0")
        self.require_not_negative("beta", "as 0.02")
        self.require_positive("epsilon", "as 0.2")
        self.require(self.num_iterations >= 1, "num_iterations", "give 1 or more")
        self.require(
            self.save_steps % self.num_iterations == 0,
            "save_steps",
            f"samples are not kept in checkpoints, so give a multiple of num_iterations={self.num_iterations}",
        )


@dataclass(frozen=True)
class Group:
    """Completions with what the loss needs of them; nothing here carries a gradient.

    Attributes:
        off_policy_PG: Which completions the policy did not write itself.
        old_PGT: Log-probabilities under the policy that wrote them; `None` where that is the present one.
        reference_PGT: Log-probabilities under the model before training.
    """

    examples: list[Example]
    completions: Completions
    advantages_PG: torch.Tensor
    off_policy_PG: torch.Tensor
    reference_PGT: torch.Tensor
    old_PGT: torch.Tensor | None


class Terms(NamedTuple):
    """The loss and what is worth watching in it."""

    loss: torch.Tensor
    kl: torch.Tensor
    clip_share: torch.Tensor


def group_advantages(rewards_PG: torch.Tensor) -> torch.Tensor:
    """A = (r − mean) / std over the group (the paper, section 2; std with n − 1, plus 1e-4, as TRL does).

    NaN marks a reward that does not apply: it leaves the mean and the std, and its advantage is NaN. Groups
    with fewer than two scored members, or with equal rewards, have nothing to tell: exactly 0.
    """
    scored_PG = ~rewards_PG.isnan()
    count_P1 = scored_PG.sum(-1, keepdim=True)
    mean_P1 = rewards_PG.nansum(-1, keepdim=True) / count_P1.clamp(min=1)
    deviation_PG = rewards_PG - mean_P1
    variance_P1 = deviation_PG.square().nansum(-1, keepdim=True) / (count_P1 - 1).clamp(min=1)
    highest_P1 = rewards_PG.masked_fill(~scored_PG, -torch.inf).amax(-1, keepdim=True)
    lowest_P1 = rewards_PG.masked_fill(~scored_PG, torch.inf).amin(-1, keepdim=True)
    silent_P1 = (count_P1 < 2) | (highest_P1 == lowest_P1)
    advantages_PG = torch.where(silent_P1, 0.0, deviation_PG / (variance_P1.sqrt() + 1e-4))
    return advantages_PG.masked_fill(~scored_PG, torch.nan)


def dapo_loss(
    logprobs_PGT: torch.Tensor,
    old_PGT: torch.Tensor,
    reference_PGT: torch.Tensor,
    advantages_PG: torch.Tensor,
    off_policy_PG: torch.Tensor,
    mask_PGT: torch.Tensor,
    tokens: torch.Tensor,
    beta: float,
    epsilon: float,
) -> Terms:
    """Sum over tokens / all completion tokens of min(ρA, clip(ρ)A) − β·KL (arXiv 2503.14476; 2509.16990).

    For on-policy tokens ρ = π/π_old and KL is k3 = π_ref/π − log(π_ref/π) − 1. For off-policy ones
    (the reference in the group) ρ = π/1, unclipped, without KL (arXiv 2504.14945).

    Args:
        logprobs_PGT: Under the policy, with gradient; 0 at padding.
        old_PGT: Under the policy that wrote the completions.
        reference_PGT: Under the model before training.
        advantages_PG: One per completion.
        off_policy_PG: Bool.
        mask_PGT: Which tokens count.
        tokens: How many tokens count in the whole accumulation window.
        beta: Weight of the KL.
        epsilon: Clip range.
    """
    advantages_PG1 = advantages_PG[..., None]
    off_PG1 = off_policy_PG[..., None]
    ratio_PGT = torch.where(off_PG1, logprobs_PGT, logprobs_PGT - old_PGT).exp()
    clipped_PGT = torch.where(off_PG1, ratio_PGT, ratio_PGT.clamp(1 - epsilon, 1 + epsilon))
    surrogate_PGT = torch.minimum(ratio_PGT * advantages_PG1, clipped_PGT * advantages_PG1)
    log_ratio_PGT = reference_PGT - logprobs_PGT
    kl_PGT = (log_ratio_PGT.exp() - log_ratio_PGT - 1).masked_fill(off_PG1, 0.0)
    loss = -((surrogate_PGT - beta * kl_PGT) * mask_PGT).sum() / tokens
    on_PGT = mask_PGT & ~off_PG1
    on_tokens = on_PGT.sum().clamp(min=1)
    # A token is clipped where the bound, not the ratio, is what counts.
    is_clipped_PGT = (clipped_PGT * advantages_PG1 < ratio_PGT * advantages_PG1) & on_PGT
    return Terms(loss, (kl_PGT.detach() * on_PGT).sum() / on_tokens, is_clipped_PGT.sum() / on_tokens)


class GrpoTrainer(SpeechTrainer[Group]):
    """Samples a group per prompt, scores it, and follows the policy gradient."""

    config: GrpoConfig
    reward: Reward

    def __init__(self, model: SpeechModel, benchmark: Benchmark, reward: Reward, config: GrpoConfig) -> None:
        self.reward = reward
        self._samples: list[Group] = []
        self.before_training = model.frozen_copy()
        super().__init__(model, benchmark, config)

    @property
    def can_stop(self) -> bool:
        """Only where fresh samples come next: they are not kept in checkpoints."""
        return int(self.state.global_step) % self.config.num_iterations == 0

    @property
    def samples_per_prompt(self) -> int:
        """How many members of a group the policy writes."""
        return self.config.num_generations

    def complete(self, prompts: Prompts, examples: list[Example]) -> tuple[Completions, torch.Tensor]:
        """Writes the group of each prompt; returns it with which members are off-policy."""
        c = self.config
        sampling = Sampling(c.temperature, c.max_completion_length, c.seed, self.state.global_step)
        completions = self.speech_model.sample(prompts, self.samples_per_prompt, sampling)
        return completions, torch.zeros_like(completions.finished)

    @torch.no_grad()
    def roll_out(self, examples: list[Example]) -> Group:
        """Samples, scores and compares within the group."""
        with self.timed("sampling"):
            completions, off_policy_PG = self.complete(self.speech_model.embed(examples), examples)
            texts = self.speech_model.texts_of(completions)
        written_PGT = None  # log-probabilities as the policy wrote them
        if self.config.num_iterations > 1 or "logprobs" in self.reward.needs:
            with self.timed("learning"):
                written_PGT, _ = self.speech_model(examples, completions, self.config.temperature)
        with self.timed("scoring"):
            logprobs_PG = None if written_PGT is None else _token_mean(written_PGT, completions.mask)
            scored = self.begin_scoring(texts, examples, logprobs_PG)
        with self.timed("learning"):
            reference_PGT, _ = self.before_training(examples, completions, self.config.temperature)
        with self.timed("scoring"):
            rewards_PG = scored().to(off_policy_PG.device)
        self._watch(rewards_PG, texts, completions, off_policy_PG)
        advantages_PG = group_advantages(rewards_PG)
        unscored_PG = advantages_PG.isnan()
        completions = Completions(completions.tokens, completions.mask & ~unscored_PG[..., None], completions.finished)
        reference_PGT = reference_PGT.masked_fill(~completions.mask, 0.0)
        old_PGT = None
        if written_PGT is not None and self.config.num_iterations > 1:
            old_PGT = written_PGT.masked_fill(~completions.mask, 0.0)
        return Group(
            examples, completions, advantages_PG.nan_to_num().float(), off_policy_PG, reference_PGT, old_PGT
        )  # fmt: skip

    def _watch(
        self, rewards_PG: torch.Tensor, texts: list[list[str]], completions: Completions, off_policy_PG: torch.Tensor
    ) -> None:
        own_PG = ~off_policy_PG
        on = rewards_PG[own_PG & ~rewards_PG.isnan()]
        if len(on):
            self.note(reward=on.mean().item(), reward_std=on.std().item() if len(on) > 1 else 0.0)
        is_empty_PG = torch.tensor([[not text for text in group] for group in texts], device=own_PG.device)
        spread_P = rewards_PG.nan_to_num(-torch.inf).amax(-1) - rewards_PG.nan_to_num(torch.inf).amin(-1)
        self.note(
            zero_variance_groups=(~(spread_P > 0)).double().mean().item(),
            distinct=sum(len(set(group)) / len(group) for group in texts) / len(texts),
            completion_length=completions.mask.sum(-1).float().mean().item(),
            truncated=(~completions.finished)[own_PG].float().mean().item(),
            empty=is_empty_PG[own_PG].float().mean().item(),
        )

    def roll_out_window(self, batches: list[list[Example]]) -> list[Group]:
        """Fresh samples at every `num_iterations`-th step; the same ones again between them.

        Fresh ones too where a window is not as large as the one before it, as at the end of an epoch.
        """
        if self.state.global_step % self.config.num_iterations == 0 or len(self._samples) != len(batches):
            self._samples = super().roll_out_window(batches)
        return self._samples

    def loss(self, model: torch.nn.Module, rollout: Group, tokens: torch.Tensor) -> torch.Tensor:
        """DAPO's loss; what is worth watching is logged."""
        logprobs_PGT, entropy_PGT = model(rollout.examples, rollout.completions, self.config.temperature)
        old_PGT = logprobs_PGT.detach() if rollout.old_PGT is None else rollout.old_PGT
        terms = dapo_loss(
            logprobs_PGT, old_PGT, rollout.reference_PGT, rollout.advantages_PG, rollout.off_policy_PG,
            rollout.completions.mask, tokens.clamp(min=1), self.config.beta, self.config.epsilon,
        )  # fmt: skip
        mean_entropy = entropy_PGT.sum() / rollout.completions.mask.sum().clamp(min=1)
        self.note(kl=terms.kl.item(), clip_share=terms.clip_share.item(), entropy=mean_entropy.item())
        return terms.loss


def _token_mean(values_PGT: torch.Tensor, mask_PGT: torch.Tensor) -> torch.Tensor:
    """Mean over each completion's tokens of what is 0 at padding; float64 [prompt, member]."""
    return values_PGT.double().sum(-1) / mask_PGT.sum(-1).clamp(min=1)


def train(model: SpeechModel, benchmark: Benchmark, reward: Reward, config: GrpoConfig) -> TrainResult:
    """Trains with GRPO on a reward.

    Raises:
        UsageError: If the configuration makes no sense.
        SpeechbenchError: If the reward fails on an example, or the training split is empty.
    """
    return GrpoTrainer(model, benchmark, reward, config).run()
