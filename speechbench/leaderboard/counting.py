"""Counting, for pairs of rows, the resamples that stray as far as their difference."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, product
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from speechbench.leaderboard.resampling import (
    Array,
    Corpora,
    Places,
    System,
    blocks,
    flips,
    resample_counts,
    seed_shares,
)
from speechbench.leaderboard.statistics import TIE, exceed, paired_seeds_p, seed_test

PIGEONHOLE = 5
"""Seeds from which on they are resampled too."""
_WORKERS = min(os.cpu_count() or 1, 8)  # blocks at work at once: each takes up to 64 MB
_CELLS = 250_000  # differences at once: 2 MB, which stay in the processor's cache

T = TypeVar("T")
Tick = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much."""


class View:
    """A row on the examples to which the metric applies for it and for whom it is compared with.

    Args:
        systems: One for each seed, or several passes of each.

    Attributes:
        systems: These.
        seeds: Seed to the places of its systems.
        by_seed: Scores on the whole test set, once they are measured.
        score: Their mean; NaN where a system has none.
    """

    def __init__(self, systems: Sequence[System]) -> None:
        self.systems = list(systems)
        self.seeds: dict[int | None, list[int]] = {}
        for place, system in enumerate(self.systems):
            self.seeds.setdefault(system.seed, []).append(place)
        self.by_seed: dict[int | None, float] = {}
        self.score = math.nan

    def measured(self, scores: Array) -> None:
        """Takes the scores of its systems on the whole test set."""
        known = scores.tolist()
        self.by_seed = {seed: _mean([known[place] for place in places]) for seed, places in self.seeds.items()}
        self.score = _mean(list(self.by_seed.values()))

    @property
    def known_seeds(self) -> tuple[int, ...]:
        """The seeds of training."""
        return tuple(seed for seed in self.seeds if seed is not None)

    @property
    def is_drawn(self) -> bool:
        """Whether its seeds are many enough to be resampled."""
        return len(self.known_seeds) >= PIGEONHOLE


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


class Tests:
    """Tests at work, as arrays with a place for each.

    Args:
        pairs: Places of the two views of each test.
        views: All views.
        is_bootstrap: Otherwise outputs are changed over, and seeds are left to the t test.

    Attributes:
        mine: Place of the first view.
        theirs: Place of the second.
        difference: Of their scores.
        least: What p cannot fall below, however many resamples there are: the p of the t test over seeds.
        is_pigeonholed: Whether seeds are resampled too: both views have five, or one has and the other a single run.
        resamples: So far.
        exceeding: Resamples that stray as far as the difference.
    """

    def __init__(self, pairs: Sequence[tuple[int, int]], views: Sequence[View], is_bootstrap: bool) -> None:
        self.mine, self.theirs = np.array(pairs, np.intp).reshape(-1, 2).T
        scores = _values(views, lambda view: view.score)
        self.difference = scores[self.mine] - scores[self.theirs]
        self.least = _least(self.mine, self.theirs, views)
        drawn = _values(views, lambda view: is_bootstrap and len(view.known_seeds) >= PIGEONHOLE) > 0
        drawable = drawn | (_values(views, lambda view: len(view.seeds)) == 1)
        self.is_pigeonholed = (drawn[self.mine] & drawable[self.theirs]) | (drawable[self.mine] & drawn[self.theirs])
        self.resamples, self.exceeding = (np.zeros(len(pairs)) for _ in range(2))

    @property
    def p(self) -> Array:
        """Two-sided; the larger of that of the resamples and that of the seeds."""
        return np.maximum((1 + self.exceeding) / (self.resamples + 1), self.least)


def _values(views: Sequence[View], of: Callable[[View], float]) -> Array:
    return np.array([of(view) for view in views], np.float64)


