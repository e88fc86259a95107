"""Rewards that must teach nothing: what a run gains under them, it does not owe to the reward.

Reinforcement learning for translation can gain from mere peakiness (Choshen et al. 2020, arXiv 1907.01752).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from speechbench.errors import UsageError
from speechbench.rewards.base import Batch, Reward, no_logprobs

_BITS = 53  # of a float's mantissa


class Constant(Reward):
    """The same number for every hypothesis: with group-centred advantages the weights stay where they were.

    Args:
        value: That number, on unit scale.

    Raises:
        UsageError: If it is no finite number.
    """

    family: ClassVar[str] = "control"
    needs: frozenset[str] = frozenset()
    citation: ClassVar[str] = "https://arxiv.org/abs/1907.01752"

    def __init__(self, value: float = 0.5) -> None:
        if isinstance(value, str) or value is None or not math.isfinite(value):
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
    family: ClassVar[str] = "control"
    needs: frozenset[str] = frozenset()
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
    family: ClassVar[str] = "control"
    range = (-math.inf, 0.0)
    scale = 1.0
    needs = frozenset({"logprobs"})
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


def _uniform(seed: int) -> float:
    digest = hashlib.sha256(f"random reward {seed}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> (64 - _BITS)) / float(1 << _BITS)
