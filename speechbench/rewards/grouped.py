"""Scorers that compare hypotheses with what the references come to, which is worked out once per group."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from speechbench.benchmarks.base import Example
from speechbench.rewards.base import Batch, Reward

Prepared = TypeVar("Prepared")
Row = tuple[float, ...]


class Grouped(Reward, Generic[Prepared]):
    """A scorer that makes one row of numbers of a hypothesis and an example's references.

    References are prepared once for the hypotheses of a group, which stand next to each other, and forgotten after
    it; hypotheses of a group that say the same are compared once.
    """

    family = "overlap"
    is_pure = True
    maximum: float | None = 1.0

    @abstractmethod
    def _prepared(self, example: Example) -> Prepared:
        """What the hypotheses are compared with, of an example with references."""

    @abstractmethod
    def _compared(self, hypothesis: str, prepared: Prepared) -> Row:
        """The numbers for one hypothesis."""

    def _rows(self, batch: Batch) -> list[Row | None]:
        """The numbers for each hypothesis; `None` for an example without references."""
        rows: list[Row | None] = []
        group: Example | None = None
        prepared: Prepared | None = None
        known: dict[str, Row] = {}
        for hypothesis, example in zip(batch.hypotheses, batch.examples, strict=True):
            if example is not group:
                group, known = example, {}
                prepared = self._prepared(example) if example.references else None
            if prepared is None:
                rows.append(None)
                continue
            if hypothesis not in known:
                known[hypothesis] = self._compared(hypothesis, prepared)
            rows.append(known[hypothesis])
        return rows


class Counted(Grouped[Prepared]):
    """A `Grouped` scorer whose numbers are the sufficient statistics, of which the score is a function too."""

    def score(self, batch: Batch) -> list[float | None]:
        """The score of each hypothesis on unit scale; `None` for an example without references."""
        rows = self._rows(batch)
        units = iter(self._units(self._table([row for row in rows if row is not None])).tolist())
        return [None if row is None else next(units) for row in rows]

    def statistics(self, batch: Batch) -> npt.NDArray[np.float64]:
        """Counts whose sum over segments gives the corpus score; all zero where there is no reference.

        Returns:
            Shape [segment, statistic], in the order that `aggregate` says.
        """
        nothing = (0.0,) * self._width
        return self._table([nothing if row is None else row for row in self._rows(batch)])

    @property
    @abstractmethod
    def _width(self) -> int:
        """How many statistics a segment has."""

    @abstractmethod
    def _units(self, statistics: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Each segment's score on unit scale, shape [segment]; statistics have the shape [segment, statistic]."""

    def _table(self, rows: Sequence[Row]) -> npt.NDArray[np.float64]:
        return np.array(rows, dtype=np.float64).reshape(-1, self._width)
