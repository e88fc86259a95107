"""How a training ends before its time: a signal, a disk that is full."""

from __future__ import annotations

import dataclasses
import os
import resource
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from speechbench.benchmarks.base import Benchmark
from speechbench.errors import SpeechbenchError
from speechbench.interrupts import TOLD
from speechbench.models.base import Completions
from speechbench.models.tiny import Tiny
from speechbench.progress import Progress
from speechbench.rewards.loading import load_reward
from speechbench.trainers import grpo, mixed_grpo, sft
from speechbench.trainers.checkpoints import last_complete
from speechbench.trainers.grpo import GrpoConfig
from speechbench.trainers.mixed_grpo import MixedGrpoConfig
from speechbench.trainers.sft import SftConfig
from tests.trainers.conftest import assert_equal, log_of

KINDS: dict[str, tuple[Callable[..., Any], type]] = {
    "sft": (sft.train, SftConfig),
    "grpo": (grpo.train, GrpoConfig),
    "mixed-grpo": (mixed_grpo.train, MixedGrpoConfig),
}


class Learning(Tiny):
    """Does something in the middle of a given learning pass."""

    def __init__(self, at: int, then: Callable[[], None]) -> None:
        super().__init__()
        self.passes, self.at, self.then = 0, at, then

    def forward(
        self, examples: Any, completions: Completions, temperature: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        out = super().forward(examples, completions, temperature)
        if torch.is_grad_enabled():
            self.passes += 1
            if self.passes == self.at:
                self.then()
        return out


class Hears(Progress):
    def __init__(self, at: int = 0, then: Callable[[], None] = lambda: None) -> None:
        self.told: list[str] = []
        self.at, self.then = at, then

    def tell(self, text: str) -> None:
        self.told.append(text)

    def step(self, logged: Mapping[str, float]) -> None:
        if logged["step"] == self.at:
            self.then()


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("trainer", "iterations", "accumulation", "asked_in_pass", "stops_after"),
    [
        pytest.param("sft", 1, 1, 2, 2, marks=pytest.mark.slow),
        ("grpo", 1, 1, 2, 2),
        pytest.param("mixed-grpo", 1, 1, 2, 2, marks=pytest.mark.slow),
        pytest.param("grpo", 2, 1, 1, 2, marks=pytest.mark.slow),
        pytest.param("grpo", 2, 1, 2, 2, marks=pytest.mark.slow),
        # Five batches: the third step's window is smaller, and so not its samples' second.
        pytest.param("grpo", 2, 2, 6, 4, marks=pytest.mark.slow),
    ],
)
def test_a_stop_ends_the_step_and_going_on_equals_never_stopped(
    few: Benchmark, tmp_path: Path, trainer: str, iterations: int, accumulation: int, asked_in_pass: int,
    stops_after: int,
) -> None:  # fmt: skip
    train, kind = KINDS[trainer]
    settings: dict[str, Any] = {
        "max_steps": 5, "per_device_train_batch_size": 2, "gradient_accumulation_steps": accumulation, "limit": 10,
        "save_steps": 100, "max_completion_length": 8, "seed": 3,
    }  # fmt: skip
    if trainer != "sft":
        settings.update(num_generations=3, num_iterations=iterations)
    reward = None if trainer == "sft" else load_reward("bleu", few)
    whole = kind(output_dir=tmp_path / "whole", **settings)
    straight = Tiny()
    train(straight, few, reward, whole)

    hears = Hears()
    stopped = dataclasses.replace(whole, output_dir=tmp_path / "stopped", progress=hears)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(Learning(asked_in_pass, interrupt), few, reward, stopped)
    assert signal.getsignal(signal.SIGINT) is before
    assert hears.told.count(TOLD) == 1
    kept = last_complete(stopped.output_dir / "checkpoints")
    assert kept is not None and kept.name == f"checkpoint-{stops_after}"
    assert not (stopped.output_dir / "checkpoints" / "final").exists()
    assert len(log_of(stopped.output_dir)) == stops_after

    resumed = Tiny()
    train(resumed, few, reward, stopped)
    assert_equal(straight, resumed)
    assert log_of(whole.output_dir) == log_of(stopped.output_dir)


def test_a_stop_that_is_asked_for_while_a_checkpoint_is_written_takes_no_further_step(
    few: Benchmark, tmp_path: Path
) -> None:
    class Saving(Tiny):
        def save(self, folder: Path) -> None:
            interrupt()
            super().save(folder)

    config = SftConfig(output_dir=tmp_path, max_steps=3, per_device_train_batch_size=2, save_steps=1)
    with pytest.raises(KeyboardInterrupt):
        sft.train(Saving(), few, None, config)
    assert [line["step"] for line in log_of(tmp_path)] == [1]


