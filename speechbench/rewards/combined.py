"""Rewards made of rewards: weighted sums and products."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import UsageError
from speechbench.rewards.base import Batch, Reward, total_usage
from speechbench.rewards.measure import scores_of

_FLOOR = 1e-4  # added to a group's standard deviation, as TRL does


def families_of(reward: Reward) -> tuple[str, ...]:
    """The families of what a reward is made of, sorted."""
    parts = reward.parts if isinstance(reward, Combined) else ()
    return tuple(sorted({family for part in parts for family in families_of(part)} or {reward.family}))


class Combined(Reward):
    """What sums and products share. Where one part does not apply, the whole does not.

    Args:
        parts: The rewards it is made of, at least one.

    Raises:
        UsageError: If there is no language that all parts are meant for.

    Attributes:
        ask: How a part is asked for its scores. A training puts in its own way, which knows what it asked before.
    """

    ask: Callable[[Reward, Batch], list[float | None]] = staticmethod(scores_of)

    several_references = "as in its parts"

    def __init__(self, parts: Sequence[Reward]) -> None:
        self.parts = tuple(parts)
        self._seconds: dict[str, float] = {}
        self.family = "control" if all(part.family == "control" for part in parts) else "combined"
        self.needs = frozenset().union(*(part.needs for part in parts))
        spoken = [part.languages for part in parts if part.languages]
        self.languages = frozenset.intersection(*spoken) if spoken else frozenset()
        if spoken and not self.languages:
            raise UsageError(f"{' and '.join(part.display for part in parts)} are for different languages: take one")
        self.extra = ",".join(dict.fromkeys(part.extra for part in parts if part.extra))
        self.is_pure = all(part.is_pure for part in parts)
        self.waits = any(part.waits for part in parts)

    def combinations(self) -> Iterator[Combined]:
        """Itself and the sums and products among its parts, and theirs."""
        yield self
        for part in self.parts:
            if isinstance(part, Combined):
                yield from part.combinations()

    def prepare(self, examples: Sequence[Example]) -> None:
        """Shows every part the examples."""
        for part in self.parts:
            part.prepare(examples)

    def check(self, benchmark: Benchmark) -> None:
        """Refuses what one of the parts refuses.

        Raises:
            UsageError: If one of them must not be used there.
        """
        for part in self.parts:
            part.check(benchmark)

    def usage(self) -> Mapping[str, float]:
        """What the parts have used up, together."""
        return total_usage(part.usage() for part in self.parts)

    def part_seconds(self) -> Mapping[str, float]:
        """Wall time that each part's scoring has taken so far, by its display."""
        return dict(self._seconds)

    def score(self, batch: Batch) -> list[float | None]:
        """The parts' scores put together; `None` where one of them is."""
        columns = [self._scores(part, batch) for part in self.parts]
        applies = ~np.isnan(columns).any(axis=0)
        whole = self._together(np.array(columns), batch)
        return [float(score) if known else None for score, known in zip(whole, applies, strict=True)]

    def _scores(self, part: Reward, batch: Batch) -> list[float]:
        start = time.perf_counter()
        scores = self.ask(part, batch)
        self._seconds[part.display] = self._seconds.get(part.display, 0.0) + time.perf_counter() - start
        return [math.nan if score is None else score for score in scores]

    @abstractmethod
    def _together(self, scores: npt.NDArray[np.float64], batch: Batch) -> npt.NDArray[np.float64]:
        """One score for each hypothesis from those of the parts, shape [part, hypothesis]; NaN does not apply."""


