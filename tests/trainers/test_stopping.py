"""How a training ends before its time: a signal, a loss that is no number, a disk that is full."""

from __future__ import annotations

import dataclasses
import json
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


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def log_of(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def assert_equal(one: torch.nn.Module, other: torch.nn.Module) -> None:
    expected, found = weights(one), weights(other)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize(
    ("trainer", "iterations", "accumulation", "asked_in_pass", "stops_after"),
    [
        ("sft", 1, 1, 2, 2),
        ("grpo", 1, 1, 2, 2),
        ("mixed-grpo", 1, 1, 2, 2),
        ("grpo", 2, 1, 1, 2),
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


def test_a_loss_that_is_no_number_stops_before_the_weights_are_spoilt(few: Benchmark, tmp_path: Path) -> None:
    class Diverges(Tiny):
        def forward(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
            logprobs, entropy = super().forward(*args, **kwargs)
            return logprobs * float("nan"), entropy

    model = Diverges()
    before = weights(model)
    with pytest.raises(SpeechbenchError, match=r"^sft: the loss of step 1 is nan.*lower learning_rate \(now 0.0002\)"):
        sft.train(model, few, None, SftConfig(output_dir=tmp_path, max_steps=2, per_device_train_batch_size=2))
    assert all(torch.equal(before[name], value) for name, value in weights(model).items())
    assert not list((tmp_path / "checkpoints").glob("*"))


@pytest.mark.slow
def test_a_loss_that_becomes_no_number_leaves_the_last_good_checkpoint(few: Benchmark, tmp_path: Path) -> None:
    class Diverges(Tiny):
        """From the third learning pass on."""

        passes = 0

        def forward(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
            logprobs, entropy = super().forward(*args, **kwargs)
            self.passes += torch.is_grad_enabled()
            return (logprobs * float("nan") if self.passes >= 3 else logprobs), entropy

    settings: dict[str, Any] = {"per_device_train_batch_size": 2, "save_steps": 1, "warmup_ratio": 0.0}
    constant = {**settings, "lr_scheduler_type": "constant"}  # so that it is no matter how many steps were planned
    with pytest.raises(SpeechbenchError, match=r"the loss of step 3 is nan.*checkpoint-1 holds the last weights"):
        sft.train(Diverges(), few, None, SftConfig(output_dir=tmp_path / "bad", max_steps=4, **constant))
    assert len(log_of(tmp_path / "bad")) == 2
    good, saved = Tiny(), Tiny()
    sft.train(good, few, None, SftConfig(output_dir=tmp_path / "good", max_steps=1, **constant))
    saved.load_weights(tmp_path / "bad" / "checkpoints" / "checkpoint-1")
    assert_equal(good, saved)


def test_a_step_that_ruins_the_weights_leaves_those_before_it(few: Benchmark, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"per_device_train_batch_size": 2, "save_steps": 1, "max_steps": 4, "warmup_ratio": 0.0}
    with pytest.raises(SpeechbenchError, match=r"the \w+ of step 2 is nan"):
        sft.train(Tiny(), few, None, SftConfig(output_dir=tmp_path / "at once", learning_rate=1e38, **settings))

    class Ruins(Tiny):
        """Its weights are no numbers any more after the second step."""

        passes = 0

        def forward(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
            self.passes += 1
            if self.passes == 2:
                next(p for p in self.parameters() if p.requires_grad).register_post_accumulate_grad_hook(ruin)
            return super().forward(*args, **kwargs)

    def ruin(parameter: torch.Tensor) -> None:
        parameter.data.fill_(float("nan"))

    with pytest.raises(SpeechbenchError, match=r"the loss of step 3 is nan.*checkpoint-1 holds the last weights"):
        sft.train(Ruins(), few, None, SftConfig(output_dir=tmp_path, learning_rate=1e-4, **settings))
    saved = Tiny()
    saved.load_weights(tmp_path / "checkpoints" / "checkpoint-1")
    assert all(torch.isfinite(p).all() for p in saved.parameters())

    short = SftConfig(output_dir=tmp_path / "short", learning_rate=1e-4, **{**settings, "max_steps": 2})
    with pytest.raises(SpeechbenchError, match=r"norm of the weights after the last step is nan.*checkpoint-1 holds"):
        sft.train(Ruins(), few, None, short)


def test_once_a_step_went_well_one_checkpoint_stays(few: Benchmark, tmp_path: Path) -> None:
    config = SftConfig(output_dir=tmp_path, max_steps=3, per_device_train_batch_size=2, save_steps=1)
    sft.train(Tiny(), few, None, config)
    assert [path.name for path in (tmp_path / "checkpoints").glob("checkpoint-*")] == ["checkpoint-3"]


@pytest.mark.parametrize("max_grad_norm", [0.0, 1.0])
def test_a_gradient_that_is_no_number_stops_before_the_weights_are_spoilt(
    few: Benchmark, tmp_path: Path, max_grad_norm: float
) -> None:
    model = Tiny()
    learns = next(p for p in model.parameters() if p.requires_grad)
    learns.register_hook(lambda gradient: gradient * float("inf"))
    before = weights(model)
    config = SftConfig(output_dir=tmp_path, max_steps=2, per_device_train_batch_size=2, max_grad_norm=max_grad_norm)
    with pytest.raises(SpeechbenchError, match=r"1 is (nan|inf), .*(lower max_\w+ \(now 1\)|set max_\w+: 1 \(now 0)"):
        sft.train(model, few, None, config)
    assert all(torch.equal(before[name], value) for name, value in weights(model).items())


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
