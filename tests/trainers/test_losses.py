"""Advantages and loss against slow computations from the paper's equations, and against TRL where it is installed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbench.trainers.grpo import dapo_loss, group_advantages

NAN = float("nan")


def slow_advantages(group: list[float]) -> list[float]:
    """Section 2 of arXiv 2509.16990: (r − mean) / std, over those that are scored."""
    scored = [r for r in group if not math.isnan(r)]
    if len(scored) < 2 or len(set(scored)) == 1:
        return [NAN if math.isnan(r) else 0.0 for r in group]
    mean, std = np.mean(scored), np.std(scored, ddof=1)
    return [NAN if math.isnan(r) else float((r - mean) / (std + 1e-4)) for r in group]


rewards = st.lists(st.one_of(st.just(NAN), st.floats(0, 1), st.sampled_from([0.0, 0.1, 1.0])), min_size=4, max_size=4)


@given(st.lists(rewards, min_size=1, max_size=5))
def test_advantages_equal_the_papers(groups: list[list[float]]) -> None:
    ours = group_advantages(torch.tensor(groups, dtype=torch.float64))
    expected = torch.tensor([slow_advantages(group) for group in groups], dtype=torch.float64)
    torch.testing.assert_close(ours, expected, equal_nan=True, atol=1e-9, rtol=1e-6)


def test_equal_rewards_teach_exactly_nothing() -> None:
    assert (group_advantages(torch.full((3, 7), 0.1, dtype=torch.float64)) == 0).all()


def slow_loss(case: dict[str, torch.Tensor], tokens: int, beta: float, epsilon: float) -> tuple[float, float, float]:
    """Token by token: DAPO's objective, k3, and for the reference the ratio π/1 without clip and KL."""
    total, kls, clipped, on_tokens = 0.0, 0.0, 0, 0
    prompts, members, length = case["logprobs"].shape
    for p in range(prompts):
        for g in range(members):
            a = case["advantages"][p, g].item()
            for t in range(length):
                if not case["mask"][p, g, t]:
                    continue
                logp = case["logprobs"][p, g, t].item()
                if case["off_policy"][p, g]:
                    total += math.exp(logp) * a
                    continue
                rho = math.exp(logp - case["old"][p, g, t].item())
                bounded = min(max(rho, 1 - epsilon), 1 + epsilon)
                log_ratio = case["reference"][p, g, t].item() - logp
                kl = math.exp(log_ratio) - log_ratio - 1
                total += min(rho * a, bounded * a) - beta * kl
                kls += kl
                clipped += bounded * a < rho * a
                on_tokens += 1
    return -total / tokens, kls / max(on_tokens, 1), clipped / max(on_tokens, 1)


def random_case(seed: int, off_policy: bool) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    shape = (3, 4, 5)
    mask = torch.rand(shape, generator=g) < 0.7
    logprobs = -torch.rand(shape, generator=g, dtype=torch.float64) * 3
    return {
        "logprobs": logprobs * mask,
        "old": (logprobs + 0.3 * torch.randn(shape, generator=g, dtype=torch.float64)) * mask,
        "reference": (logprobs + 0.3 * torch.randn(shape, generator=g, dtype=torch.float64)) * mask,
        "advantages": torch.randn(shape[:2], generator=g, dtype=torch.float64),
        "off_policy": (torch.arange(4) == 3).expand(3, 4) & off_policy,
        "mask": mask,
    }


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.floats(0, 0.1), st.floats(0.05, 0.5))
def test_loss_equals_the_papers(seed: int, off_policy: bool, beta: float, epsilon: float) -> None:
    case = random_case(seed, off_policy)
    terms = dapo_loss(
        case["logprobs"], case["old"], case["reference"], case["advantages"], case["off_policy"], case["mask"],
        torch.tensor(77), beta, epsilon,
    )  # fmt: skip
    loss, kl, clip_share = slow_loss(case, 77, beta, epsilon)
    assert terms.loss.item() == pytest.approx(loss, abs=1e-12)
    assert terms.kl.item() == pytest.approx(kl, abs=1e-12)
    assert terms.clip_share.item() == pytest.approx(clip_share, abs=1e-6)


def test_gradient_on_policy_is_advantage_and_off_policy_is_weighted_by_the_probability() -> None:
    case = random_case(1, True)
    logprobs = case["logprobs"].clone().requires_grad_()
    dapo_loss(
        logprobs, logprobs.detach(), logprobs.detach(), case["advantages"], case["off_policy"], case["mask"],
        torch.tensor(10), 0.02, 0.2,
    ).loss.backward()  # fmt: skip
    weight = torch.where(case["off_policy"][..., None], case["logprobs"].exp(), 1.0)
    expected = -case["advantages"][..., None] * weight * case["mask"] / 10
    assert logprobs.grad is not None
    torch.testing.assert_close(logprobs.grad, expected)