class Sum(Combined):
    """A weighted sum of rewards, `0.7*bleu + 0.3*comet`, on the unit scale of its parts.

    With `normalize=group`, each part is first brought to mean 0 and standard deviation 1 within its group
    (with n − 1, plus 1e-4), so that the weights count and not how widely a part's scores spread: TRL's
    `normalize_then_sum`. It then says which of a group's members are better, and nothing about the group; so it can
    be trained on, but is no metric.

    Args:
        parts: What is summed.
        weights: One for each part.
        normalize: "none" or "group".

    Raises:
        UsageError: If `normalize` is something else.
    """

    citation: ClassVar[str] = "https://huggingface.co/docs/trl/grpo_trainer (multi_objective_aggregation)"

    def __init__(self, parts: Sequence[Reward], weights: Sequence[float], normalize: str = "none") -> None:
        if normalize not in ("none", "group"):
            raise UsageError(f"sum(normalize={normalize}): write group, or none")
        super().__init__(parts)
        self.weights = tuple(weights)
        self.normalize = normalize
        is_within_group = normalize == "group"
        terms = [_weighted(weight, part) for weight, part in zip(weights, parts, strict=True)]
        self.display = terms[0] + "".join(f" - {t[1:]}" if t[0] == "-" else f" + {t}" for t in terms[1:])
        if is_within_group:
            self.display = f"sum({self.display}, normalize=group)"
            self.needs |= {"group"}
            self.is_pure = False
            self.range = (-math.inf, math.inf)
            return
        bounds = [sorted(weight * end for end in part.range) for weight, part in zip(weights, parts, strict=True)]
        self.range = (sum(low for low, _ in bounds), sum(high for _, high in bounds))
        self.maximum = _attainable(parts, sum, weights)

    def signature(self) -> Mapping[str, Any]:
        """Weights and the parts' signatures; how they are normalised."""
        terms = [[weight, dict(part.signature())] for weight, part in zip(self.weights, self.parts, strict=True)]
        return {"name": "sum", "version": 1, "normalize": self.normalize, "terms": terms}

    def _together(self, scores: npt.NDArray[np.float64], batch: Batch) -> npt.NDArray[np.float64]:
        if self.normalize == "group":
            scores = standardised(scores, batch.group_names)
        # Term by term: the order of a sum decides its last bit.
        whole = np.zeros(scores.shape[1])
        for weight, column in zip(self.weights, scores, strict=True):
            whole += weight * column
        return whole


class Product(Combined):
    """A product of rewards, `bleu*language`: what one of them scores 0, scores 0.

    Args:
        parts: What is multiplied.
        weight: A number in front.
    """

    def __init__(self, parts: Sequence[Reward], weight: float = 1.0) -> None:
        super().__init__(parts)
        self.weight = weight
        factors = "*".join(f"({part.display})" if isinstance(part, Sum) else part.display for part in parts)
        self.display = f"-{factors}" if weight == -1 else factors if weight == 1 else f"{weight:g}*{factors}"
        low, high = weight, weight
        for part in parts:
            corners = [_times(one, other) for one in (low, high) for other in part.range]
            low, high = min(corners), max(corners)
        self.range = (low, high)
        if all(part.range[0] >= 0 for part in parts):
            self.maximum = _attainable(parts, math.prod, [weight] + [1.0] * (len(parts) - 1))

    def signature(self) -> Mapping[str, Any]:
        """The weight and the parts' signatures."""
        factors = [dict(part.signature()) for part in self.parts]
        return {"name": "product", "version": 1, "weight": self.weight, "factors": factors}

    def _together(self, scores: npt.NDArray[np.float64], batch: Batch) -> npt.NDArray[np.float64]:
        whole = np.full(scores.shape[1], self.weight)
        for column in scores:
            whole *= column
        return whole


def standardised(scores: npt.NDArray[np.float64], groups: Sequence[str]) -> npt.NDArray[np.float64]:
    """Scores less their group's mean, over its standard deviation (n − 1) plus 1e-4; 0 where a group is all equal.

    A hypothesis to which one of the parts does not apply leaves the group of all parts.

    Args:
        scores: Shape [part, hypothesis], NaN where a part does not apply.
        groups: For each hypothesis the name of its group, members next to each other.

    Returns:
        Shape [part, hypothesis].
    """
    result = np.full_like(scores, np.nan)
    for _, members in groupby(range(len(groups)), key=groups.__getitem__):
        rows = [row for row in members if not np.isnan(scores[:, row]).any()]
        for part, own in enumerate(scores[:, rows]):
            if len(own) < 2 or own.max() == own.min():
                result[part, rows] = 0.0
            else:
                result[part, rows] = (own - own.mean()) / (own.std(ddof=1) + _FLOOR)
    return result


def _attainable(parts: Sequence[Reward], together: Any, weights: Iterable[float]) -> float | None:
    """The references' own score, where every part has one and more of a part is better."""
    values = []
    for weight, part in zip(weights, parts, strict=True):
        if part.maximum is None or weight < 0:
            return None
        values.append(weight * part.maximum)
    return float(together(values))


def _weighted(weight: float, part: Reward) -> str:
    name = f"({part.display})" if isinstance(part, Sum) else part.display
    return name if weight == 1 else f"-{name}" if weight == -1 else f"{weight:g}*{name}"


def _times(one: float, other: float) -> float:
    """A product of bounds: 0 times no bound is 0."""
    return 0.0 if one == 0 or other == 0 else one * other