def test_the_second_signal_stops_in_the_middle_and_leaves_the_last_checkpoint(few: Benchmark, tmp_path: Path) -> None:
    def twice() -> None:
        interrupt()
        interrupt()

    config = SftConfig(output_dir=tmp_path, max_steps=4, per_device_train_batch_size=2, save_steps=1)
    with pytest.raises(KeyboardInterrupt):
        sft.train(Learning(2, twice), few, None, config)
    assert len(log_of(tmp_path)) == 1
    kept = last_complete(tmp_path / "checkpoints")
    assert kept is not None and kept.name == "checkpoint-1"


@pytest.fixture
def largest_file() -> Iterator[Callable[[int], None]]:
    """Sets how large a file may become: writing on fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("room", "what"),
    [
        (16_000_000, "checkpoint-2"),  # for the weights, not for the optimizer's state
        (1_000_000, "checkpoint-2"),  # for the config, not for the weights
        (30_000, "checkpoint-2"),  # not for the tokenizer
        (100, "train.jsonl"),
    ],
)
def test_what_cannot_be_written_is_named_and_the_same_call_goes_on_later(
    few: Benchmark, tmp_path: Path, largest_file: Callable[[int], None], room: int, what: str
) -> None:
    of_checkpoint = what != "train.jsonl"
    settings: dict[str, Any] = {
        "max_steps": 3,
        "per_device_train_batch_size": 2,
        "save_steps": 1 if of_checkpoint else 3,
    }
    straight = Tiny()
    sft.train(straight, few, None, SftConfig(output_dir=tmp_path / "whole", **settings))
    fills = Hears(at=2 if of_checkpoint else 1, then=lambda: largest_file(room))
    config = SftConfig(output_dir=tmp_path / "full", **settings, progress=fills)
    with pytest.raises(SpeechbenchError) as caught:
        sft.train(Tiny(), few, None, config)
    largest_file(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    sentence = str(caught.value)
    assert what in sentence and str(tmp_path / "full") in sentence
    assert "cannot be written" in sentence and "make room there; the same command then goes on" in sentence
    if of_checkpoint:
        assert [p.name for p in (tmp_path / "full" / "checkpoints").iterdir()] == ["checkpoint-1"]
    resumed = Tiny()
    sft.train(resumed, few, None, dataclasses.replace(config, progress=Progress()))
    assert_equal(straight, resumed)
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "full")


def test_a_trained_model_that_cannot_be_written_is_written_by_the_next_call(
    few: Benchmark, tmp_path: Path, largest_file: Callable[[int], None]
) -> None:
    class Full(Tiny):
        """Room for the checkpoint, none for the trained model."""

        def save(self, folder: Path) -> None:
            if folder.name.startswith(".final"):
                largest_file(1_000_000)
            super().save(folder)

    config = SftConfig(output_dir=tmp_path, max_steps=1, per_device_train_batch_size=2)
    with pytest.raises(SpeechbenchError, match="final cannot be written"):
        sft.train(Full(), few, None, config)
    largest_file(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["checkpoint-1"]
    model = Tiny()
    result = sft.train(model, few, None, config)
    reloaded = Tiny()
    reloaded.load_weights(result.model_folder)
    assert_equal(model, reloaded)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["checkpoint-1", "final"]


@pytest.mark.slow
def test_warnings_come_once_across_a_stop(few: Benchmark, tmp_path: Path) -> None:
    """The base never gets a whole sentence right within four tokens."""
    settings: dict[str, Any] = {
        "max_steps": 7, "per_device_train_batch_size": 2, "num_generations": 3, "max_completion_length": 4,
        "save_steps": 6,
    }  # fmt: skip
    reward = load_reward("binary", few)
    whole, first, second = Hears(), Hears(), Hears()
    result = grpo.train(Tiny(), few, reward, GrpoConfig(output_dir=tmp_path / "a", **settings, progress=whole))
    kinds = ("too little to learn from", "all rewards are equal", "were cut before their end")
    assert [sum(kind in text for text in whole.told) for kind in kinds] == [1, 1, 1]
    assert len(whole.told) == 3 and all(text.startswith("grpo on reward binary: ") for text in whole.told)
    assert result.warnings == tuple(whole.told)
    logged = [text for line in log_of(tmp_path / "a") for text in line.get("warnings", [])]
    assert logged == whole.told

    config = GrpoConfig(output_dir=tmp_path / "b", **settings, progress=first)
    with pytest.raises(KeyboardInterrupt):
        grpo.train(Learning(6, interrupt), few, reward, config)
    again = grpo.train(Tiny(), few, reward, dataclasses.replace(config, progress=second))
    assert [text for text in first.told if text != TOLD] == whole.told and second.told == []
    assert again.warnings == result.warnings and log_of(tmp_path / "a") == log_of(tmp_path / "b")
