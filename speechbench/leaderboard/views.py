"""What is tested: rows on the examples that they share with others, and the tests of pairs of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from speechbench.leaderboard.drawing import Array
from speechbench.leaderboard.resampling import Places, System
from speechbench.leaderboard.seeds import paired_seeds_p, seed_test
from speechbench.leaderboard.statistics import TIE, fewest_p, of_few

PIGEONHOLE = 5
"""Seeds from which on they are resampled too."""
_ENDLESS = 50
"""Clusters that differ from which on nobody asks how many there are: 2^-49 is less than any p."""
_AT_ONCE = 64


class View:
    """A row on the examples to which the metric applies for it and for whom it is compared with.

    Args:
        systems: One for each seed, or several passes of each.

    Attributes:
        systems: These.
        seeds: Seed to the places of its systems.
        by_seed: Scores on the whole test set, once they are measured.
        score: Their mean; NaN where a system has none.
        clusters: In how many clusters there is an example to which the metric applies.
        digest: Of each cluster a number that only the same outputs share, shape [cluster].
    """

    def __init__(self, systems: Sequence[System]) -> None:
        self.systems = list(systems)
        self.seeds: dict[int | None, list[int]] = {}
        for place, system in enumerate(self.systems):
            self.seeds.setdefault(system.seed, []).append(place)
        self.by_seed: dict[int | None, float] = {}
        self.score = math.nan
        self.clusters, self.digest = 0, np.empty(0)

    def measured(self, scores: Array, clusters: Places, digests: Array) -> None:
        """Takes what is known of its systems on the whole test set: scores and clusters [system], digests."""
        known = scores.tolist()
        self.clusters, self.digest = int(clusters.min()), digests.mean(axis=0)
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
        clusters: How many are resampled.
        least: What p cannot fall below, however many resamples there are: the p of the t test over seeds, and what so
            many clusters can show on which the outputs differ.
        is_pigeonholed: Whether seeds are resampled too: both views have five, or one has and the other was not trained.
        resamples: So far.
        exceeding: Resamples that stray as far as the difference.
    """

    def __init__(self, pairs: Sequence[tuple[int, int]], views: Sequence[View], is_bootstrap: bool) -> None:
        self.mine, self.theirs = np.array(pairs, np.intp).reshape(-1, 2).T
        scores = _values(views, lambda view: view.score)
        self.difference = scores[self.mine] - scores[self.theirs]
        self.is_bootstrap = is_bootstrap
        self.clusters = _values(views, lambda view: view.clusters)[self.mine]
        self.least = np.maximum(_over_seeds_p(self.mine, self.theirs, views), _fewest(self.mine, self.theirs, views))
        drawn = _values(views, lambda view: is_bootstrap and view.is_drawn) > 0
        drawable = drawn | (_values(views, lambda view: view.seeds.keys() == {None}) > 0)
        self.is_pigeonholed = (drawn[self.mine] & drawable[self.theirs]) | (drawable[self.mine] & drawn[self.theirs])
        self.resamples, self.exceeding = (np.zeros(len(pairs)) for _ in range(2))

    @property
    def p(self) -> Array:
        """Two-sided."""
        return self.careful((1 + self.exceeding) / (self.resamples + 1))

    def careful(self, p: Array) -> Array:
        """From p of the resamples to p: no smaller than few clusters, and seeds, allow."""
        return np.maximum(of_few(p, self.clusters) if self.is_bootstrap and len(p) else p, self.least)


def _values(views: Sequence[View], of: Callable[[View], float]) -> Array:
    return np.array([of(view) for view in views], np.float64)


def _fewest(mine: Places, theirs: Places, views: Sequence[View]) -> Array:
    """The smallest p of each pair, by how many clusters its outputs differ on."""
    if not len(mine):
        return np.empty(0)
    digests = np.stack([view.digest for view in views], axis=1)
    differ, left = np.zeros(len(mine)), np.arange(len(mine))
    for first in range(0, len(digests), _AT_ONCE):
        some = digests[first : first + _AT_ONCE]
        apart = np.abs(some[:, mine[left]] - some[:, theirs[left]]) > TIE
        differ[left] += np.count_nonzero(apart, axis=0)
        left = left[differ[left] < _ENDLESS]  # no resampling comes near the p of more
    return fewest_p(differ)


def _over_seeds_p(mine: Places, theirs: Places, views: Sequence[View]) -> Array:
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
