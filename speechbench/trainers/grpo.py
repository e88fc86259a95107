"""GRPO as arXiv 2509.16990 uses it: group-normalised rewards, the loss of DAPO, a k3 penalty on the KL; and its kin.

The equations are in `speechbench.trainers.losses`; here is where each is used. The names say the shapes: `_PG` is
[prompt, member of the group], `_PGT` is [prompt, member, token].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.models.base import Completions, Prompts, SpeechModel
from speechbench.rewards.base import Reward
from speechbench.trainers.base import SpeechTrainer, TrainResult
from speechbench.trainers.grpo_config import GrpoConfig
from speechbench.trainers.losses import LOSS_TYPES, RATIOS, Window, advantages, batch_std, group_std, k1, k3
from speechbench.trainers.memory_errors import saying_how_to_do_without
from speechbench.trainers.rolling import draw, note_groups, token_mean

__all__ = ["Group", "GrpoConfig", "GrpoTrainer", "policy_loss", "train"]


@dataclass(frozen=True)
class Scored:
    """Completions with their rewards and what the loss needs of them; nothing here carries a gradient.

    Attributes:
        completions: Their mask holds the tokens in the loss: none of a completion without a reward, nor of a group
            with fewer than two to compare.
        rewards_PG: What is compared: NaN where the reward does not apply.
        off_policy_PG: Which completions the policy did not write itself.
        kl_PG: On which completions the KL is taken.
        reference_PGT: Log-probabilities under the model before training; `None` where no KL is taken.
        old_PGT: Log-probabilities under the policy that wrote them; `None` where that is the present one.
    """

    examples: list[Example]
    completions: Completions
    rewards_PG: torch.Tensor
    off_policy_PG: torch.Tensor
    kl_PG: torch.Tensor
    reference_PGT: torch.Tensor | None
    old_PGT: torch.Tensor | None


@dataclass(frozen=True)
class Group(Scored):
    """What one forward pass learns from, once all of its accumulation window was scored.

    Attributes:
        advantages_PG: One per completion; 0 where the reward does not apply.
        samples: Completions with tokens in the loss, in the window on all processes.
        batches: Forward passes in the window on all processes.
    """

    advantages_PG: torch.Tensor
    samples: torch.Tensor
    batches: torch.Tensor


class Terms(NamedTuple):
    """The loss and what is worth watching in it: means over the tokens that the policy wrote.

    Attributes:
        loss: One number, with gradient.
        kl: k3 per token, in nats, whatever estimator is trained on; `None` where there is no reference model.
        clip_share: Share of the tokens at which a bound of the ratio acts.
    """

    loss: torch.Tensor
    kl: torch.Tensor | None
    clip_share: torch.Tensor


def policy_loss(
    logprobs_PGT: torch.Tensor,
    group: Group,
    tokens: torch.Tensor,
    config: GrpoConfig,
    shaped: Callable[[torch.Tensor], torch.Tensor] = lambda probability_PGT: probability_PGT,
) -> Terms:
    """Minus the objective: of each token its contribution − β·KL, added up as the type of loss does.

    By default this is sum over tokens / all completion tokens of min(ρA, clip(ρ)A) − β·k3 (arXiv 2503.14476;
    2509.16990). For tokens that the policy did not write (the reference in the group) ρ = π/1, unclipped, whatever the
    type of loss (arXiv 2504.14945).

    Args:
        logprobs_PGT: Under the policy, with gradient; 0 at padding.
        group: What they belong to.
        tokens: How many tokens count in the whole accumulation window.
        config: Which loss, ratio and KL.
        shaped: What stands for the probability of tokens that the policy did not write.
    """
    kind = LOSS_TYPES[config.loss_type]
    mask_PGT = group.completions.mask
    off_PG1 = group.off_policy_PG[..., None]
    advantages_PG1 = group.advantages_PG[..., None]
    old_PGT = logprobs_PGT.detach() if group.old_PGT is None else group.old_PGT
    log_ratio_PGT = torch.where(off_PG1, logprobs_PGT, logprobs_PGT - old_PGT)
    on_ratio_PGT = RATIOS[config.importance_sampling_level](log_ratio_PGT, mask_PGT)
    ratio_PGT = torch.where(off_PG1, log_ratio_PGT.exp(), on_ratio_PGT)
    contribution_PGT, is_bounded_PGT = kind.contribution(ratio_PGT, advantages_PG1, logprobs_PGT, config.bounds)
    objective_PGT = torch.where(off_PG1, shaped(ratio_PGT) * advantages_PG1, contribution_PGT)

    on_PGT = mask_PGT & ~off_PG1
    on_tokens = on_PGT.sum().clamp(min=1)
    kl = None
    if group.reference_PGT is not None:
        kl_PGT = k3(group.reference_PGT, logprobs_PGT)
        kl = (kl_PGT.detach() * on_PGT).sum() / on_tokens
        if config.kl_estimator != "k1_reward":
            if config.kl_estimator == "k3_ratio":
                kl_PGT = kl_PGT * ratio_PGT
            objective_PGT = objective_PGT - config.beta * kl_PGT.masked_fill(~group.kl_PG[..., None], 0.0)

    window = Window(tokens.clamp(min=1), group.samples.clamp(min=1), group.batches)
    loss = -kind.total(objective_PGT, mask_PGT, window, config.max_completion_length)
    return Terms(loss, kl, (is_bounded_PGT & on_PGT).sum() / on_tokens)


class GrpoTrainer(SpeechTrainer[Group]):
    """Samples a group per prompt, scores it, and follows the policy gradient."""

    config: GrpoConfig
    reward: Reward

    def __init__(self, model: SpeechModel, benchmark: Benchmark, reward: Reward, config: GrpoConfig) -> None:
        self.reward = reward
        self.config = config
        self._samples: list[Group] = []
        self.before_training = None
        if config.beta > 0:
            with saying_how_to_do_without(self.subject, config.beta):
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
        completions = draw(self, prompts, self.samples_per_prompt, self.config.temperature)
        return completions, torch.zeros_like(completions.finished)

    def in_baseline(self, off_policy_PG: torch.Tensor) -> torch.Tensor:
        """Which members of a group make the mean and std that all are compared with: all of them."""
        return torch.ones_like(off_policy_PG)

    def under_kl(self, off_policy_PG: torch.Tensor) -> torch.Tensor:
        """Which members the KL is taken on: what the policy wrote, for only there k3 estimates a KL."""
        return ~off_policy_PG

    def shaped(self, probability_PGT: torch.Tensor) -> torch.Tensor:
        """What stands for the probability of tokens that the policy did not write."""
        return probability_PGT

    @torch.no_grad()
    def score(self, examples: list[Example]) -> Scored:
        """Samples and scores."""
        c = self.config
        is_kl_in_reward = c.kl_estimator == "k1_reward" and self.before_training is not None
        with self.timed("sampling"):
            completions, off_policy_PG = self.complete(self.speech_model.embed(examples), examples)
            texts = self.speech_model.texts_of(completions)
        written_PGT = None  # log-probabilities as the policy wrote them
        if c.num_iterations > 1 or is_kl_in_reward or "logprobs" in self.reward.needs:
            with self.timed("learning"):
                written_PGT, _ = self.speech_model(examples, completions, c.temperature)
        with self.timed("scoring"):
            logprobs_PG = None if written_PGT is None else token_mean(written_PGT, completions.mask)
            scored = self.begin_scoring(texts, examples, logprobs_PG, off_policy_PG)
        reference_PGT = None
        if self.before_training is not None:
            with self.timed("learning"):
                reference_PGT, _ = self.before_training(examples, completions, c.temperature)
        with self.timed("scoring"):
            rewards_PG = scored().to(off_policy_PG.device)
        compared_PG = rewards_PG.masked_fill(~self.in_baseline(off_policy_PG), torch.nan)
        note_groups(self, compared_PG, texts, completions, off_policy_PG)
        kl_PG = self.under_kl(off_policy_PG)
        if is_kl_in_reward and written_PGT is not None and reference_PGT is not None:
            penalty_PG = c.beta * k1(reference_PGT, written_PGT).double().sum(-1)
            rewards_PG = rewards_PG - penalty_PG.masked_fill(~kl_PG, 0.0)
        is_compared_P1 = (~compared_PG.isnan()).sum(-1, keepdim=True) >= 2  # else there is nothing to learn from
        in_loss_PG = ~rewards_PG.isnan() & is_compared_P1
        if c.mask_truncated_completions:
            in_loss_PG = in_loss_PG & completions.finished
        mask_PGT = completions.mask & in_loss_PG[..., None]
        return Scored(
            examples,
            dataclasses.replace(completions, mask=mask_PGT),
            rewards_PG,
            off_policy_PG,
            kl_PG,
            None if reference_PGT is None else reference_PGT.masked_fill(~mask_PGT, 0.0),
            written_PGT.masked_fill(~mask_PGT, 0.0) if written_PGT is not None and c.num_iterations > 1 else None,
        )

    def compare(self, window: list[Scored]) -> list[Group]:
        """From rewards to advantages, once all of an accumulation window was scored; on all processes at once."""
        c = self.config
        in_baseline = [self.in_baseline(s.off_policy_PG) for s in window]
        compared = [s.rewards_PG.masked_fill(~in_PG, torch.nan) for s, in_PG in zip(window, in_baseline, strict=True)]
        if c.scale_rewards == "group":
            stds: list[torch.Tensor | None] = [group_std(rewards_PG) for rewards_PG in compared]
        elif c.scale_rewards == "batch":
            stds = [batch_std(compared, self._over_processes)] * len(window)
        else:
            stds = [None] * len(window)
        in_loss = torch.stack([s.completions.mask.any(-1).sum() for s in window]).sum()
        samples, batches = self._over_processes(torch.stack([in_loss, torch.full_like(in_loss, len(window))]))
        return [
            Group(
                **vars(scored),
                advantages_PG=advantages(scored.rewards_PG, std, c.std_floor, in_PG).nan_to_num().float(),
                samples=samples,
                batches=batches,
            )
            for scored, std, in_PG in zip(window, stds, in_baseline, strict=True)
        ]

    def _over_processes(self, value: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor = self.accelerator.reduce(value, "sum")
        return total

    def roll_out(self, examples: list[Example]) -> Group:
        """Samples, scores and compares a window of one batch."""
        return self.compare([self.score(examples)])[0]

    def roll_out_window(self, batches: list[list[Example]]) -> list[Group]:
        """Fresh samples at every `num_iterations`-th step; the same ones again between them.

        Fresh ones too where a window is not as large as the one before it, as at the end of an epoch.
        """
        if self.state.global_step % self.config.num_iterations == 0 or len(self._samples) != len(batches):
            self._samples = self.compare([self.score(batch) for batch in batches])
        return self._samples

    def loss(self, model: torch.nn.Module, rollout: Group, tokens: torch.Tensor) -> torch.Tensor:
        """The policy's; what is worth watching is logged."""
        logprobs_PGT, entropy_PGT = model(rollout.examples, rollout.completions, self.config.temperature)
        terms = policy_loss(logprobs_PGT, rollout, tokens, self.config, self.shaped)
        if terms.kl is not None:
            self.note(kl=terms.kl.item())
        own_PGT = rollout.completions.mask & ~rollout.off_policy_PG[..., None]
        mean_entropy = (entropy_PGT * own_PGT).sum() / own_PGT.sum().clamp(min=1)
        self.note(clip_share=terms.clip_share.item(), entropy=mean_entropy.item())
        return terms.loss


def train(model: SpeechModel, benchmark: Benchmark, reward: Reward, config: GrpoConfig) -> TrainResult:
    """Trains with GRPO on a reward.

    Raises:
        UsageError: If the configuration makes no sense.
        SpeechbenchError: If the reward fails on an example, or the training split is empty.
    """
    return GrpoTrainer(model, benchmark, reward, config).run()
