"""Counting, for pairs of rows, the resamples that stray as far as their difference."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, product
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from speechbench.leaderboard.drawing import Array, blocks, flips, resample_counts, seed_shares
from speechbench.leaderboard.resampling import Corpora, Places
from speechbench.leaderboard.statistics import TIE, exceed
from speechbench.leaderboard.views import Tests, View

_WORKERS = min(os.cpu_count() or 1, 8)  # blocks at work at once: each takes up to 64 MB
_CELLS = 250_000  # of differences at once: 2 MB, which stay in the processor's cache
T = TypeVar("T")
Tick = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much."""


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
