"""Rewards that must teach nothing: what a run gains under them, it does not owe to the reward.

Reinforcement learning for translation can gain from mere peakiness (Choshen et al. 2020, arXiv 1907.01752).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from speechbench.errors import UsageError
from speechbench.languages import is_unspaced
from speechbench.rewards.base import Batch, Reward, no_logprobs
from speechbench.rewards.texts import column

_BITS = 53  # of a float's mantissa
_WORDS = 20  # more than the answers of the mini corpora have, so that there a longer one is always worth more


class Constant(Reward):
    """The same number for every hypothesis: with group-centred advantages the weights stay where they were.

    Args:
        value: That number, on unit scale.

    Raises:
        UsageError: If it is no finite number.
    """

    family = "control"
    needs: frozenset[str] = frozenset()
    several_references = "none"
    is_pure = True
    citation: ClassVar[str] = "https://arxiv.org/abs/1907.01752"

    def __init__(self, value: float = 0.5) -> None:
        if isinstance(value, (bool, str)) or value is None or not math.isfinite(value):
            raise UsageError(f"constant(value={value}): the value must be a finite number")
        self.value = float(value)
        self.range = (min(0.0, self.value), max(1.0, self.value))
        self.display = "constant" if self.value == 0.5 else f"constant({self.value:g})"

    def score(self, batch: Batch) -> list[float | None]:
        """The constant, for each hypothesis."""
        return [self.value] * len(batch.hypotheses)

    def signature(self) -> Mapping[str, Any]:
        """Name and value."""
        return {"name": "constant", "value": self.value}


class Random(Reward):
    """A number between 0 and 1 that depends on the batch's seeds alone, never on the text."""

    display = "random"
    family = "control"
    needs: frozenset[str] = frozenset()
    several_references = "none"
    citation: ClassVar[str] = "https://arxiv.org/abs/1907.01752"

    def score(self, batch: Batch) -> list[float | None]:
        """Uniform in [0, 1), the same for the same seed on every machine."""
        return [_uniform(int(seed)) for seed in batch.seeds]

    def signature(self) -> Mapping[str, Any]:
        """Name and how the numbers are drawn."""
        return {"name": "random", "generator": "sha256"}


class Confidence(Reward):
    """The model's own mean log-probability per token: whoever gains under it has only grown surer of itself.

    In nats, at most 0. The log-probabilities are those of the model that wrote the hypotheses, so it can be
    trained on, but not measured.
    """

    display = "confidence"
    family = "control"
    range = (-math.inf, 0.0)
    scale = 1.0
    needs = frozenset({"logprobs"})
    several_references = "none"
    citation: ClassVar[str] = "https://arxiv.org/abs/1907.01752"

    def score(self, batch: Batch) -> list[float | None]:
        """The batch's log-probabilities.

        Raises:
            UsageError: If the batch has none.
        """
        if batch.logprobs is None:
            raise no_logprobs(str(getattr(self, "spec", self.display)))
        return [float(logprob) for logprob in batch.logprobs]

    def signature(self) -> Mapping[str, Any]:
        """Name and version."""
        return {"name": "confidence", "version": 1}


class Length(Reward):
    """How long the hypothesis is, whatever it says: what a run gains under it, length alone has brought.

    Overlap with a reference, and recall above all, rises with the length of a text, so that a reward may be climbed
    by writing more. This control knows neither the reference nor its length: it is the number of words over `target`,
    at most 1. In languages that are written without spaces a character counts as a word.

    Args:
        target: How many words are enough.

    Raises:
        UsageError: If it is no whole number of at least 1.
    """

    family = "control"
    needs: frozenset[str] = frozenset()
    several_references = "none"
    is_pure = True
    citation: ClassVar[str] = "Singhal et al. 2024, https://arxiv.org/abs/2310.03716"

    def __init__(self, target: int = _WORDS) -> None:
        if isinstance(target, bool) or not isinstance(target, int) or target < 1:
            raise UsageError(f"length(target={target}): the target is a whole number of words, at least 1")
        self.target = target
        self.display = column("length", "" if target == _WORDS else f"target={target}")

    def score(self, batch: Batch) -> list[float | None]:
        """The share of the target's length that each hypothesis has."""
        return [
            min(1.0, _words(hypothesis, example.target_language) / self.target)
            for hypothesis, example in zip(batch.hypotheses, batch.examples, strict=True)
        ]

    def signature(self) -> Mapping[str, Any]:
        """Name, version and target."""
        return {"name": "length", "version": 1, "target": self.target}


def _words(text: str, language: str) -> int:
    words = text.split()
    return sum(map(len, words)) if is_unspaced(language) else len(words)


def _uniform(seed: int) -> float:
    digest = hashlib.sha256(f"random reward {seed}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> (64 - _BITS)) / float(1 << _BITS)
