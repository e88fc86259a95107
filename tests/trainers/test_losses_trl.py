"""Advantages, loss and gradients against TRL's own code on the same tensors: its trainer, without a model around it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from speechbench.models.base import Completions
from speechbench.trainers.grpo import Group, GrpoConfig, policy_loss
from speechbench.trainers.losses import advantages, batch_std, group_std

trl = pytest.importorskip("trl", reason="TRL is not installed here")
PROMPTS, MEMBERS, LENGTH, LONGEST = 2, 4, 6, 11
WINDOW = 2  # batches that are accumulated
NAN = float("nan")


def trls(**options: Any) -> Any:
    """TRL's trainer with nothing but what its loss and its advantages read."""
    trainer = object.__new__(trl.GRPOTrainer)
    trainer.__dict__.update(
        loss_type="dapo", importance_sampling_level="token", beta=0.05, epsilon_low=0.2, epsilon_high=0.2,
        scale_rewards="group", mask_truncated_completions=False, max_completion_length=LONGEST,
        multi_objective_aggregation="sum_then_normalize", num_generations=MEMBERS, num_iterations=1,
        top_entropy_quantile=1.0, off_policy_mask_threshold=None, use_vllm=False, aux_loss_enabled=False,
        _entropy_bonus_enabled=False, current_gradient_accumulation_steps=WINDOW, environment_factories=None,
        environments=None, tools=None, pad_to_multiple_of=None, eos_token_ids=[0], log_multimodal=False,
        reward_funcs=[None], reward_func_names=["reward"], reward_weights=torch.ones(1, dtype=torch.float64),
        _tokenizer=SimpleNamespace(pad_token_id=0), _pending_extra_logs={}, _pending_metrics={},
        _metrics=defaultdict(lambda: defaultdict(list)),
        _logs=defaultdict(list, rewards=defaultdict(list), extra=defaultdict(list)),
        model=SimpleNamespace(training=True, is_gradient_checkpointing=False),
        args=SimpleNamespace(
            use_bias_correction_kl=False, delta=None, steps_per_generation=WINDOW, gradient_accumulation_steps=WINDOW,
            per_device_train_batch_size=8, gradient_checkpointing_kwargs=None,
        ),
        accelerator=SimpleNamespace(
            num_processes=1, process_index=0, device=torch.device("cpu"), gather=lambda x: x,
            reduce=lambda x, reduction: x,
        ),
    )  # fmt: skip
    use_bias_correction_kl = options.pop("use_bias_correction_kl", False)
    trainer.args.use_bias_correction_kl = use_bias_correction_kl
    trainer.__dict__.update(options)
    return trainer


def batch(seed: int) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    shape = (PROMPTS, MEMBERS, LENGTH)
    mask = torch.arange(LENGTH) < torch.randint(1, LENGTH + 1, (PROMPTS, MEMBERS, 1), generator=g)
    logprobs = -torch.rand(shape, generator=g, dtype=torch.float64) * 3
    old, reference = (logprobs + 0.4 * torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(2))
    return {
        "logprobs": logprobs * mask, "old": old * mask, "reference": reference * mask, "mask": mask,
        "advantages": torch.randn(shape[:2], generator=g, dtype=torch.float64),
    }  # fmt: skip


def trls_loss(window: list[dict[str, torch.Tensor]], is_first_update: bool, **options: Any) -> list[torch.Tensor]:
    """The loss of a window, then its gradient in each batch."""
    trainer = trls(**options)
    leaves = [case["logprobs"].clone().requires_grad_() for case in window]
    total = torch.zeros((), dtype=torch.float64)
    for case, leaf in zip(window, leaves, strict=True):
        trainer._get_per_token_logps_and_entropies = lambda *_, _leaf=leaf, **__: (
            _leaf.flatten(0, 1), torch.zeros_like(_leaf).flatten(0, 1), None,
        )  # fmt: skip
        flat = {name: value.flatten(0, 1) for name, value in case.items()}
        empty = torch.zeros(PROMPTS * MEMBERS, 0, dtype=torch.long)
        inputs = {
            "prompt_ids": empty, "prompt_mask": empty, "completion_ids": flat["mask"].long(),
            "completion_mask": flat["mask"].long(), "advantages": flat["advantages"],
            "ref_per_token_logps": flat["reference"],
            "num_items_in_batch": torch.stack([case["mask"].sum() for case in window]).sum(),
        }  # fmt: skip
        if not is_first_update:
            inputs["old_per_token_logps"] = flat["old"]
        total = total + trainer._compute_loss(None, inputs)
    total.backward()
    return [total.detach(), *(leaf.grad for leaf in leaves)]  # type: ignore[list-item]


