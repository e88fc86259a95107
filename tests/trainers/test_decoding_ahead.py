"""While a step learns, the next batch is decoded in the background; what is learned does not depend on it."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from speechbench.benchmarks import decoding
from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import Benchmark, Example
from speechbench.models.granite_speech import GraniteSpeech
from speechbench.models.tiny import Tiny
from speechbench.trainers.sft import SftConfig, SftTrainer


@dataclasses.dataclass(frozen=True)
class Watched(Audio):
    """A recording that writes down which threads have decoded it."""

    threads: list[str] = dataclasses.field(default_factory=list, compare=False)

    def samples(self, rate: int) -> Any:
        self.threads.append(threading.current_thread().name)
        return super().samples(rate)


class Finishing(decoding.Background):
    """Has decoded what it was told to begin before the next line runs, so that no test depends on who is faster."""

    def begin(self, audios: Iterable[Audio], rate: int) -> None:
        super().begin(audios, rate)
        for thread in threading.enumerate():
            if thread.name == "decoding":
                thread.join(60)


class WatchedBenchmark(Benchmark):
    """The same examples each time they are loaded."""

    name = "watched"

    def __init__(self, few: Benchmark) -> None:
        super().__init__()
        self.examples = [
            dataclasses.replace(example, audio=Watched(example.audio.path))
            for example in few.load("train")
            if example.audio is not None
        ]

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        return self.examples


def train(few: Benchmark, folder: Path) -> tuple[list[list[str]], GraniteSpeech]:
    benchmark, model = WatchedBenchmark(few), Tiny()
    model._encoded.clear()  # other tests may have heard the same
    config = SftConfig(output_dir=folder, max_steps=4, per_device_train_batch_size=2, gradient_accumulation_steps=2)
    SftTrainer(model, benchmark, config).run()
    return [e.audio.threads for e in benchmark.examples if isinstance(e.audio, Watched)], model


@pytest.mark.slow
def test_batches_are_decoded_ahead_once_each(few: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_background", Finishing(2))
    heard, model = train(few, tmp_path / "ahead")
    assert heard == [["decoding"]] * 16
    monkeypatch.setattr(decoding, "_background", decoding.Background(0))
    alone, same = train(few, tmp_path / "alone")
    assert alone == [["MainThread"]] * 16
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
