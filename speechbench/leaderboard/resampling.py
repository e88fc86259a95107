"""Corpus scores of many systems on resamples of the test set: one draw for all systems, one matrix product for each.

A resample of a corpus is a count for each cluster of examples; its sufficient statistics are counts times the
clusters' statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from speechbench.aggregate import AGGREGATES, RESAMPLED
from speechbench.errors import UsageError
from speechbench.leaderboard.drawing import SEED, Array, blocks, resample_counts

Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]
Numbers = npt.NDArray[np.floating[Any]]

MOST_RESAMPLES = 1_000_000
"""Each score has as many, in memory."""
SYSTEMS_AT_ONCE = 16
_EXACT = 2**24  # whole numbers up to this are exact in single precision


@dataclass(frozen=True)
class System:
    """One model's outputs in one metric.

    Attributes:
        statistics: Shape [example, statistic].
        applies: To which examples the metric applies, shape [example].
        aggregate: Name in `AGGREGATES`.
        seed: Of the training; `None` where nothing was trained, or there is but one.
    """

    statistics: Array
    applies: Mask
    aggregate: str
    seed: int | None = None

    def on(self, applies: Mask) -> System:
        """The same, on some of the examples only."""
        return replace(self, applies=applies)


def check_resamples(resamples: int) -> None:
    """Refuses a number of resamples that is none, or that would not fit into memory.

    Raises:
        UsageError: If it is no whole number, not positive, or above a million.
    """
    if not isinstance(resamples, int) or resamples < 1:
        raise UsageError(f"resamples={resamples!r}: give a whole number of at least 1, as in resamples=10000")
    if resamples > MOST_RESAMPLES:
        raise UsageError(f"resamples={resamples}: give at most {MOST_RESAMPLES}; p of 0.00001 needs no more")


def bootstrap(
    statistics: Sequence[Array],
    aggregates: Sequence[str],
    resamples: int,
    applies: Sequence[Mask | None] | None = None,
    cluster: Places | None = None,
) -> tuple[Array, Array]:
    """Corpus scores of systems on the whole test set and on resamples of it, the same resamples for all.

    Args:
        statistics: Per system its sufficient statistics, shape [example, statistic]; row i of all is the same
            example.
        aggregates: Per system the name in `AGGREGATES`.
        resamples: B.
        applies: Per system to which examples its metric applies, shape [example]; the others count for nothing.
            `None` for all.
        cluster: As of `Corpora`.

    Returns:
        Scores, shape [system], and scores of resamples, shape [system, resample]; NaN where a metric applies
        to none of the examples drawn.

    Raises:
        UsageError: If the number of resamples is not positive.
    """
    check_resamples(resamples)
    masks = applies or [None] * len(statistics)
    every = [np.ones(len(its), np.bool_) if mask is None else mask for its, mask in zip(statistics, masks, strict=True)]
    corpora = Corpora([System(*its) for its in zip(statistics, every, aggregates, strict=True)], cluster)
    drawn = [
        corpora.resampled(resample_counts(corpora.clusters, block, rows))
        for block, rows in blocks(corpora.clusters, 0, resamples if statistics else 0)
    ]
    return corpora.scores(), np.concatenate(drawn, axis=1) if drawn else np.empty((0, resamples))


class Corpora:
    """The corpora of several systems, ready to be resampled.

    Args:
        systems: All of the same examples in the same order.
        cluster: Of each example the place of its cluster, shape [example]; `None` where each is one of its own.

    Attributes:
        clusters: How many there are.
    """

    def __init__(self, systems: Sequence[System], cluster: Places | None = None) -> None:
        examples = len(systems[0].applies) if systems else 0
        if cluster is not None and np.array_equal(cluster, np.arange(examples)):
            cluster = None
        self.clusters = examples if cluster is None else int(cluster.max(initial=-1)) + 1
        self._number = len(systems)
        kinds: dict[tuple[str, int], list[int]] = {}  # aggregate and width to the systems that share them
        for place, system in enumerate(systems):
            kinds.setdefault((system.aggregate, system.statistics.shape[1]), []).append(place)
        self._batches = []
        for (aggregate, _), places in kinds.items():
            for few in (places[start : start + SYSTEMS_AT_ONCE] for start in range(0, len(places), SYSTEMS_AT_ONCE)):
                rows = _in_rows([_summed(systems[place], cluster, self.clusters) for place in few])
                self._batches.append(_Batch(aggregate, few, rows))
        # Statistics cannot tell where a metric does not apply: an empty hypothesis with an empty reference is all zeros
        # too, and right. So the examples to which it applies are counted; each mask once.
        partial = {place: system.applies for place, system in enumerate(systems) if not system.applies.all()}
        masks = {mask.tobytes(): mask for mask in partial.values()}
        column = {key: number for number, key in enumerate(masks)}
        applicable = [_counted(mask, cluster, self.clusters) for mask in masks.values()]
        self._applicable = np.stack(applicable, axis=1) if applicable else None
        self._partial = {place: column[mask.tobytes()] for place, mask in partial.items()}
        self._nothing = [place for place, mask in partial.items() if not mask.any()]

    def scores(self) -> Array:
        """Of the whole test set, shape [system]; NaN where the metric applies to no example."""
        with np.errstate(all="ignore"):
            found = np.empty(self._number)
            for batch in self._batches:
                found[batch.places] = AGGREGATES[batch.aggregate](batch.totals())
        found[self._nothing] = np.nan
        return found

    def sizes(self) -> Places:
        """In how many clusters there is an example to which the metric applies, shape [system]."""
        found = np.full(self._number, self.clusters)
        if self._applicable is not None:
            held = np.count_nonzero(self._applicable, axis=0)
            for place, column in self._partial.items():
                found[place] = held[column]
        return found

    def digests(self) -> Array:
        """Of each system and cluster a number that only the same statistics share, shape [system, cluster]."""
        found = np.zeros((self._number, self.clusters))
        for batch in self._batches:
            parts = batch.rows.reshape(-1, len(batch.places), self.clusters)
            weights = np.random.default_rng(SEED).uniform(1, 2, len(parts))
            for weight, part in zip(weights, parts, strict=True):  # a matrix product may round the same columns apart
                found[batch.places] += np.multiply(part, weight, dtype=np.float64)
        return found

    def resampled(self, counts: Array) -> Array:
        """Of resamples.

        Args:
            counts: Shape [resample, cluster].

        Returns:
            Shape [system, resample]; NaN where a metric applies to none of the examples drawn.
        """
        found = np.empty((self._number, len(counts)))
        of_each = _in_both(counts)
        with np.errstate(all="ignore"):
            for batch in self._batches:
                found[batch.places] = RESAMPLED[batch.aggregate](batch.products(of_each))
        if self._applicable is not None:
            undrawn = counts @ self._applicable == 0
            for place, column in self._partial.items():
                found[place, undrawn[:, column]] = np.nan
        return found

    def changed_over(self, signs: Array) -> Callable[[int, int], tuple[Array, Array]]:
        """Of pairs of systems whose outputs were changed over, cluster by cluster.

        Args:
            signs: As `flips` gives them, shape [resample, cluster].

        Returns:
            From the places of two systems of the same metric and examples to the scores of both, shape [resample].
        """
        of_each = _in_both(signs)
        found = {
            place: (batch.aggregate, total, turned)
            for batch in self._batches
            for place, total, turned in zip(batch.places, batch.totals(), batch.products(of_each), strict=True)
        }

        def scores(mine: int, theirs: int) -> tuple[Array, Array]:
            (aggregate, total, turned), (_, other_total, other_turned) = found[mine], found[theirs]
            middle, away = (total + other_total) / 2, (turned - other_turned) / 2
            with np.errstate(all="ignore"):
                return RESAMPLED[aggregate](middle + away), RESAMPLED[aggregate](middle - away)

        return scores


@dataclass(frozen=True)
class _Batch:
    """Systems of one metric, so few that what is made of a block of their resamples stays in the processor's cache.

    Attributes:
        aggregate: Name in `AGGREGATES`.
        places: Of the systems.
        rows: Their statistics, shape [statistic × system, cluster].
    """

    aggregate: str
    places: Sequence[int]
    rows: Numbers

    def totals(self) -> Array:
        """Sums over all clusters, shape [system, statistic]."""
        totals: Array = self.rows.sum(axis=1, dtype=np.float64)
        return totals.reshape(-1, len(self.places)).T

    def products(self, counts: Mapping[object, Numbers]) -> Array:
        """Sums over resamples, shape [system, resample, statistic], from counts as of `_in_both`."""
        sums: Array = (self.rows @ counts[self.rows.dtype].T).astype(np.float64, copy=False)
        return np.moveaxis(sums.reshape(-1, len(self.places), sums.shape[1]), 0, -1)


def _in_rows(statistics: Sequence[Array]) -> Numbers:
    """Statistics of systems as the rows of one matrix, shape [statistic × system, cluster].

    Where all are whole numbers (of n-grams, of characters, of errors) and no resample can sum to 2^24, single precision
    holds every sum exactly, in half the time.
    """
    clusters, width = statistics[0].shape
    rows = np.empty((width, len(statistics), clusters))
    for place, its in enumerate(statistics):
        rows[:, place] = its.T
    with np.errstate(over="ignore"):
        single = rows.astype(np.float32)
    is_exact = np.abs(single).max(initial=0.0) * clusters < _EXACT
    is_exact = is_exact and np.array_equal(single, rows) and np.array_equal(single, np.rint(single))
    return (single if is_exact else rows).reshape(-1, clusters)


def _in_both(counts: Array) -> Mapping[object, Numbers]:
    """Counts in single and in double precision."""
    return {np.dtype(kind): counts.astype(kind, copy=False) for kind in (np.float32, np.float64)}


def _summed(system: System, cluster: Places | None, clusters: int) -> Array:
    """A system's statistics by cluster, those of examples to which the metric does not apply left out."""
    its = system.statistics if system.applies.all() else np.where(system.applies[:, None], system.statistics, 0.0)
    if cluster is None:
        return its
    return np.stack([np.bincount(cluster, weights=column, minlength=clusters) for column in its.T], axis=1)


def _counted(mask: Mask, cluster: Places | None, clusters: int) -> Array:
    ones = mask.astype(np.float64)
    return ones if cluster is None else np.bincount(cluster, weights=ones, minlength=clusters).astype(np.float64)
