"""What makes no sense is refused when the configuration is made, with field, value and fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import get_scheduler
from transformers.trainer_utils import SchedulerType

from speechbench.errors import UsageError
from speechbench.trainers.config import SCHEDULERS, TrainConfig
from speechbench.trainers.grpo import GrpoConfig
from speechbench.trainers.mixed_grpo import MixedGrpoConfig
from speechbench.trainers.rejection_sft import RejectionSftConfig
from speechbench.trainers.sft import SftConfig

NAN, INFINITY = float("nan"), float("inf")
OF_ALL = [
    ("max_steps", 0), ("learning_rate", 0.0), ("learning_rate", -1e-5), ("learning_rate", NAN),
    ("learning_rate", INFINITY), ("per_device_train_batch_size", 0), ("gradient_accumulation_steps", 0),
    ("warmup_ratio", -0.1), ("warmup_ratio", 1.5), ("warmup_ratio", NAN), ("weight_decay", -0.1),
    ("max_grad_norm", -1.0), ("max_completion_length", 0), ("save_steps", 0), ("seed", -1), ("seed", 2**32),
    ("limit", 0), ("eval_steps", 0), ("eval_limit", 0),
]  # fmt: skip
OF_GRPO = [
    ("num_generations", 1), ("temperature", 0.0), ("temperature", NAN), ("beta", -0.02), ("beta", INFINITY),
    ("epsilon", 0.0), ("epsilon", 1.0), ("epsilon_high", 0.0), ("num_iterations", 0), ("loss_type", "ppo"),
    ("importance_sampling_level", "word"), ("kl_estimator", "k2"), ("scale_rewards", "prompt"), ("std_floor", -0.1),
]  # fmt: skip


@pytest.mark.parametrize("kind", [SftConfig, RejectionSftConfig, GrpoConfig, MixedGrpoConfig])
@pytest.mark.parametrize(("name", "value"), OF_ALL)
def test_every_trainer_refuses(kind: type[TrainConfig], name: str, value: float) -> None:
    with pytest.raises(UsageError, match=rf"^{name}={value!r}: ".replace("+", r"\+")) as caught:
        kind(output_dir=Path(), **{name: value})  # type: ignore[arg-type]
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("kind", [GrpoConfig, MixedGrpoConfig])
@pytest.mark.parametrize(("name", "value"), OF_GRPO)
def test_grpo_refuses(kind: type[GrpoConfig], name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"^{name}={value!r}: "):
        kind(output_dir=Path(), **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        *(
            ({"loss_type": kind, "importance_sampling_level": "sequence", "epsilon_high": 5.0},
             f"importance_sampling_level='sequence': loss_type='{kind}' sums over tokens.*set loss_type: grpo")
            for kind in ("dapo", "dr_grpo", "bnpo", "cispo")
        ),
        *(
            ({"loss_type": "cispo", "epsilon_high": high},
             f"epsilon_high={high}: with loss_type='cispo' it is the bound.*give a number of 1 or more")
            for high in (None, 0.28, INFINITY)
        ),
        ({"loss_type": "drgrpo"}, "loss_type='drgrpo': did you mean 'dr_grpo'"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_together_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"^{said}"):
        GrpoConfig(output_dir=Path(), **options)


def test_checkpoints_between_the_updates_on_one_batch_of_samples_are_refused() -> None:
    with pytest.raises(UsageError, match=r"save_steps=20: .*multiple of num_iterations=3"):
        GrpoConfig(output_dir=Path(), num_iterations=3)
    assert GrpoConfig(output_dir=Path(), num_iterations=3, save_steps=21).save_steps == 21


def test_a_mistyped_schedule_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="lr_scheduler_type='cosin': did you mean 'cosine'"):
        SftConfig(output_dir=Path(), lr_scheduler_type="cosin")


def test_the_schedules_are_those_of_transformers_that_need_no_settings() -> None:
    def works(name: str) -> bool:
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
        try:
            schedule = get_scheduler(name, optimizer, num_warmup_steps=1, num_training_steps=3)
            optimizer.step()
            schedule.step()
        except (TypeError, ValueError):
            return False
        return True

    assert sorted(SCHEDULERS) == sorted(s.value for s in SchedulerType if works(s.value))


@pytest.mark.parametrize("kind", [SftConfig, RejectionSftConfig, GrpoConfig, MixedGrpoConfig])
def test_what_does_nothing_in_the_loop_is_said(kind: type[TrainConfig]) -> None:
    (note,) = kind(Path(), lr_scheduler_type="constant", warmup_ratio=0.1).notes()
    assert note.startswith("warmup_ratio=0.1 changes nothing: lr_scheduler_type='constant' has no warm-up; set ")
    (note,) = kind(Path(), max_steps=4, eval_steps=4).notes()
    assert note.startswith("eval_steps=4 chooses nothing: of max_steps=4 only the last is measured")
    for schedule in SCHEDULERS:
        said = kind(Path(), max_steps=4, eval_steps=3, lr_scheduler_type=schedule, warmup_ratio=0.25).notes()
        assert bool(said) == (not warms_up(schedule))
    assert kind(Path()).notes() == kind(Path(), lr_scheduler_type="constant").notes() == []


@pytest.mark.parametrize(
    ("launched", "bf16", "is_said"),
    [("no", False, False), ("no", True, False), ("bf16", True, False), ("bf16", False, True), ("fp16", True, True)],
)
def test_a_precision_that_the_launcher_was_given_in_vain_is_said(
    launched: str, bf16: bool, is_said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launched)
    notes = SftConfig(Path(), bf16=bf16).notes()
    assert bool(notes) == is_said
    assert all(note.startswith(f"mixed_precision: {launched} of accelerate's configuration changes") for note in notes)


def warms_up(schedule: str) -> bool:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    get_scheduler(schedule, optimizer, num_warmup_steps=2, num_training_steps=8)
    return bool(optimizer.param_groups[0]["lr"] == 0)


def test_the_edges_are_allowed() -> None:
    GrpoConfig(
        output_dir=Path(), max_steps=1, warmup_ratio=1.0, beta=0.0, num_generations=2, max_grad_norm=0.0, limit=1,
        max_completion_length=1, save_steps=1, seed=2**32 - 1,
    )  # fmt: skip
