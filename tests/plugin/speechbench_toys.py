"""The least that each kind of plug can be, in a package as others would install it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from speechbench.benchmarks import AUDIO_PLACEHOLDER, SPLITS, Audio, Benchmark, Example, Progress
from speechbench.models.base import SpeechModel
from speechbench.models.tiny import Tiny
from speechbench.rewards import Reward
from speechbench.trainers.base import TrainConfig, TrainResult

RATE = 16_000  # Hz


def vowels(completions: list[str], **columns: object) -> list[float | None]:
    """The share of vowels in a text; does not apply to an empty one."""
    return [sum(c in "aeiou" for c in text) / len(text) if text else None for text in completions]


class Beeps(Benchmark):
    """How many beeps are heard?

    Args:
        root: Where the sounds are made.
    """

    metrics = ("binary",)
    max_completion_length = 8

    def __init__(self, root: str) -> None:
        super().__init__()
        self.root = Path(root)

    def prepare(self, progress: Progress | None = None) -> None:
        """Writes the sounds."""
        self.root.mkdir(parents=True, exist_ok=True)
        beep = np.sin(np.arange(RATE // 10) * 2 * np.pi * 440 / RATE)
        for count in range(1, 5):
            soundfile.write(self.root / f"{count}.wav", np.tile(np.append(beep, 0 * beep), count), RATE)

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        """The same four sounds in each split."""
        assert split in SPLITS
        instruction = f"{AUDIO_PLACEHOLDER} how many beeps?"
        return [
            Example(str(n), Audio(self.root / f"{n}.wav"), instruction, (f"{n} beeps",), None, "en", "en")
            for n in range(1, 5)
        ][:limit]


class FrozenTiny(Tiny):
    """The embedded model, of which only the projector learns."""

    def __init__(self) -> None:
        super().__init__(train="projector")


@dataclass(frozen=True)
class StandStillConfig(TrainConfig):
    """What `stand_still` can be told.

    Attributes:
        seconds: That it pretends to have learned for.
    """

    seconds: float = 1.0


def stand_still(model: SpeechModel, benchmark: Benchmark, reward: Reward, config: StandStillConfig) -> TrainResult:
    """Learns nothing."""
    folder = config.output_dir / "checkpoints" / "final"
    model.save(folder)
    return TrainResult(folder, config.max_steps, {"learning": config.seconds})