def _least(mine: Places, theirs: Places, views: Sequence[View]) -> Array:
    """p over seeds of each pair, 0 where there is none: of views with the same seeds all at once."""
    found = np.zeros(len(mine))
    kinds = {tuple(view.seeds): None for view in views}
    number = {seeds: place for place, seeds in enumerate(kinds)}
    kind = np.array([number[tuple(view.seeds)] for view in views], np.intp)
    for seeds, place in number.items():
        alike = np.nonzero((kind[mine] == place) & (kind[theirs] == place))[0]
        if len(seeds) > 1 and len(alike):
            scores = np.array(
                [
                    list(v.by_seed.values()) if k == place else [0.0] * len(seeds)
                    for v, k in zip(views, kind, strict=True)
                ]
            )
            found[alike] = paired_seeds_p(scores[mine[alike]] - scores[theirs[alike]])
    for place in np.nonzero(kind[mine] != kind[theirs])[0].tolist():
        test = seed_test(views[mine[place]].by_seed, views[theirs[place]].by_seed)
        found[place] = 0.0 if test is None else test.p
    return found


class Counting:
    """Resamples the rows that tests are of, and counts for each test.

    Args:
        views: All rows that the tests' places are of.
        cluster: As of `Corpora`.
        test: "bootstrap" or "randomisation".
        tick: Told of resamples.
    """

    def __init__(self, views: Sequence[View], cluster: Places | None, test: str, tick: Tick | None) -> None:
        self.views, self.cluster, self.is_bootstrap, self.tick = views, cluster, test == "bootstrap", tick

    def all_of(self, corpora: Corpora, tests: Tests, stop: int) -> tuple[Array, Array]:
        """The first resamples, of all views, whether they are tested or not.

        Args:
            corpora: Of all systems of all views.
            tests: All.
            stop: How many resamples.

        Returns:
            Of each view the mean over seeds on each resample, and over resampled seeds, shape [view, resample]; the
            same array where no seeds are resampled.
        """
        every, at = np.arange(len(tests.mine)), np.arange(len(self.views))
        is_both = bool(tests.is_pigeonholed.any())

        def work(block: int, rows: slice) -> tuple[Array, Array, Array]:
            drawn = _drawn(self.views, corpora, is_both, block, rows)
            if self.is_bootstrap:
                return *drawn, _straying(tests, every, *drawn, at)
            return *drawn, _flipped(tests, every, self.views, at, corpora, flips(corpora.clusters, block, rows))

        means = np.empty((len(self.views), stop))
        both = np.empty_like(means) if is_both else means
        done = 0
        for their_means, their_both, strays in _at_work(work, corpora.clusters, 0, stop if self.views else 0):
            some = slice(done, done := done + their_means.shape[1])
            means[:, some], both[:, some] = their_means, their_both
            self._add(tests, every, strays, their_means.shape[1], stop)
        return means, both

    def more_of(self, tests: Tests, some: Places, start: int, stop: int) -> None:
        """Further resamples, of what some tests are of.

        Args:
            tests: All.
            some: Places of those that get more; they have had `start` resamples.
            start: So many.
            stop: How many they have then.
        """
        used = np.unique(np.concatenate([tests.mine[some], tests.theirs[some]]))
        views = [self.views[view] for view in used.tolist()]
        at = np.zeros(len(self.views), np.intp)
        at[used] = np.arange(len(used))
        corpora = Corpora([system for view in views for system in view.systems], self.cluster)
        is_both = bool(tests.is_pigeonholed[some].any())

        def work(block: int, rows: slice) -> tuple[int, Array]:
            many = rows.stop - rows.start
            if self.is_bootstrap:
                return many, _straying(tests, some, *_drawn(views, corpora, is_both, block, rows), at)
            return many, _flipped(tests, some, views, at, corpora, flips(corpora.clusters, block, rows))

        for many, strays in _at_work(work, corpora.clusters, start, stop):
            self._add(tests, some, strays, many, stop)

    def _add(self, tests: Tests, some: Places, strays: Array, resamples: int, goal: int) -> None:
        tests.exceeding[some] += strays
        tests.resamples[some] += resamples
        if self.tick is not None and len(some):
            self.tick("resampling", int(tests.resamples[some[0]]), goal)


