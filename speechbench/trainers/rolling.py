"""What trainers that sample groups and score them have in common: what a reward is told, and what is worth watching."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

import torch

from speechbench.models.base import Completions, Prompts, Sampling
from speechbench.trainers.base import SpeechTrainer


def token_mean(values_PGT: torch.Tensor, mask_PGT: torch.Tensor) -> torch.Tensor:
    """Mean over each completion's tokens of what is 0 at padding; float64 [prompt, member]."""
    return values_PGT.double().sum(-1) / mask_PGT.sum(-1).clamp(min=1)


def draw(trainer: SpeechTrainer[Any], prompts: Prompts, count: int, temperature: float) -> Completions:
    """Samples of the model as it is now, `count` for each prompt."""
    c = trainer.config
    sampling = Sampling(temperature, c.max_completion_length, c.seed, trainer.state.global_step)
    return trainer.speech_model.sample(prompts, count, sampling)


def spread(rewards_PG: torch.Tensor) -> torch.Tensor:
    """How far the best of each group is from the worst; at most 0 where there is nothing to compare.

    Args:
        rewards_PG: NaN where the reward does not apply.

    Returns:
        Shape [prompt]; −inf where no member of the group has a reward.
    """
    return rewards_PG.nan_to_num(-torch.inf).amax(-1) - rewards_PG.nan_to_num(torch.inf).amin(-1)


def note_groups(
    trainer: SpeechTrainer[Any],
    rewards_PG: torch.Tensor,
    texts: Sequence[Sequence[str]],
    completions: Completions,
    off_policy_PG: torch.Tensor | None = None,
) -> None:
    """Logs what is worth watching in sampled groups: of what the policy wrote, but for whether groups differ.

    Args:
        trainer: Whose log it is.
        rewards_PG: On unit scale, NaN where the reward does not apply; shape [prompt, member].
        texts: The hypotheses of each group.
        completions: What they were read from.
        off_policy_PG: Which members the policy did not write, bool; `None` where it wrote all of them.
    """
    finished_PG = completions.finished
    own_PG = torch.ones_like(finished_PG) if off_policy_PG is None else ~off_policy_PG
    scored = rewards_PG[own_PG & ~rewards_PG.isnan()]
    if len(scored):
        trainer.note(reward=scored.mean().item(), reward_std=scored.std().item() if len(scored) > 1 else 0.0)
    is_empty_PG = torch.tensor([[not text for text in group] for group in texts], device=own_PG.device)
    written = [list(compress(group, own_G)) for group, own_G in zip(texts, own_PG.tolist(), strict=True)]
    trainer.note(
        zero_variance_groups=(~(spread(rewards_PG) > 0)).double().mean().item(),
        distinct=sum(len(set(group)) / len(group) for group in written) / len(written),
        completion_length=completions.mask.sum(-1)[own_PG].float().mean().item(),
        truncated=(~finished_PG)[own_PG].float().mean().item(),
        empty=is_empty_PG[own_PG].float().mean().item(),
    )
