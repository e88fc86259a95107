"""What the base model hears while it is built: pretraining sentences and phrases, spoken and augmented."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt
import soxr

from speechbench.benchmarks.mini import grammar, voices
from speechbench.benchmarks.mini.speech import NATIVE_RATE, Voice, speak
from speechbench.models.features import RATE


@dataclass(frozen=True)
class Utterance:
    """A text to be spoken.

    Attributes:
        text: In English.
        german: Its translation.
        meaning: The sentence it is, or `None` for a phrase.
        voice: Who speaks it.
        seed: Of the speech and of its augmentation.
    """

    text: str
    german: str
    meaning: grammar.Meaning | None
    voice: Voice
    seed: int


def _voice(rng: random.Random) -> Voice:
    return Voice(rng.choice(voices.PRETRAINING), rng.randint(120, 220), rng.randint(15, 90), rng.randint(20, 90))


def sentences() -> list[Utterance]:
    """The pretraining sentences, each by one voice of random rate and pitch."""
    rng = random.Random(1)
    return [
        Utterance(m.english(), m.german(), m, _voice(rng), seed)
        for seed, m in enumerate(grammar.split("pretraining", "train"))
    ]


def phrases(count: int, longest: int) -> list[Utterance]:
    """Random words of the grammar in a row, one to `longest` of its values each."""
    rng = random.Random(2 + longest)
    pairs = [pair for values in grammar.VALUES.values() for pair in values.items()]
    utterances = []
    for index in range(count):
        chosen = [rng.choice(pairs) for _ in range(rng.randint(1, longest))]
        english, german = (" ".join(side) for side in zip(*chosen, strict=True))
        utterances.append(Utterance(english, german, None, _voice(rng), 1_000_000 * longest + index))
    return utterances


def _record(utterance: Utterance) -> npt.NDArray[np.float32]:
    """Speaks one text and disturbs it: level, noise, a telephone's band, room tone at both ends."""
    raw = speak(utterance.text, utterance.voice, utterance.seed).astype(np.float32) / 32768.0
    rng = np.random.default_rng(utterance.seed)
    if rng.random() < 0.3:  # human speech often comes at 8 kHz
        raw = soxr.resample(soxr.resample(raw, NATIVE_RATE, 8000), 8000, RATE)
    else:
        raw = soxr.resample(raw, NATIVE_RATE, RATE)
    ends = rng.integers(0, int(0.25 * RATE), size=2)
    raw = np.pad(raw, (int(ends[0]), int(ends[1])))
    raw = raw / max(float(np.abs(raw).max()), 1e-4) * 10.0 ** rng.uniform(-1.2, -0.05)
    noise = rng.standard_normal(len(raw)) * float(np.std(raw)) * 10.0 ** rng.uniform(-4.0, -0.8)
    return np.asarray(raw + noise, dtype=np.float32)


def record(
    utterances: Sequence[Utterance], progress: Callable[[int, int], None] | None = None, workers: int = 2
) -> list[npt.NDArray[np.float32]]:
    """Speaks all texts on several processes; what comes back depends on the utterances alone.

    Returns:
        For each utterance its samples at 16 kHz.
    """
    spoken = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for samples in pool.map(_record, utterances, chunksize=32):
            spoken.append(samples)
            if progress is not None:
                progress(len(spoken), len(utterances))
    return spoken
