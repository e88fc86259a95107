"""Trained 40 steps straight, or stopped at the 17th and gone on with: the same weights to the bit, the same log."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from speechbench.benchmarks.base import Benchmark
from speechbench.models.tiny import Tiny
from speechbench.progress import Progress
from speechbench.registry import TRAINERS
from speechbench.rewards.loading import load_reward
from speechbench.settings import configure
from speechbench.trainers.checkpoints import last_complete
from speechbench.trainers.config import TrainConfig

BUILT_IN = ["sft", "grpo", "mixed-grpo", "rejection-sft"]
SETTINGS: dict[str, Any] = {
    "max_steps": 40, "per_device_train_batch_size": 1, "save_steps": 10, "limit": 11, "max_completion_length": 3,
}  # fmt: skip


def config_of(trainer: str, folder: Path, **changes: object) -> TrainConfig:
    of_group = {} if trainer == "sft" else {"num_generations": 2}
    config = configure(trainer, TRAINERS.get(trainer), {**SETTINGS, **of_group, **changes}, {})
    return dataclasses.replace(config, output_dir=folder, seed=4)


def log_of(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


class Ends(Progress):
    """Interrupts a training as it reports a step, as Ctrl-C does, or kills it."""

    def __init__(self, step: int, kills: bool) -> None:
        self.at, self.kills = step, kills

    def step(self, logged: Mapping[str, float]) -> None:
        if logged["step"] == self.at:
            if self.kills:
                raise Killed
            os.kill(os.getpid(), signal.SIGINT)


class Killed(BaseException):
    pass


def assert_resumes(benchmark: Benchmark, trainer: str, whole: TrainConfig, ends: Ends, goes_on_from: int) -> None:
    train = TRAINERS.get(trainer)
    folder = whole.output_dir
    straight, resumed = Tiny(), Tiny()
    reward = None if trainer == "sft" else load_reward("bleu", benchmark)
    train(straight, benchmark, reward, whole)
    parted = dataclasses.replace(whole, output_dir=folder.with_name("parted"), progress=ends)
    with pytest.raises((KeyboardInterrupt, Killed)):
        train(Tiny(), benchmark, reward, parted)
    kept = last_complete(parted.output_dir / "checkpoints")
    assert kept is not None and kept.name == f"checkpoint-{goes_on_from}"
    again = dataclasses.replace(parted, progress=Progress())
    train(resumed, benchmark, None if reward is None else load_reward("bleu", benchmark), again)
    expected, found = straight.state_dict(), resumed.state_dict()
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert len(log_of(folder)) == whole.max_steps and log_of(folder) == log_of(parted.output_dir)


@pytest.mark.slow
@pytest.mark.parametrize("trainer", BUILT_IN)
def test_stopped_at_17_of_40_equals_straight(few: Benchmark, tmp_path: Path, trainer: str) -> None:
    # The stop is heard as step 16 is reported, the step after it ends, and is saved.
    assert_resumes(few, trainer, config_of(trainer, tmp_path / "whole"), Ends(16, kills=False), 17)


@pytest.mark.slow
@pytest.mark.parametrize("trainer", BUILT_IN)
def test_killed_at_17_of_40_equals_straight_with_accumulation(few: Benchmark, tmp_path: Path, trainer: str) -> None:
    whole = config_of(trainer, tmp_path / "whole", gradient_accumulation_steps=2)
    assert_resumes(few, trainer, whole, Ends(17, kills=True), 10)


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["grpo", "mixed-grpo"])
def test_a_stop_within_the_updates_on_one_batch_of_samples_comes_after_them(
    few: Benchmark, tmp_path: Path, trainer: str
) -> None:
    """17 is no multiple of the two updates, so the stop is at 18."""
    whole = config_of(trainer, tmp_path / "whole", gradient_accumulation_steps=2, num_iterations=2)
    assert_resumes(few, trainer, whole, Ends(16, kills=False), 18)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"bf16": True}, {"gradient_checkpointing": True}, {"eval_steps": 3}])
def test_a_short_training_resumes_under_every_option_of_the_loop(
    few: Benchmark, tmp_path: Path, changes: dict[str, object]
) -> None:
    few.max_completion_length = 4
    short = {"max_steps": 6, "save_steps": 2, "limit": 3, "eval_limit": 1 if "eval_steps" in changes else None}
    whole = config_of("grpo", tmp_path / "whole", **short, **changes)
    assert_resumes(few, "grpo", whole, Ends(5, kills=True), 4)
