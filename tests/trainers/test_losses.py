"""Advantages, ratios, KL and losses against slow computations, token by token, from the papers' equations."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbench.models.base import Completions
from speechbench.trainers.grpo import Group, GrpoConfig, policy_loss
from speechbench.trainers.losses import advantages, batch_std, group_std, luffy, sequence_ratio

NAN = float("nan")
PROMPTS, MEMBERS, LENGTH, LONGEST = 3, 4, 5, 9
LOSSES: list[dict[str, Any]] = [
    {"loss_type": "dapo"}, {"loss_type": "dapo", "epsilon_high": 0.4}, {"loss_type": "grpo"}, {"loss_type": "dr_grpo"},
    {"loss_type": "bnpo"}, {"loss_type": "cispo", "epsilon_high": 1.1},
    {"loss_type": "grpo", "importance_sampling_level": "sequence"},
]  # fmt: skip
KLS = ["k3", "k3_ratio", "k1_reward"]

rewards = st.lists(st.one_of(st.just(NAN), st.floats(0, 1), st.sampled_from([0.0, 0.1, 1.0])), min_size=4, max_size=4)
groups = st.lists(rewards, min_size=1, max_size=5)


def slow_std(values: list[float]) -> float:
    return 0.0 if len(set(values)) < 2 else float(np.std(values, ddof=1))


def slow_advantages(group: list[float], inside: int, std: float | None = -1.0, floor: float = 0.0) -> list[float]:
    """Section 2 of arXiv 2509.16990: (r − mean) / std, over the first `inside` members that are scored."""
    baseline = [r for r in group[:inside] if not math.isnan(r)]
    own = slow_std(baseline)
    found = []
    for member, r in enumerate(group):
        scale = None if std is None else max(own if std < 0 else std, floor)
        is_silent = len(set(baseline)) < 2 and (member < inside or scale == 0)
        if math.isnan(r):
            found.append(NAN)
        elif len(baseline) < 2 or is_silent:
            found.append(0.0)
        else:
            found.append((r - float(np.mean(baseline))) / (1 if scale is None else scale + 1e-4))
    return found


@given(groups, st.integers(2, 4), st.sampled_from([0.0, 0.3]))
def test_advantages_are_distances_from_the_groups_mean_in_its_std(
    values: list[list[float]], inside: int, floor: float
) -> None:
    rewards_PG = torch.tensor(values, dtype=torch.float64)
    in_PG = (torch.arange(4) < inside).expand_as(rewards_PG)
    ours = advantages(rewards_PG, group_std(rewards_PG.masked_fill(~in_PG, NAN)), floor, in_PG)
    expected = torch.tensor([slow_advantages(group, inside, floor=floor) for group in values], dtype=torch.float64)
    torch.testing.assert_close(ours, expected, equal_nan=True, atol=1e-9, rtol=1e-6)
    if inside == 4:
        assert torch.equal(ours.nan_to_num(7), advantages(rewards_PG, group_std(rewards_PG), floor).nan_to_num(7))


@given(groups)
def test_without_a_std_they_are_distances_alone(values: list[list[float]]) -> None:
    expected = torch.tensor([slow_advantages(group, 4, None) for group in values], dtype=torch.float64)
    ours = advantages(torch.tensor(values, dtype=torch.float64))
    torch.testing.assert_close(ours, expected, equal_nan=True, atol=1e-9, rtol=1e-6)


@given(groups)
def test_the_batchs_std_is_that_of_all_rewards_wherever_they_were_scored(values: list[list[float]]) -> None:
    tensor = torch.tensor(values, dtype=torch.float64)
    scored = [r for group in values for r in group if not math.isnan(r)]
    whole = batch_std([tensor])
    assert whole.item() == pytest.approx(slow_std(scored), abs=1e-9)
    assert batch_std([tensor[:1], tensor[1:]]).item() == pytest.approx(whole.item(), abs=1e-12)
    sums: list[torch.Tensor] = []

    def record(value: torch.Tensor) -> torch.Tensor:
        sums.append(value)
        return value

    batch_std([tensor[1:]], record)  # what another process adds, at each of its two sums

    def add(value: torch.Tensor) -> torch.Tensor:
        if value.ndim:
            return value + sums[0]
        mean = sum(scored) / max(len(scored), 1)
        return value + sum((r - mean) ** 2 for r in tensor[1:].flatten().tolist() if not math.isnan(r))

    assert batch_std([tensor[:1]], add).item() == pytest.approx(whole.item(), abs=1e-9)


def test_equal_rewards_teach_exactly_nothing() -> None:
    equal_PG = torch.full((3, 7), 0.1, dtype=torch.float64)
    for std in (group_std(equal_PG), batch_std([equal_PG, equal_PG + 1]), batch_std([equal_PG]), None):
        assert (advantages(equal_PG, std) == 0).all()
    assert (batch_std([equal_PG]) == 0).all()


def random_group(seed: int, off_policy: bool) -> tuple[torch.Tensor, Group]:
    """Log-probabilities, and samples that another policy wrote; one completion has no token in the loss."""
    g = torch.Generator().manual_seed(seed)
    shape = (PROMPTS, MEMBERS, LENGTH)
    mask = torch.arange(LENGTH) < torch.randint(1, LENGTH + 1, (PROMPTS, MEMBERS, 1), generator=g)
    mask[1, 2] = False

    def moved() -> torch.Tensor:
        return (logprobs + 0.3 * torch.randn(shape, generator=g, dtype=torch.float64)) * mask

    logprobs = -torch.rand(shape, generator=g, dtype=torch.float64) * 3 * mask
    off_policy_PG = (torch.arange(MEMBERS) == MEMBERS - 1).expand(PROMPTS, MEMBERS) & off_policy
    group = Group(
        examples=[],
        completions=Completions(mask.long(), mask, mask.any(-1)),
        rewards_PG=torch.zeros(shape[:2]),
        off_policy_PG=off_policy_PG,
        kl_PG=~off_policy_PG,
        reference_PGT=moved(),
        old_PGT=moved(),
        advantages_PG=torch.randn(shape[:2], generator=g, dtype=torch.float64),
        samples=torch.tensor(29),
        batches=torch.tensor(3),
    )
    return logprobs, group


def slow_loss(logprobs: torch.Tensor, group: Group, tokens: int, c: GrpoConfig) -> tuple[float, float, float]:
    """Completion by completion and token by token; for the reference the ratio π/1 without clip and KL."""
    total, kls, bounded, on_tokens, mask = 0.0, 0.0, 0, 0, group.completions.mask
    assert group.old_PGT is not None and group.reference_PGT is not None
    high = c.epsilon if c.epsilon_high is None else c.epsilon_high
    for p in range(PROMPTS):
        for g in range(MEMBERS):
            a, length = group.advantages_PG[p, g].item(), int(mask[p, g].sum())
            logs = [logprobs[p, g, t].item() - group.old_PGT[p, g, t].item() for t in range(length)]
            for t in range(length):
                logp = logprobs[p, g, t].item()
                log_ratio = sum(logs) / length if c.importance_sampling_level == "sequence" else logs[t]
                rho = math.exp(log_ratio)
                kl = math.exp(group.reference_PGT[p, g, t].item() - logp) - 1
                kl -= group.reference_PGT[p, g, t].item() - logp
                if group.off_policy_PG[p, g]:
                    value = math.exp(logp) * a
                else:
                    if c.loss_type == "cispo":
                        value, is_bounded = min(rho, high) * a * logp, rho > high
                    else:
                        inside = min(max(rho, 1 - c.epsilon), 1 + high)
                        value, is_bounded = min(rho * a, inside * a), inside * a < rho * a
                    kls, bounded, on_tokens = kls + kl, bounded + is_bounded, on_tokens + 1
                if group.kl_PG[p, g] and c.kl_estimator != "k1_reward":
                    ratio = math.exp(logp) if group.off_policy_PG[p, g] else rho
                    value -= c.beta * kl * (ratio if c.kl_estimator == "k3_ratio" else 1)
                total += value / {
                    "dapo": tokens, "cispo": tokens, "grpo": length * 29, "dr_grpo": 29 * LONGEST,
                    "bnpo": int(mask.sum()) * 3,
                }[c.loss_type]  # fmt: skip
    return -total, kls / max(on_tokens, 1), bounded / max(on_tokens, 1)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 10**6), st.booleans(), st.booleans(), st.floats(0.01, 0.1), st.floats(0.05, 0.5),
    st.sampled_from(LOSSES), st.sampled_from(KLS),
)  # fmt: skip
def test_loss_equals_the_papers(
    seed: int, off_policy: bool, kl_everywhere: bool, beta: float, epsilon: float, kind: dict[str, Any], kl: str
) -> None:
    config = GrpoConfig(Path(), beta=beta, epsilon=epsilon, kl_estimator=kl, max_completion_length=LONGEST, **kind)
    logprobs, group = random_group(seed, off_policy)
    if kl_everywhere:
        group.kl_PG.fill_(True)
    terms = policy_loss(logprobs, group, torch.tensor(77), config)
    loss, mean_kl, clip_share = slow_loss(logprobs, group, 77, config)
    assert terms.kl is not None
    assert terms.loss.item() == pytest.approx(loss, abs=1e-12)
    assert terms.kl.item() == pytest.approx(mean_kl, abs=1e-12)
    assert terms.clip_share.item() == pytest.approx(clip_share, abs=1e-6)


def gradient(
    logprobs: torch.Tensor, group: Group, shaped: Callable[[torch.Tensor], torch.Tensor] = lambda p: p, **options: Any
) -> torch.Tensor:
    leaf = logprobs.clone().requires_grad_()
    config = GrpoConfig(Path(), **options)
    policy_loss(leaf, group, torch.tensor(10), config, shaped).loss.backward()
    assert leaf.grad is not None
    return leaf.grad


def just_drawn(logprobs: torch.Tensor, group: Group) -> Group:
    """The first update on samples, before the model has moved: their own policy, and no KL to speak of."""
    return Group(**{**vars(group), "old_PGT": None, "reference_PGT": logprobs})


def test_gradient_on_policy_is_advantage_and_off_policy_is_weighted_by_the_probability() -> None:
    logprobs, group = random_group(1, True)
    weight = torch.where(group.off_policy_PG[..., None], logprobs.exp(), 1.0)
    expected = -group.advantages_PG[..., None] * weight * group.completions.mask / 10
    torch.testing.assert_close(gradient(logprobs, just_drawn(logprobs, group)), expected)
    torch.testing.assert_close(
        gradient(logprobs, just_drawn(logprobs, group), loss_type="cispo", epsilon_high=5.0), expected
    )


@pytest.mark.parametrize("gamma", [0.1, 0.7])
def test_luffys_shaping_lifts_the_gradient_of_rare_tokens(gamma: float) -> None:
    """∂f(π)/∂ log π = π·γ/(π + γ)², section 3.3 of arXiv 2504.14945."""
    logprobs, group = random_group(1, True)
    pi = logprobs.exp()
    weight = torch.where(group.off_policy_PG[..., None], pi * gamma / (pi + gamma) ** 2, 1.0)
    expected = -group.advantages_PG[..., None] * weight * group.completions.mask / 10
    found = gradient(logprobs, just_drawn(logprobs, group), shaped=lambda probability: luffy(probability, gamma))
    torch.testing.assert_close(found, expected)
    rare = torch.tensor([-6.0], dtype=torch.float64, requires_grad=True)
    luffy(rare.exp(), 0.1).sum().backward()
    assert rare.grad is not None and rare.grad.item() > 5 * math.exp(-6)


def test_a_clipped_token_has_no_gradient_and_a_capped_one_keeps_its_own() -> None:
    logprobs, group = random_group(3, False)
    group.advantages_PG.fill_(1.0)
    assert group.old_PGT is not None
    ratio = (logprobs - group.old_PGT).exp()
    is_beyond = (ratio > 1.2) & group.completions.mask
    assert is_beyond.any()
    assert (gradient(logprobs, group, beta=0.0)[is_beyond] == -0.0).all()
    capped = gradient(logprobs, group, beta=0.0, loss_type="cispo", epsilon_high=1.2)
    torch.testing.assert_close(capped, -ratio.clamp(max=1.2) * group.completions.mask / 10)


def test_one_update_makes_the_sequences_ratio_and_the_tokens_the_same() -> None:
    """What `GrpoConfig.notes` says of `importance_sampling_level`, and that with k3_ratio it is not so."""
    logprobs, group = random_group(5, False)
    fresh = Group(**{**vars(group), "old_PGT": None})
    by_token, by_sequence = (
        gradient(logprobs, fresh, loss_type="grpo", importance_sampling_level=level) for level in ("token", "sequence")
    )
    torch.testing.assert_close(by_token, by_sequence)
    by_token, by_sequence = (
        gradient(logprobs, fresh, loss_type="grpo", importance_sampling_level=level, kl_estimator="k3_ratio")
        for level in ("token", "sequence")
    )
    assert not torch.allclose(by_token, by_sequence)


def test_a_tokens_value_outside_of_the_mask_is_no_part_of_the_sequences_ratio() -> None:
    mask = torch.tensor([[[True, True, False]]])
    found = sequence_ratio(torch.tensor([[[0.2, 0.4, -torch.inf]]]), mask)
    torch.testing.assert_close(found, torch.full((1, 1, 3), math.exp(0.3)))
