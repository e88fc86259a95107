"""Counting, for pairs of rows, the resamples that stray as far as their difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

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
from speechbench.leaderboard.statistics import TIE, exceed, seed_test

PIGEONHOLE = 5
"""Seeds from which on they are resampled too."""
_CELLS = 4_000_000  # differences at once: 32 MB

Tick = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much."""


class View:
    """A row on the examples to which the metric applies for it and for whom it is compared with."""

    def __init__(self, systems: Sequence[System]) -> None:
        self.systems = list(systems)
        self.seeds: dict[int | None, list[int]] = {}  # to places in `systems`: several passes share a seed
        for place, system in enumerate(self.systems):
            self.seeds.setdefault(system.seed, []).append(place)
        self.scores = np.empty(0)

    @property
    def known_seeds(self) -> tuple[int, ...]:
        return tuple(seed for seed in self.seeds if seed is not None)

    @property
    def is_drawn(self) -> bool:
        """Whether its seeds are many enough to be resampled."""
        return len(self.known_seeds) >= PIGEONHOLE

    def by_seed(self) -> dict[int | None, float]:
        return {seed: float(self.scores[places].mean()) for seed, places in self.seeds.items()}


class Test:
    """A test at work."""

    def __init__(self, mine: int, theirs: int, views: Sequence[View], examples: int) -> None:
        self.mine, self.theirs, self.examples = mine, theirs, examples
        ours, others = views[mine], views[theirs]
        self.difference = float(ours.scores.mean() - others.scores.mean())
        self.seeds = seed_test(ours.by_seed(), others.by_seed())
        drawable = all(view.is_drawn or len(view.seeds) == 1 for view in (ours, others))
        self.is_pigeonholed = drawable and (ours.is_drawn or others.is_drawn)
        self.resamples = 0
        self.exceeding = self.exceeding_both = 0.0

    @property
    def least(self) -> float:
        """What p cannot fall below, however many resamples there are."""
        return 0.0 if self.seeds is None else self.seeds.p

    @property
    def worst(self) -> float:
        return max(self.exceeding, self.exceeding_both)

    @property
    def p(self) -> float:
        return max((1 + self.worst) / (self.resamples + 1), self.least)


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

    def all_of(self, corpora: Corpora, tests: Sequence[Test], stop: int) -> tuple[Array, Array]:
        """The first resamples, of all views, whether they are tested or not.

        Args:
            corpora: Of all systems of all views.
            tests: All.
            stop: How many resamples.

        Returns:
            Of each view the mean over seeds on each resample, and over resampled seeds, shape [view, resample].
        """
        means, both = (np.empty((len(self.views), stop)) for _ in range(2))
        done = 0
        for block, rows in blocks(corpora.clusters, 0, stop if self.views else 0):
            drawn = corpora.resampled(resample_counts(corpora.clusters, block, rows))
            some = slice(done, done + drawn.shape[1])
            means[:, some], both[:, some] = self._averaged(self.views, drawn, block, rows)
            _count(tests, means[:, some], both[:, some], range(len(self.views)), self.is_bootstrap)
            if not self.is_bootstrap:
                _count_flipped(tests, self.views, range(len(self.views)), corpora, flips(corpora.clusters, block, rows))
            done = some.stop
            self._told(tests, drawn.shape[1], stop)
        return means, both

    def more_of(self, tests: Sequence[Test], start: int, stop: int) -> None:
        """Further resamples, of what some tests are of.

        Args:
            tests: All have had `start` resamples.
            start: So many.
            stop: How many they have then.
        """
        used = sorted({view for its in tests for view in (its.mine, its.theirs)})
        views = [self.views[view] for view in used]
        corpora = Corpora([system for view in views for system in view.systems], self.cluster)
        for block, rows in blocks(corpora.clusters, start, stop):
            if self.is_bootstrap or any(its.is_pigeonholed for its in tests):
                drawn = corpora.resampled(resample_counts(corpora.clusters, block, rows))
                _count(tests, *self._averaged(views, drawn, block, rows), used, self.is_bootstrap)
            if not self.is_bootstrap:
                _count_flipped(tests, views, used, corpora, flips(corpora.clusters, block, rows))
            self._told(tests, rows.stop - rows.start, stop)

    def _told(self, tests: Sequence[Test], resamples: int, goal: int) -> None:
        for its in tests:
            its.resamples += resamples
        if self.tick is not None and tests:
            self.tick("resampling", tests[0].resamples, goal)

    @staticmethod
    def _averaged(views: Sequence[View], drawn: Array, block: int, rows: slice) -> tuple[Array, Array]:
        """From shape [system, resample] to [view, resample]: means over seeds, and over resampled seeds."""
        means = np.empty((len(views), drawn.shape[1]))
        both = np.empty_like(means) if any(view.is_drawn for view in views) else means
        start = 0
        for index, view in enumerate(views):
            its = drawn[start : start + len(view.systems)]
            start += len(view.systems)
            means[index] = its.mean(axis=0)
            if view.is_drawn:
                by_seed = np.stack([its[places].mean(axis=0) for places in view.seeds.values()], axis=1)
                both[index] = (by_seed * seed_shares(view.known_seeds, block, rows)).sum(axis=1)
            else:
                both[index] = means[index]
        return means, both


def _count(tests: Sequence[Test], means: Array, both: Array, used: Sequence[int], is_bootstrap: bool) -> None:
    at = {view: place for place, view in enumerate(used)}
    for draws, of, name in (
        (means, tests if is_bootstrap else [], "exceeding"),
        (both, [its for its in tests if its.is_pigeonholed], "exceeding_both"),
    ):
        at_once = max(1, _CELLS // max(draws.shape[1], 1))
        for first in range(0, len(of), at_once):
            some = of[first : first + at_once]
            mine, theirs = [at[its.mine] for its in some], [at[its.theirs] for its in some]
            counts = exceed(np.array([its.difference for its in some]), draws[mine] - draws[theirs])
            for its, count in zip(some, counts.tolist(), strict=True):
                setattr(its, name, getattr(its, name) + count)


def _count_flipped(
    tests: Sequence[Test], views: Sequence[View], used: Sequence[int], corpora: Corpora, signs: Array
) -> None:
    """Approximate randomisation: how often are two rows as far apart once outputs are changed over at random?

    Seeds of both rows go in pairs where they are the same; else each goes with each.
    """
    at = {view: place for place, view in enumerate(used)}
    starts = np.cumsum([0, *(len(view.systems) for view in views)])
    for its in tests:
        (mine, ours), (theirs, others) = ((starts[at[v]], views[at[v]]) for v in (its.mine, its.theirs))
        if ours.seeds.keys() == others.seeds.keys() and len(ours.systems) == len(others.systems):
            pairs = [(n, n) for n in range(len(ours.systems))]
        else:
            pairs = list(product(range(len(ours.systems)), range(len(others.systems))))
        first, second = (np.array(places, np.intp) for places in zip(*pairs, strict=True))
        one, two = corpora.changed_over(signs, mine + first, theirs + second)
        apart = one.mean(axis=0) - two.mean(axis=0)
        nearer = np.abs(apart) < abs(its.difference) - TIE
        its.exceeding += float(len(apart) - np.count_nonzero(nearer))
