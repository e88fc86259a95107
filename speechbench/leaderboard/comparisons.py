"""Scores of all rows on one draw of test examples, and all tests of the board as one family."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from speechbench.errors import SpeechbenchError
from speechbench.leaderboard.baselines import BASELINES, counterpart
from speechbench.leaderboard.statistics import Array, bootstrap, holm, interval, paired_p
from speechbench.leaderboard.store import Group
from speechbench.runs import Run

ALPHA = 0.05

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Comparison:
    """A row's score against another row's on the same examples.

    Attributes:
        against: Label of the other row.
        difference: Score less the other row's, on the field's scale.
        interval: 95% paired bootstrap interval of the difference over examples.
        p: Two-sided, of the paired bootstrap.
        p_holm: Corrected over the family of tests.
        lower_is_better: Whether the metric counts errors.
    """

    against: str
    difference: float
    interval: tuple[float, float]
    p: float
    p_holm: float
    lower_is_better: bool = False

    @property
    def verdict(self) -> int:
        """1 where significantly better after correction, -1 where worse, 0 where neither."""
        if self.p_holm >= ALPHA:
            return 0
        return int(np.sign(-self.difference if self.lower_is_better else self.difference))


@dataclass(frozen=True)
class Measured:
    """A row's scores in one metric.

    Attributes:
        by_seed: Of each finished run.
        score: Their mean.
        draws: Their mean on each resample of the examples, shape [resample].
    """

    by_seed: tuple[float, ...]
    score: float
    draws: Array


@dataclass(frozen=True)
class Pair:
    """Two scores to be tested against each other.

    Attributes:
        against: Label of the other row.
        mine: The row's scores.
        theirs: The other row's.
        lower_is_better: Whether the metric counts errors.
    """

    against: str
    mine: Measured
    theirs: Measured
    lower_is_better: bool


@dataclass(frozen=True)
class Comparisons:
    """All that is computed for a board.

    Attributes:
        examples: Size of the test set; 0 while no run is finished.
        measured: By place of the row in the group, and metric; without what is unfinished or does not apply.
        tests: By place of the row, metric, and one of `BASELINES`.
        family: How many tests are planned, those of unfinished runs included.
    """

    examples: int
    measured: Mapping[tuple[int, str], Measured]
    tests: Mapping[tuple[int, str, str], Comparison]
    family: int


def compare(group: Group, resamples: int) -> Comparisons:
    """Measures and tests every row of a group.

    The family is fixed before any result is seen: every metric, times every row that is tested against base,
    every row that is tested against SFT, and every row that is tested against its control. Tests of unfinished
    runs count as p = 1, so that no correction grows weaker by looking early.

    Raises:
        SpeechbenchError: If samples cannot be read, or runs were not tested on the same examples.
    """
    ids = _shared_ids(group)
    measured = _measure(group, ids, resamples)
    planned = [
        (place, metric, baseline, other)
        for place, row in enumerate(group.rows)
        for baseline in BASELINES
        if (other := counterpart(row, group.rows, baseline)) is not None
        for metric in group.metrics
    ]
    pairs = {}
    for place, metric, baseline, other in planned:
        mine, theirs = measured.get((place, metric.name)), measured.get((other, metric.name))
        if mine is not None and theirs is not None:
            pair = Pair(group.rows[other].label, mine, theirs, metric.lower_is_better)
            pairs[place, metric.name, baseline] = pair
    return Comparisons(len(ids), measured, tested(pairs, len(planned)), len(planned))


def tested(pairs: Mapping[Key, Pair], family: int) -> dict[Key, Comparison]:
    """The paired bootstrap of all pairs.

    Args:
        pairs: Whose resamples are of the same examples.
        family: How many tests were planned, at least these: Holm's correction is over all.
    """
    raw = []
    for pair in pairs.values():
        difference, draws = pair.mine.score - pair.theirs.score, pair.mine.draws - pair.theirs.draws
        raw.append((difference, interval(draws), paired_p(difference, draws)))
    corrected = holm([p for *_, p in raw], family)
    return {
        key: Comparison(pair.against, *figures, p_holm, pair.lower_is_better)
        for (key, pair), figures, p_holm in zip(pairs.items(), raw, corrected, strict=True)
    }


def _shared_ids(group: Group) -> tuple[str, ...]:
    """The ids of the test examples, sorted: the one order in which all runs are resampled."""
    finished = [run for row in group.rows for run in row.finished]
    if not finished:
        return ()
    first = set(finished[0].samples.ids)
    for run in finished[1:]:
        others = first.symmetric_difference(run.samples.ids)
        if others:
            raise SpeechbenchError(
                f"{finished[0].folder} and {run.folder} were not tested on the same examples ({min(others)!r} is in "
                "one only), so they do not compare: move one of them into another folder"
            )
    return tuple(sorted(first))


def _measure(group: Group, ids: Sequence[str], resamples: int) -> dict[tuple[int, str], Measured]:
    """Scores of all finished runs on one draw of examples, averaged over the seeds of each row."""
    orders = {run.folder: _order(run, ids) for row in group.rows for run in row.finished}
    systems: dict[tuple[int, str], list[int]] = {}
    statistics: list[Array] = []
    aggregates: list[str] = []
    for place, row in enumerate(group.rows):
        for metric in group.metrics:
            if all(metric in run.info.metrics for run in row.finished):
                for run in row.finished:
                    systems.setdefault((place, metric.name), []).append(len(statistics))
                    statistics.append(run.samples.statistics[metric.name][orders[run.folder]])
                    aggregates.append(metric.aggregate)
    scores, draws = bootstrap(statistics, aggregates, resamples)
    return {
        key: Measured(tuple(scores[at].tolist()), float(scores[at].mean()), draws[at].mean(axis=0))
        for key, at in systems.items()
        if not np.isnan(scores[at]).any()
    }


def _order(run: Run, ids: Sequence[str]) -> list[int]:
    places = {id_: place for place, id_ in enumerate(run.samples.ids)}
    return [places[id_] for id_ in ids]
