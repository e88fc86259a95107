"""Rejection-sampling SFT: the best of G samples by the reward is what is learned (RAFT, arXiv 2304.06767).

On-policy: each step samples from the model as it is now. The names say the shapes: `_PG` is [prompt, member of the
group], `_P1T` is [prompt, 1, token].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.models.base import Completions, SpeechModel
from speechbench.rewards.base import Reward
from speechbench.trainers.base import SpeechTrainer, TrainConfig, TrainResult
from speechbench.trainers.rolling import draw, note_groups, token_mean


@dataclass(frozen=True)
class RejectionSftConfig(TrainConfig):
    """As GRPO's where the two have the same fields, but for the learning rate, which was chosen as SFT's was.

    Attributes:
        num_generations: G, of how many samples the best is kept.
        temperature: Of sampling alone, as in RAFT; the loss is that of the model at temperature 1, as SFT's.

    Raises:
        UsageError: If a value makes no sense.
    """

    learning_rate: float = 5e-5
    num_generations: int = 8
    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.num_generations >= 2, "num_generations", "the best is chosen of at least 2")
        self.require_positive("temperature", "as 1.0")


@dataclass(frozen=True)
class Kept:
    """Examples and the best sample of each; where there is none, no token of it counts.

    Attributes:
        completions: One per prompt.
    """

    examples: list[Example]
    completions: Completions


def best_of(completions: Completions, rewards_PG: torch.Tensor) -> Completions:
    """Of each group the finished member with the highest reward; the first of several.

    Members that were cut at the longest length are not learned, since they would teach not to end. A group whose best
    is no better than another of its members, cut ones among them, or that has no two members with a reward, has nothing
    to learn from: its mask is empty. RAFT learns the first of such a group, which says nothing of the reward: what a
    model draws from itself unselected moves it in a random direction, whose mean is 0.

    Args:
        completions: Shape [prompt, member, token].
        rewards_PG: NaN where the reward does not apply.

    Returns:
        Shape [prompt, 1, token], cut to the longest that is kept.
    """
    most_P, best_P = rewards_PG.masked_fill(~completions.finished, torch.nan).nan_to_num(-torch.inf).max(-1)
    rows = torch.arange(len(best_P), device=best_P.device)
    is_better_P = most_P > rewards_PG.nan_to_num(torch.inf).amin(-1)
    mask_PT = completions.mask[rows, best_P] & is_better_P[:, None]
    longest = max(1, int(mask_PT.sum(-1).max()))
    return Completions(
        completions.tokens[rows, best_P, :longest][:, None],
        mask_PT[:, None, :longest],
        completions.finished[rows, best_P][:, None],
    )


class RejectionSftTrainer(SpeechTrainer[Kept]):
    """Samples a group per prompt, scores it, and learns its best whole member as SFT learns the reference."""

    config: RejectionSftConfig
    reward: Reward

    def __init__(self, model: SpeechModel, benchmark: Benchmark, reward: Reward, config: RejectionSftConfig) -> None:
        self.reward = reward
        super().__init__(model, benchmark, config)

    @torch.no_grad()
    def roll_out(self, examples: list[Example]) -> Kept:
        """Samples, scores, and keeps the best of each group."""
        c = self.config
        with self.timed("sampling"):
            completions = draw(self, self.speech_model.embed(examples), c.num_generations, c.temperature)
            texts = self.speech_model.texts_of(completions)
        logprobs_PG = None
        if "logprobs" in self.reward.needs:
            with self.timed("learning"):
                written_PGT, _ = self.speech_model(examples, completions, c.temperature)
                logprobs_PG = token_mean(written_PGT, completions.mask)
        with self.timed("scoring"):
            rewards_PG = self.begin_scoring(texts, examples, logprobs_PG)().to(completions.mask.device)
        note_groups(self, rewards_PG, texts, completions)
        kept = best_of(completions, rewards_PG)
        is_kept_P = kept.mask[:, 0].any(-1)
        self.note(skipped=(~is_kept_P).float().mean().item(), unscored=rewards_PG.isnan().all(-1).float().mean().item())
        if is_kept_P.any():
            ended_PG = rewards_PG.masked_fill(~completions.finished, torch.nan)
            self.note(kept_reward=ended_PG[is_kept_P].nan_to_num(-torch.inf).amax(-1).mean().item())
        return Kept(examples, kept)

    def loss(self, model: torch.nn.Module, rollout: Kept, tokens: torch.Tensor) -> torch.Tensor:
        """−Σ log π(best) / tokens."""
        logprobs_P1T, entropy_P1T = model(rollout.examples, rollout.completions)
        self.note(entropy=(entropy_P1T.sum() / rollout.completions.mask.sum().clamp(min=1)).item())
        loss: torch.Tensor = -logprobs_P1T.sum() / tokens.clamp(min=1)
        return loss


def train(model: SpeechModel, benchmark: Benchmark, reward: Reward, config: RejectionSftConfig) -> TrainResult:
    """Fine-tunes on the best of the model's own samples.

    Raises:
        UsageError: If the configuration makes no sense.
        SpeechbenchError: If the reward fails on an example, or the training split is empty.
    """
    return RejectionSftTrainer(model, benchmark, reward, config).run()
