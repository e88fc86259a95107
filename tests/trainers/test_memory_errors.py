"""Out of memory, wherever in a training: one sentence that says what to lower, and the last checkpoint stays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from speechbench.benchmarks.base import Benchmark
from speechbench.errors import SpeechbenchError
from speechbench.models.base import Completions
from speechbench.models.tiny import Tiny
from speechbench.out_of_memory import ShortOfMemoryError, is_out_of_memory
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.loading import load_reward
from speechbench.trainers import grpo, sft
from speechbench.trainers.checkpoints import last_complete
from speechbench.trainers.config import TrainConfig
from speechbench.trainers.grpo import GrpoConfig
from speechbench.trainers.memory_errors import saying_what_to_lower
from speechbench.trainers.sft import SftConfig

SENTENCE = (
    r"^grpo on reward .+ ran out of memory in step 2: lower num_generations \(now 3\), per_device_train_batch_size "
    r"\(now 2\) or max_completion_length \(now 4\), or set gradient_checkpointing: true \(now false\) in --config, "
)


def too_much() -> None:
    """What torch says when the CPU's memory is short: asked for an exbibyte, in earnest."""
    torch.empty(1 << 60, dtype=torch.uint8)


def of_cuda() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


class Greedy(Tiny):
    """Runs out of memory at the second call of one of its operations."""

    def __init__(self, at: str, fails: Callable[[], None]) -> None:
        super().__init__()
        self.at, self.fails, self.calls = at, fails, 0

    def _reached(self, place: str) -> None:
        self.calls += place == self.at
        if place == self.at and self.calls == 2:
            self.fails()

    def sample(self, *args: Any) -> Completions:
        self._reached("sampling")
        return super().sample(*args)

    def forward(self, *args: Any) -> tuple[torch.Tensor, torch.Tensor]:
        out = super().forward(*args)
        self._reached("learning" if torch.is_grad_enabled() else "reference")
        return out


class Hungry(Reward):
    display = "hungry"
    calls = 0

    def score(self, batch: Batch) -> list[float | None]:
        self.calls += 1
        if self.calls == 2:
            too_much()
        return [float(i) for i in range(len(batch.hypotheses))]


def config_of(folder: Path) -> GrpoConfig:
    return GrpoConfig(
        folder, max_steps=3, per_device_train_batch_size=2, num_generations=3, max_completion_length=4, save_steps=1
    )


@pytest.mark.slow
@pytest.mark.parametrize("fails", [too_much, of_cuda])
@pytest.mark.parametrize("at", ["sampling", "reference", "learning"])
def test_it_is_one_sentence_wherever_it_happens(
    few: Benchmark, tmp_path: Path, at: str, fails: Callable[[], None]
) -> None:
    with pytest.raises(SpeechbenchError, match=SENTENCE):
        grpo.train(Greedy(at, fails), few, load_reward("bleu", few), config_of(tmp_path))
    kept = last_complete(tmp_path / "checkpoints")
    assert kept is not None and kept.name == "checkpoint-1"
    model = Tiny()
    assert grpo.train(model, few, load_reward("bleu", few), config_of(tmp_path)).steps == 3


def test_a_reward_that_runs_out_of_memory_is_one_too(few: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(SpeechbenchError, match=SENTENCE):
        grpo.train(Tiny(), few, Hungry(), config_of(tmp_path))


class Uncopied(Tiny):
    def frozen_copy(self) -> Tiny:
        too_much()
        raise AssertionError


def test_the_model_before_training_may_be_what_is_too_much(few: Benchmark, tmp_path: Path) -> None:
    bleu, config = load_reward("bleu", few), config_of(tmp_path)
    said = r"^grpo on reward BLEU ran out of memory as it copied .*: set beta: 0 \(now 0\.02\) in --config, or "
    with pytest.raises(SpeechbenchError, match=said):
        grpo.train(Uncopied(), few, bleu, config)
    assert grpo.train(Uncopied(), few, bleu, dataclasses.replace(config, max_steps=1, beta=0.0)).steps == 1


def test_what_says_already_what_helps_is_not_said_again() -> None:
    """As of a validation, where lowering the size of a group is of no use."""
    with pytest.raises(ShortOfMemoryError, match=r"^validation$"), saying_what_to_lower("sft", config_of(Path()), int):
        raise ShortOfMemoryError("validation") from MemoryError()


def test_other_errors_stay_what_they_are(few: Benchmark, tmp_path: Path) -> None:
    def broken() -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match=r"^shapes do not match$"):
        sft.train(Greedy("learning", broken), few, None, SftConfig(tmp_path, max_steps=2))
    assert not is_out_of_memory(None) and not is_out_of_memory(SpeechbenchError("no dictionary"))


@pytest.mark.parametrize(
    ("config", "remedies"),
    [
        (SftConfig(Path(), per_device_train_batch_size=4), "lower per_device_train_batch_size (now 4), or set "
         "gradient_checkpointing: true (now false) in --config"),
        (SftConfig(Path(), per_device_train_batch_size=1), "set gradient_checkpointing: true (now false) in --config"),
        (GrpoConfig(Path(), num_generations=2, per_device_train_batch_size=3, max_completion_length=9,
                    gradient_checkpointing=True),
         "lower per_device_train_batch_size (now 3) or max_completion_length (now 9) in --config"),
        (SftConfig(Path(), per_device_train_batch_size=1, gradient_checkpointing=True), "take a smaller model"),
    ],
)  # fmt: skip
def test_only_what_can_be_lowered_is_named(config: TrainConfig, remedies: str) -> None:
    with pytest.raises(SpeechbenchError) as caught, saying_what_to_lower("sft", config, lambda: 7):
        too_much()
    assert str(caught.value).startswith(f"sft ran out of memory in step 7: {remedies}, or free memory and run ")
