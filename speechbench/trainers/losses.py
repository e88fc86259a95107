"""The equations of GRPO and its relatives, one function each, in the order in which a step needs them.

Rewards become advantages; log-probabilities become ratios; ratios and advantages become what each token contributes;
the contributions become one number. Everything here is a function of tensors alone. The names say the shapes: `_PG` is
[prompt, member of the group], `_PGT` is [prompt, member, token]; a 1 is an axis of length 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from speechbench.trainers.rolling import spread

# Advantages


def group_std(rewards_PG: torch.Tensor) -> torch.Tensor:
    """Standard deviation within each group, with n − 1; exactly 0 where no two rewards differ.

    Args:
        rewards_PG: NaN where a reward does not apply or does not count.

    Returns:
        Shape [prompt, 1].
    """
    count_P1 = (~rewards_PG.isnan()).sum(-1, keepdim=True)
    deviation_PG = rewards_PG - _group_mean(rewards_PG)
    variance_P1 = deviation_PG.square().nansum(-1, keepdim=True) / (count_P1 - 1).clamp(min=1)
    return variance_P1.sqrt().masked_fill(_is_silent(rewards_PG), 0.0)


def batch_std(
    rewards: Sequence[torch.Tensor], over_processes: Callable[[torch.Tensor], torch.Tensor] = lambda x: x
) -> torch.Tensor:
    """Standard deviation of all rewards of a step, around their common mean, with n − 1 (as in TRL).

    Args:
        rewards: Of each batch of the accumulation window, any shapes; NaN where one does not apply or count.
        over_processes: Adds a tensor up over the processes that train together.

    Returns:
        One number.
    """
    scored = torch.cat([batch[~batch.isnan()] for batch in rewards])
    count, total = over_processes(torch.stack([scored.new_tensor(len(scored)), scored.sum()]))
    mean = total / count.clamp(min=1)
    std: torch.Tensor = (over_processes((scored - mean).square().sum()) / (count - 1).clamp(min=1)).sqrt()
    return std.masked_fill(std <= 1e-9 * mean.abs(), 0.0)  # what a rounded mean leaves of equal rewards


def advantages(
    rewards_PG: torch.Tensor,
    std_P1: torch.Tensor | None = None,
    floor: float = 0.0,
    baseline_PG: torch.Tensor | None = None,
) -> torch.Tensor:
    """A = (r − mean) / (max(std, floor) + 1e-4), with the group's mean (arXiv 2402.03300, section 4.1.2).

    The 1e-4 is TRL's; it keeps 0/0 away and bounds little. Without the std it is Dr. GRPO's A = r − mean
    (arXiv 2503.20783).

    Args:
        rewards_PG: NaN where a reward does not apply: its advantage is NaN.
        std_P1: Of the group or of all; `None` to divide by nothing.
        floor: Least value of the std.
        baseline_PG: Which members make the mean, bool; `None` for all. The others are compared with them.

    Returns:
        Shape [prompt, member]. Exactly 0 where there is nothing to compare: for the members of a baseline whose rewards
        are all equal; for a whole group with fewer than two scored members in its baseline; and for those outside of a
        baseline that has no spread to measure their distance in.
    """
    in_PG = torch.ones_like(rewards_PG, dtype=torch.bool) if baseline_PG is None else baseline_PG
    compared_PG = rewards_PG.masked_fill(~in_PG, torch.nan)
    advantages_PG = rewards_PG - _group_mean(compared_PG)
    nothing_PG = _is_silent(compared_PG) & in_PG | ((~compared_PG.isnan()).sum(-1, keepdim=True) < 2)
    if std_P1 is not None:
        scale_P1 = std_P1.clamp(min=floor)
        advantages_PG = advantages_PG / (scale_P1 + 1e-4)
        nothing_PG = nothing_PG | (_is_silent(compared_PG) & (scale_P1 == 0))
    return advantages_PG.masked_fill(nothing_PG, 0.0).masked_fill(rewards_PG.isnan(), torch.nan)


def _group_mean(rewards_PG: torch.Tensor) -> torch.Tensor:
    count_P1 = (~rewards_PG.isnan()).sum(-1, keepdim=True)
    return rewards_PG.nansum(-1, keepdim=True) / count_P1.clamp(min=1)


def _is_silent(rewards_PG: torch.Tensor) -> torch.Tensor:
    """Where no two rewards differ; [prompt, 1]. Told by the rewards: a rounded mean leaves equal ones a spread."""
    return ~(spread(rewards_PG) > 0)[:, None]


# Ratios


def token_ratio(log_ratio_PGT: torch.Tensor, mask_PGT: torch.Tensor) -> torch.Tensor:
    """ρ = π / π_old of each token (PPO; in arXiv 2402.03300, equation 3)."""
    return log_ratio_PGT.exp()


def sequence_ratio(log_ratio_PGT: torch.Tensor, mask_PGT: torch.Tensor) -> torch.Tensor:
    """s = exp(mean over tokens of log ρ), the same for each token of a completion (GSPO, arXiv 2507.18071).

    Returns:
        Shape [prompt, member, token].
    """
    sum_PG1 = log_ratio_PGT.where(mask_PGT, 0.0).sum(-1, keepdim=True)
    return (sum_PG1 / mask_PGT.sum(-1, keepdim=True).clamp(min=1)).exp().expand_as(log_ratio_PGT)


RATIOS = {"token": token_ratio, "sequence": sequence_ratio}
"""By `importance_sampling_level`."""


def luffy(probability_PGT: torch.Tensor, gamma: float) -> torch.Tensor:
    """f(π) = π / (π + γ): lifts the gradient of rare tokens (LUFFY's policy shaping, arXiv 2504.14945)."""
    return probability_PGT / (probability_PGT + gamma)


def unshaped(probability_PGT: torch.Tensor, gamma: float) -> torch.Tensor:
    """π / π_φ with π_φ = 1, as arXiv 2509.16990 has it; γ plays no part."""
    return probability_PGT


SHAPINGS = {"none": unshaped, "luffy": luffy}
"""By `off_policy`: what stands for the ratio of tokens that the policy did not write."""


# What each token contributes


class Bounds(NamedTuple):
    """How far the ratio may go.

    Attributes:
        low: Below 1: the ratio is clipped at 1 − low.
        high: Above 1: the ratio is clipped at 1 + high; CISPO takes it as the bound itself.
    """

    low: float
    high: float


def clipped(
    ratio_PGT: torch.Tensor, advantages_PG1: torch.Tensor, logprobs_PGT: torch.Tensor, bounds: Bounds
) -> tuple[torch.Tensor, torch.Tensor]:
    """min(ρA, clip(ρ, 1 − ε, 1 + ε_high)·A) (PPO; two bounds: Clip-Higher of DAPO, arXiv 2503.14476, section 3.1).

    Returns:
        That, and where the bound counts and not the ratio: such a token has no gradient.
    """
    free_PGT = ratio_PGT * advantages_PG1
    bounded_PGT = ratio_PGT.clamp(1 - bounds.low, 1 + bounds.high) * advantages_PG1
    return torch.minimum(free_PGT, bounded_PGT), bounded_PGT < free_PGT


def capped(
    ratio_PGT: torch.Tensor, advantages_PG1: torch.Tensor, logprobs_PGT: torch.Tensor, bounds: Bounds
) -> tuple[torch.Tensor, torch.Tensor]:
    """stopgrad(min(ρ, ε_max))·A·log π (CISPO, arXiv 2506.13585, section 3.1; no lower bound, as there).

    Returns:
        That, and where the cap counts and not the ratio: such a token keeps its gradient, weighted by the cap.
    """
    weight_PGT = ratio_PGT.clamp(max=bounds.high).detach()
    return weight_PGT * advantages_PG1 * logprobs_PGT, ratio_PGT > bounds.high


def k3(reference_PGT: torch.Tensor, logprobs_PGT: torch.Tensor) -> torch.Tensor:
    """KL to the reference model: π_ref/π − log(π_ref/π) − 1 (arXiv 2402.03300, equation 4); never negative."""
    log_ratio_PGT = reference_PGT - logprobs_PGT
    return log_ratio_PGT.exp() - log_ratio_PGT - 1


def k1(reference_PGT: torch.Tensor, logprobs_PGT: torch.Tensor) -> torch.Tensor:
    """KL to the reference model: log(π/π_ref), unbiased, with more variance than k3's and either sign."""
    return logprobs_PGT - reference_PGT


# One number


class Window(NamedTuple):
    """What is counted in an accumulation window, on all processes together; each a tensor of one number.

    Attributes:
        tokens: Tokens in the loss.
        samples: Completions with tokens in the loss.
        batches: Forward passes.
    """

    tokens: torch.Tensor
    samples: torch.Tensor
    batches: torch.Tensor


def per_token(values_PGT: torch.Tensor, mask_PGT: torch.Tensor, window: Window, longest: int) -> torch.Tensor:
    """Sum over tokens / all tokens of the window (DAPO, arXiv 2503.14476, section 3.3)."""
    return (values_PGT * mask_PGT).sum() / window.tokens


def per_sample(values_PGT: torch.Tensor, mask_PGT: torch.Tensor, window: Window, longest: int) -> torch.Tensor:
    """Mean over the window's samples of the mean over their tokens (GRPO, arXiv 2402.03300, equation 3)."""
    mean_PG = (values_PGT * mask_PGT).sum(-1) / mask_PGT.sum(-1).clamp(min=1)
    return mean_PG.sum() / window.samples


def per_budget(values_PGT: torch.Tensor, mask_PGT: torch.Tensor, window: Window, longest: int) -> torch.Tensor:
    """Sum over tokens / (samples of the window · greatest length of a completion) (Dr. GRPO, arXiv 2503.20783)."""
    return (values_PGT * mask_PGT).sum() / (window.samples * longest)


def per_batch(values_PGT: torch.Tensor, mask_PGT: torch.Tensor, window: Window, longest: int) -> torch.Tensor:
    """Mean over the window's batches of the sum over tokens / tokens of that batch (TRL's `bnpo`)."""
    return (values_PGT * mask_PGT).sum() / mask_PGT.sum().clamp(min=1) / window.batches


class LossType(NamedTuple):
    """What sets one loss apart from another.

    Attributes:
        contribution: Of ratio, advantage, log-probability and bounds: what each token adds to the objective, and at
            which tokens a bound acts, for the log.
        total: Of the tokens' values, mask, window and greatest length: this batch's share of the objective. The shares
            of all batches, on all processes, add up.
    """

    contribution: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Bounds], tuple[torch.Tensor, torch.Tensor]]
    total: Callable[[torch.Tensor, torch.Tensor, Window, int], torch.Tensor]


LOSS_TYPES = {
    "grpo": LossType(clipped, per_sample),
    "dapo": LossType(clipped, per_token),
    "dr_grpo": LossType(clipped, per_budget),
    "bnpo": LossType(clipped, per_batch),
    "cispo": LossType(capped, per_token),
}
"""By `loss_type`; a new loss is a line here and the function that it needs."""
