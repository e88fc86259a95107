"""Each warning comes once, where it should, with the remedy; healthy training is left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from speechbench.rewards.base import Reward
from speechbench.rewards.loading import load_reward
from speechbench.trainers.grpo import GrpoConfig
from speechbench.trainers.sft import SftConfig
from speechbench.trainers.watch import FIRST, WINDOW, Watch

CONFIG = GrpoConfig(output_dir=Path(), max_completion_length=48)
HEALTHY = {"reward": 0.36, "zero_variance_groups": 0.1, "empty": 0.0, "truncated": 0.01, "kl": 0.42}


def watch_on(spec: str | None) -> Watch:
    reward: Reward | None = None if spec is None else load_reward(spec)
    return Watch("grpo on reward X", CONFIG, reward)


def heard(watch: Watch, steps: int, first: int = 1, **values: float) -> list[str]:
    lines: list[dict[str, Any]] = [{"step": s, **HEALTHY, **values} for s in range(first, first + steps)]
    return [warning for line in lines for warning in watch.hear(line)]


def test_healthy_training_is_left_alone() -> None:
    watch = watch_on("bleu")
    assert heard(watch, 50) == [] and watch.warnings == ()


def test_weights_too_coarse_to_learn_are_noted() -> None:
    watch = Watch("sft", SftConfig(Path(), learning_rate=1e-6), None, {torch.bfloat16, torch.float32})
    (note,) = watch.notes
    assert note.startswith("sft: the weights that learn are held in bfloat16, which rounds away most steps of")
    assert "learning_rate 1e-06: give the model lora_rank=16, or dtype=float32" in note
    assert not Watch("sft", SftConfig(Path()), None, {torch.float32, torch.float64}).notes


def test_notes_on_the_options_stand_before_what_was_heard() -> None:
    watch = Watch("sft", SftConfig(Path(), lr_scheduler_type="constant", warmup_ratio=0.5), None)
    (said,) = heard(watch, WINDOW, overlong_references=0.5)
    (note,) = watch.notes
    assert note.startswith("sft: warmup_ratio=0.5 changes nothing") and watch.warnings == (note, said)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"zero_variance_groups": 0.6}, ["60% of the groups of steps 1 to 5", "num_generations (now 8)", "sft+grpo"]),
        ({"empty": 0.2}, ["20% of the outputs of steps 1 to 5 are empty", "sft+grpo"]),
        ({"truncated": 0.3}, ["30% of the outputs", "max_completion_length (now 48)"]),
        ({"kl": 1.3}, ["1.3 nats per token", "learning_rate (now 0.0002)", "beta (now 0.02)"]),
        ({"overlong_references": 0.5}, ["50% of the references", "max_completion_length (now 48)"]),
        ({"reward": 0.02}, ["first 3 steps is 0.020 on a range from 0 to 1", "sft+grpo"]),
    ],
)
def test_what_goes_wrong_is_said_once(bad: dict[str, float], said: list[str]) -> None:
    watch = watch_on("bleu")
    (warning,) = heard(watch, 50, **bad)
    assert warning.startswith("grpo on reward X: ") and all(part in warning for part in said)
    assert watch.warnings == (warning,)


@pytest.mark.parametrize(
    ("trainer", "remedy"),
    [("mixed-grpo", "--trainers sft+mixed-grpo"), ("sft+grpo", "give its SFT stage more steps (max_steps of sft")],
)
def test_the_remedy_fits_what_was_done_before(trainer: str, remedy: str) -> None:
    config = replace(CONFIG, trainer=trainer)
    (warning,) = heard(Watch(trainer, config, load_reward("bleu")), 3, reward=0.02)
    assert remedy in warning


def test_one_bad_step_is_no_trend() -> None:
    watch = watch_on("bleu")
    assert heard(watch, 10) + heard(watch, 1, first=11, kl=3.0, truncated=0.9) + heard(watch, 9, first=12) == []


def test_the_start_is_judged_by_the_first_steps_alone() -> None:
    watch = watch_on("bleu")
    assert heard(watch, FIRST) == [] and heard(watch, 10, first=FIRST + 1, reward=0.0) == []


def test_of_a_controls_rewards_nothing_is_expected_but_its_outputs_are_watched() -> None:
    watch = watch_on("constant(value=0)")
    assert heard(watch, 20, reward=0.0, zero_variance_groups=1.0) == []
    assert len(heard(watch, 20, kl=2.0)) == 1


def test_a_reward_without_a_range_has_no_near_zero() -> None:
    watch = watch_on("bleu")
    assert watch.reward is not None
    watch.reward.range = (float("-inf"), float("inf"))
    assert heard(watch, 10, reward=-50.0) == []


def test_steps_that_drew_no_samples_are_passed_over() -> None:
    """With several updates on one batch of samples only some lines tell of samples."""
    watch = watch_on("bleu")
    said = []
    for step in range(1, 2 * WINDOW + 1):
        line: dict[str, Any] = {"step": step, "kl": 0.1}
        said += watch.hear({**line, "empty": 0.5} if step % 2 else line)
    assert len(said) == 1 and f"steps 1 to {2 * WINDOW - 1}" in said[0]


def test_what_was_said_before_is_not_said_again() -> None:
    lines = [{"step": s, **HEALTHY, "kl": 2.0} for s in range(1, 8)]
    resumed = watch_on("bleu")
    resumed.hear_again(lines)
    assert len(resumed.warnings) == 1 and heard(resumed, 10, first=8, kl=2.0) == []


def test_without_a_reward_references_are_watched() -> None:
    watch = Watch("sft", SftConfig(output_dir=Path(), max_completion_length=8), None)
    said = [w for s in range(1, 9) for w in watch.hear({"step": s, "loss": 1.0, "overlong_references": 0.25})]
    assert len(said) == 1 and "max_completion_length (now 8)" in said[0]
