"""Scores of all rows on one draw of test examples, and all tests of the board as one family."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from speechbench.errors import SpeechbenchError
from speechbench.leaderboard.baselines import BASELINES, counterpart
from speechbench.leaderboard.statistics import Array, Mask, bootstrap, holm, interval, paired_p
from speechbench.leaderboard.store import Group
from speechbench.runs import Run, Samples

ALPHA = 0.05

Key = TypeVar("Key", bound=Hashable)
Place = TypeVar("Place", bound=Hashable)


@dataclass(frozen=True)
class Comparison:
    """A row's score against another row's on the same examples: those to which the metric applies for both.

    Attributes:
        against: Label of the other row.
        difference: Score less the other row's, on the field's scale.
        interval: 95% paired bootstrap interval of the difference over examples.
        p: Two-sided, of the paired bootstrap.
        p_holm: Corrected over the family of tests.
        examples: How many both have a score for. Where one has more, the difference is not that of their scores.
        lower_is_better: Whether the metric counts errors.
    """

    against: str
    difference: float
    interval: tuple[float, float]
    p: float
    p_holm: float
    examples: int
    lower_is_better: bool = False

    @property
    def verdict(self) -> int:
        """1 where significantly better after correction, -1 where worse, 0 where neither."""
        if self.p_holm >= ALPHA:
            return 0
        return int(np.sign(-self.difference if self.lower_is_better else self.difference))


@dataclass(frozen=True)
class System:
    """One model's outputs in one metric.

    Attributes:
        statistics: Shape [example, statistic].
        applies: To which examples the metric applies, shape [example].
        aggregate: Name in `AGGREGATES`.
    """

    statistics: Array
    applies: Mask
    aggregate: str


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
class Pair(Generic[Place]):
    """Two rows to be tested against each other.

    Attributes:
        against: Label of the other row.
        mine: Where the row is found.
        theirs: Where the other row is.
        lower_is_better: Whether the metric counts errors.
    """

    against: str
    mine: Place
    theirs: Place
    lower_is_better: bool


@dataclass(frozen=True)
class Comparisons:
    """All that is computed for a board.

    Attributes:
        examples: Size of the test set; 0 while no run is finished.
        measured: By place of the row in the group, and metric; without what is unfinished or does not apply.
        tests: By place of the row, metric, and one of `BASELINES`.
        family: How many tests are planned, those of unfinished runs included.
        applies: By place of the row, and metric: to how many examples it applies, for each finished run.
    """

    examples: int
    measured: Mapping[tuple[int, str], Measured]
    tests: Mapping[tuple[int, str, str], Comparison]
    family: int
    applies: Mapping[tuple[int, str], tuple[int, ...]]


def compare(group: Group, resamples: int) -> Comparisons:
    """Measures and tests every row of a group.

    The family is fixed before any result is seen: every metric, times every row that is tested against base,
    every row that is tested against SFT, and every row that is tested against its control. Tests of unfinished
    runs count as p = 1, so that no correction grows weaker by looking early.

    Raises:
        SpeechbenchError: If samples cannot be read, or runs were not tested on the same examples.
    """
    ids = shared_ids(group)
    rows = systems_of(group, ids, lambda run: [run.samples])
    planned = planned_pairs(group, BASELINES)
    measured, tests = measured_and_tested(rows, planned, len(planned), resamples)
    applies = {key: tuple(int(system.applies.sum()) for system in systems) for key, systems in rows.items()}
    return Comparisons(len(ids), measured, tests, len(planned), applies)


def planned_pairs(group: Group, baselines: Sequence[str]) -> dict[tuple[int, str, str], Pair[tuple[int, str]]]:
    """What is to be tested, before any result is seen: by place of the row, metric, and one of `BASELINES`."""
    return {
        (place, metric.name, baseline): Pair(
            group.rows[other].label, (place, metric.name), (other, metric.name), metric.lower_is_better
        )
        for place, row in enumerate(group.rows)
        for baseline in baselines
        if (other := counterpart(row, group.rows, baseline)) is not None
        for metric in group.metrics
    }


def measured_and_tested(
    rows: Mapping[Place, Sequence[System]], pairs: Mapping[Key, Pair[Place]], family: int, resamples: int
) -> tuple[dict[Place, Measured], dict[Key, Comparison]]:
    """Scores of all rows, and the paired bootstrap of all pairs, on one draw of examples.

    A pair is tested on the examples to which the metric applies for both, whatever the seed: whoever leaves out
    what is hard gains nothing.

    Args:
        rows: The systems of each, one for each seed; all of the same examples in the same order.
        pairs: What is tested.
        family: How many tests were planned, at least these: Holm's correction is over all.
        resamples: B.

    Returns:
        By place, without the rows of which a system has no score; and by the pairs' keys, without those that
        have no example in common.
    """
    views: dict[tuple[Place, bytes], list[System]] = {(place, b""): list(its) for place, its in rows.items()}
    found: dict[Key, tuple[tuple[Place, bytes], tuple[Place, bytes], int]] = {}
    for key, pair in pairs.items():
        if pair.mine in rows and pair.theirs in rows:
            both = [*rows[pair.mine], *rows[pair.theirs]]
            common = np.logical_and.reduce([system.applies for system in both])
            mine, theirs = (_view(place, common, rows, views) for place in (pair.mine, pair.theirs))
            found[key] = mine, theirs, int(common.sum())
    measured = _measured(views, resamples)
    raw = {}
    for key, (mine, theirs, examples) in found.items():
        if mine in measured and theirs in measured:
            difference = measured[mine].score - measured[theirs].score
            draws = measured[mine].draws - measured[theirs].draws
            ends = interval(draws)
            if ends is not None:
                raw[key] = difference, ends, paired_p(difference, draws), examples
    corrected = holm([p for _, _, p, _ in raw.values()], family)
    tests = {
        key: Comparison(pairs[key].against, difference, ends, p, p_holm, examples, pairs[key].lower_is_better)
        for (key, (difference, ends, p, examples)), p_holm in zip(raw.items(), corrected, strict=True)
    }
    return {place: its for (place, view), its in measured.items() if not view}, tests


def _view(
    place: Place,
    common: Mask,
    rows: Mapping[Place, Sequence[System]],
    views: dict[tuple[Place, bytes], list[System]],
) -> tuple[Place, bytes]:
    """The key of a row on some examples only, which is made where there is none yet."""
    if all(np.array_equal(system.applies, common) for system in rows[place]):
        return place, b""
    key = place, common.tobytes()
    views[key] = [replace(system, applies=common) for system in rows[place]]
    return key


def _measured(rows: Mapping[Key, Sequence[System]], resamples: int) -> dict[Key, Measured]:
    """Scores on one draw of examples, averaged over the seeds of each row."""
    systems = [system for its in rows.values() for system in its]
    scores, draws = bootstrap(
        [system.statistics for system in systems],
        [system.aggregate for system in systems],
        resamples,
        applies=[system.applies for system in systems],
    )
    found, end = {}, 0
    for key, its in rows.items():
        start, end = end, end + len(its)
        if not np.isnan(scores[start:end]).any():
            own = scores[start:end]
            found[key] = Measured(tuple(own.tolist()), float(own.mean()), draws[start:end].mean(axis=0))
    return found


def shared_ids(group: Group) -> tuple[str, ...]:
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


def systems_of(
    group: Group, ids: Sequence[str], answers: Callable[[Run], Sequence[Samples]]
) -> dict[tuple[int, str], list[System]]:
    """All finished runs in all metrics, by place of the row and metric.

    Args:
        group: The runs.
        ids: The order of the examples.
        answers: What a run answered: a system for each. A row of which a run has none is left out.
    """
    systems: dict[tuple[int, str], list[System]] = {}
    for place, row in enumerate(group.rows):
        its = [answers(run) for run in row.finished]
        if not all(its):
            continue
        ordered = [(samples, _order(samples, ids)) for of_run in its for samples in of_run]
        for metric in group.metrics:
            if ordered and all(metric in run.info.metrics for run in row.finished):
                systems[place, metric.name] = [
                    System(
                        samples.statistics[metric.name][order],
                        ~np.isnan(samples.scores[metric.name][order]),
                        metric.aggregate,
                    )
                    for samples, order in ordered
                ]
    return systems


def _order(samples: Samples, ids: Sequence[str]) -> list[int]:
    places = {id_: place for place, id_ in enumerate(samples.ids)}
    return [places[id_] for id_ in ids]