def _at_work(work: Callable[[int, slice], T], clusters: int, start: int, stop: int) -> Iterator[T]:
    """What comes of blocks of resamples, in their order; several are at work at a time, on one thread each.

    numpy leaves other threads to their work. Its products would take threads of their own, which get into each other's
    way.
    """
    left = blocks(clusters, start, stop)
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(_WORKERS) as pool:
        begun = deque(pool.submit(work, *its) for its in islice(left, _WORKERS))
        while begun:
            yield begun.popleft().result()
            begun.extend(pool.submit(work, *its) for its in islice(left, 1))


def _drawn(views: Sequence[View], corpora: Corpora, is_both: bool, block: int, rows: slice) -> tuple[Array, Array]:
    """Means over seeds on a block's resamples, and means over resampled seeds: the same where these are not wanted."""
    drawn = corpora.resampled(resample_counts(corpora.clusters, block, rows))
    means = _over_seeds(views, drawn)
    return means, _over_drawn_seeds(views, drawn, means, block, rows) if is_both else means


def _over_seeds(views: Sequence[View], drawn: Array) -> Array:
    """From shape [system, resample] to [view, resample]: means over seeds."""
    sizes = np.array([len(view.systems) for view in views])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    found: Array = np.add.reduceat(drawn, starts, axis=0) / sizes[:, None]
    return found


def _over_drawn_seeds(views: Sequence[View], drawn: Array, means: Array, block: int, rows: slice) -> Array:
    """The same over seeds that are resampled, of views with enough of them; the means of the others."""
    found, start = means.copy(), 0
    shares: dict[tuple[int, ...], Array] = {}
    for index, view in enumerate(views):
        its = drawn[start : start + len(view.systems)]
        start += len(view.systems)
        if view.is_drawn:
            seeds = view.known_seeds
            if seeds not in shares:
                shares[seeds] = np.ascontiguousarray(seed_shares(seeds, block, rows).T)
            passes = len(view.systems) // len(seeds)
            by_seed = its if passes == 1 else np.stack([its[places].mean(axis=0) for places in view.seeds.values()])
            found[index] = np.einsum("sb,sb->b", by_seed, shares[seeds])
    return found


def _straying(tests: Tests, some: Places, means: Array, both: Array, at: Places) -> Array:
    """How many resamples stray as far as the difference, for some tests whose views' places in the draws are given."""
    found = np.empty(len(some))
    at_once = max(1, _CELLS // max(means.shape[1], 1))
    for is_both, draws in ((False, means), (True, both)):
        its = np.nonzero(tests.is_pigeonholed[some] == is_both)[0]
        for first in range(0, len(its), at_once):
            few = some[its[first : first + at_once]]
            differences = draws[at[tests.mine[few]]]
            differences -= draws[at[tests.theirs[few]]]
            found[its[first : first + at_once]] = exceed(tests.difference[few], differences)
    return found


def _flipped(tests: Tests, some: Places, views: Sequence[View], at: Places, corpora: Corpora, signs: Array) -> Array:
    """Approximate randomisation: how often are two rows as far apart once outputs are changed over at random?

    Seeds of both rows go in pairs where they are the same; else each goes with each.
    """
    starts = np.cumsum([0, *(len(view.systems) for view in views)]).tolist()
    changed_over = corpora.changed_over(signs)
    found = np.empty(len(some))
    for place, test in enumerate(some.tolist()):
        mine, theirs = int(at[tests.mine[test]]), int(at[tests.theirs[test]])
        ours, others = views[mine], views[theirs]
        if ours.seeds.keys() == others.seeds.keys() and len(ours.systems) == len(others.systems):
            pairs = [(n, n) for n in range(len(ours.systems))]
        else:
            pairs = list(product(range(len(ours.systems)), range(len(others.systems))))
        both = [changed_over(starts[mine] + one, starts[theirs] + two) for one, two in pairs]
        apart = np.mean([one - two for one, two in both], axis=0)
        nearer = np.abs(apart) < abs(tests.difference[test]) - TIE
        found[place] = len(apart) - np.count_nonzero(nearer)
    return found