def our_loss(window: list[dict[str, torch.Tensor]], is_first_update: bool, **options: Any) -> list[torch.Tensor]:
    config = GrpoConfig(Path(), beta=options.pop("beta", 0.05), max_completion_length=LONGEST, **options)
    leaves = [case["logprobs"].clone().requires_grad_() for case in window]
    tokens = torch.stack([case["mask"].sum() for case in window]).sum()
    losses = []
    for case, leaf in zip(window, leaves, strict=True):
        off_policy_PG = torch.zeros(PROMPTS, MEMBERS, dtype=torch.bool)
        group = Group(
            examples=[], completions=Completions(case["mask"].long(), case["mask"], ~off_policy_PG),
            rewards_PG=case["advantages"], off_policy_PG=off_policy_PG, kl_PG=~off_policy_PG,
            reference_PGT=None if config.beta == 0 else case["reference"],
            old_PGT=None if is_first_update else case["old"], advantages_PG=case["advantages"],
            samples=torch.tensor(len(window) * PROMPTS * MEMBERS), batches=torch.tensor(len(window)),
        )  # fmt: skip
        losses.append(policy_loss(leaf, group, tokens, config).loss)
    total = torch.stack(losses).sum()
    total.backward()
    return [total.detach(), *(leaf.grad for leaf in leaves)]  # type: ignore[list-item]


@pytest.mark.parametrize("is_first_update", [True, False])
@pytest.mark.parametrize("kl", ["k3", "k3_ratio", "none"])
@pytest.mark.parametrize(
    ("loss_type", "level", "high"),
    [
        ("dapo", "token", None), ("dapo", "token", 0.28), ("grpo", "token", None), ("dr_grpo", "token", 0.1),
        ("bnpo", "token", None), ("cispo", "token", 1.3), ("grpo", "sequence", None), ("grpo", "sequence", 0.05),
    ],
)  # fmt: skip
def test_loss_and_gradient_are_trls(
    loss_type: str, level: str, high: float | None, kl: str, is_first_update: bool
) -> None:
    window = [batch(seed) for seed in (0, 1)]
    shared: dict[str, Any] = {"loss_type": loss_type, "importance_sampling_level": level}
    if kl == "none":
        shared["beta"] = 0.0
    ours = our_loss(
        window, is_first_update, epsilon=0.15, epsilon_high=high, kl_estimator="k3" if kl == "none" else kl, **shared
    )
    theirs = trls_loss(
        window, is_first_update, epsilon_low=0.15, epsilon_high=0.15 if high is None else high,
        use_bias_correction_kl=kl == "k3_ratio", **shared,
    )  # fmt: skip
    for own, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, their, rtol=1e-6, atol=1e-8)  # TRL divides by float32 counts


REWARDS = torch.tensor(
    [[0.1, 0.5, 0.5, 0.9], [0.2, 0.2, 0.2, 0.2], [0.3, NAN, 0.4, 0.9], [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64
)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_advantages_are_trls(scale: str) -> None:
    """Those of one step's two batches of two prompts each, which TRL samples and compares together."""
    count = REWARDS.numel()
    trainer = trls(scale_rewards=scale, beta=0.0)
    completions = [[5, 6, 0]] * count
    trainer._generate = lambda prompts: ([[1]] * count, completions, None, [""] * count, None, {}, None, None)
    trainer._calculate_rewards = lambda *_: REWARDS.view(-1, 1).clone()
    theirs = trainer._generate_and_score_completions([{"prompt": ""}] * count)["advantages"]
    std = {"group": group_std(REWARDS), "batch": batch_std([REWARDS[:2], REWARDS[2:]]), "none": None}[scale]
    ours = advantages(REWARDS, std).nan_to_num()
    torch.testing.assert_close(ours, theirs.view_as(ours), rtol=1e-6, atol=1e-8)
