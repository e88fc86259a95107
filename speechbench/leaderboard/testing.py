"""Tests of pairs of rows: all on one draw of examples, in families fixed beforehand, resampled until they are settled.

Examples and seeds are crossed: each seed's model answered each example. A difference between rows of several seeds
counts only if it holds over the examples and over the seeds: its p is the larger of both, an intersection-union test
(Berger, 1982, "Multiparameter hypothesis testing and acceptance sampling"). Over seeds it is that of a t test; over the
examples that of a bootstrap or of randomisation, where the bootstrap draws seeds too from five on (Owen, 2007, "The
pigeonhole bootstrap").
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from speechbench.errors import UsageError, did_you_mean
from speechbench.leaderboard.counting import Counting, Tick
from speechbench.leaderboard.drawing import Array
from speechbench.leaderboard.resampling import Corpora, Mask, Places, System, check_resamples
from speechbench.leaderboard.seeds import SeedTest, seed_test
from speechbench.leaderboard.statistics import ALPHA, holm, p_bounds
from speechbench.leaderboard.views import Tests, View

START = 2_000
"""Resamples of every score and test; where nothing else is asked for, tests that these do not settle get more."""
MOST = 100_000
"""Resamples that no test gets more than unless asked for: 20·m/α of up to 250 tests."""
ENOUGH = 20
"""A family of m tests is settled by at most 20·m/α resamples: the strictest step of Holm's correction then asks whether
19 of them or fewer stray as far as the difference, and not whether one does."""
TESTS = ("bootstrap", "randomisation")
_GROWTH = 4

Key = TypeVar("Key", bound=Hashable)
Place = TypeVar("Place", bound=Hashable)


@dataclass(frozen=True)
class Pair(Generic[Place]):
    """Two rows to be tested against each other in one metric.

    Attributes:
        mine: Where the row is found.
        theirs: Where the other row is.
        family: Name of the family that the test belongs to.
    """

    mine: Place
    theirs: Place
    family: str = ""


@dataclass(frozen=True)
class Measured:
    """A row's scores in one metric.

    Attributes:
        by_seed: Of each finished run, by its seed.
        score: Their mean.
        draws: Their mean on each resample of the examples, shape [resample].
        clusters: Of the examples to which the metric applies.
    """

    by_seed: Mapping[int | None, float]
    score: float
    draws: Array
    clusters: int


@dataclass(frozen=True)
class Tested:
    """What a test found.

    Attributes:
        difference: The first row's score less the other's, on the examples to which the metric applies for both.
        means: Both rows' scores on each of the first resamples of the examples, shape [resample].
        by_seed: Both rows' scores by seed.
        examples: How many both have a score for.
        clusters: Of these.
        p: Two-sided; the largest of those that apply.
        p_holm: Corrected over the family.
        resamples: Behind p.
        both: As `means`, on resamples of examples and seeds; `None` below five seeds.
    """

    difference: float
    means: tuple[Array, Array]
    by_seed: tuple[Mapping[int | None, float], Mapping[int | None, float]]
    examples: int
    clusters: int
    p: float
    p_holm: float
    resamples: int
    both: tuple[Array, Array] | None

    @property
    def draws(self) -> Array:
        """The difference on each of the first resamples of the examples."""
        return self.means[0] - self.means[1]

    @property
    def seeds(self) -> SeedTest | None:
        """The test over seeds; `None` where neither row has two."""
        return seed_test(*self.by_seed)

    @property
    def pigeonhole(self) -> Array | None:
        """The difference on each of the first resamples of examples and seeds; `None` below five seeds."""
        return None if self.both is None else self.both[0] - self.both[1]


class Found(Mapping[Key, Tested]):
    """What all tests found, by the keys of their pairs.

    Boards have ten thousands of pairs, of which they ask no more than who is better: `signs`. The rest is put together
    when it is asked for.

    Args:
        keys: Of the tests, in their order.
        tests: All.
        p: Of each, shape [test].
        p_holm: Corrected.
        views: That they are of.
        examples: How many both rows of each pair have a score for.
        means: Of each view on the first resamples, shape [view, resample].
        both: The same over resampled seeds.
    """

    def __init__(
        self,
        keys: Iterable[Key],
        tests: Tests,
        p: Array,
        p_holm: Array,
        views: Sequence[View],
        examples: Sequence[int],
        means: Array,
        both: Array,
    ) -> None:
        self._places = {key: place for place, key in enumerate(keys)}
        self._tests, self._views, self._examples, self._means, self._both = tests, views, examples, means, both
        self._p, self._p_holm = p, p_holm

    def __getitem__(self, key: Key) -> Tested:
        place, tests = self._places[key], self._tests
        mine, theirs = int(tests.mine[place]), int(tests.theirs[place])
        return Tested(
            difference=float(tests.difference[place]),
            means=(self._means[mine], self._means[theirs]),
            by_seed=(self._views[mine].by_seed, self._views[theirs].by_seed),
            examples=self._examples[place],
            clusters=int(tests.clusters[place]),
            p=float(self._p[place]),
            p_holm=float(self._p_holm[place]),
            resamples=int(tests.resamples[place]),
            both=(self._both[mine], self._both[theirs]) if tests.is_pigeonholed[place] else None,
        )

    def __iter__(self) -> Iterator[Key]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def signs(self) -> dict[Key, int]:
        """1 where the first row of a pair scores significantly higher after correction, -1 where lower, else 0."""
        signs = np.where(self._p_holm < ALPHA, np.sign(self._tests.difference), 0.0).astype(int)
        return dict(zip(self._places, signs.tolist(), strict=True))


def check_test(test: str) -> None:
    """Refuses a test that is none.

    Raises:
        UsageError: With the nearest name.
    """
    if test not in TESTS:
        raise UsageError(f"test={test!r} is none of {', '.join(TESTS)}: {did_you_mean(test, TESTS)}")


def measured_and_tested(
    rows: Mapping[Place, Sequence[System]],
    pairs: Mapping[Key, Pair[Place]],
    families: Mapping[str, int],
    resamples: int | None = None,
    cluster: Places | None = None,
    test: str = "bootstrap",
    tick: Tick | None = None,
) -> tuple[dict[Place, Measured], Found[Key]]:
    """Scores of all rows, and tests of all pairs, on one draw of examples that all share.

    A pair is tested on the examples to which the metric applies for both, whatever the seed: whoever leaves out
    what is hard gains nothing.

    Args:
        rows: The systems of each, one for each seed; all of the same examples in the same order.
        pairs: What is tested.
        families: By name how many tests were planned, at least those of `pairs`: Holm's correction is over all.
        resamples: B; `None` for 2,000, and for tests whose verdict these leave open so many more that it is settled,
            but no more than 20·m/α.
        cluster: Of each example the place of its cluster: clusters are resampled. `None` for single examples.
        test: "bootstrap" or "randomisation" (Riezler & Maxwell, 2005): what gives p over the examples.
        tick: Told of resamples done and to be done.

    Returns:
        By place, without the rows of which a system has no score; and by the pairs' keys, without those that
        have no example in common.

    Raises:
        UsageError: If the number of resamples is not positive, or there is no such test.
    """
    check_resamples(START if resamples is None else resamples)
    check_test(test)
    places, views, found = _views(rows, pairs)
    corpora = Corpora([system for view in views for system in view.systems], cluster)
    scores, sizes, digests, start = corpora.scores(), corpora.sizes(), corpora.digests(), 0
    for view in views:
        here = slice(start, start := start + len(view.systems))
        view.measured(scores[here], sizes[here], digests[here])
    unknown = {place for place, view in enumerate(views) if math.isnan(view.score)}
    known = {key: its for key, its in found.items() if unknown.isdisjoint(its[:2])} if unknown else found
    tests = Tests([its[:2] for its in known.values()], views, test == "bootstrap")
    members: dict[str, list[int]] = {}
    for place, key in enumerate(known):
        members.setdefault(pairs[key].family, []).append(place)
    counting = Counting(views, cluster, test, tick)
    means, both = counting.all_of(corpora, tests, START if resamples is None else resamples)
    goals = np.empty(len(known))
    for family, its in members.items():
        goals[its] = min(MOST, math.ceil(ENOUGH * families[family] / ALPHA))
    while resamples is None and len(left := _unsettled(tests, members, families, goals)):
        done = tests.resamples[left].min()
        batch = left[tests.resamples[left] == done]
        counting.more_of(tests, batch, int(done), int(min(_GROWTH * done, goals[batch].max())))
    measured = {
        place: Measured(view.by_seed, view.score, means[index], view.clusters)
        for index, (place, view) in enumerate(zip(places, views, strict=True))
        if place is not None and not math.isnan(view.score)
    }
    p_holm = _corrected(p := tests.p, members, families)
    return measured, Found(known, tests, p, p_holm, views, [its[2] for its in known.values()], means, both)


def _views(
    rows: Mapping[Place, Sequence[System]], pairs: Mapping[Key, Pair[Place]]
) -> tuple[list[Place | None], list[View], dict[Key, tuple[int, int, int]]]:
    """Each row as it is, then as it is compared where the metric does not apply to the same examples for both.

    Returns:
        Whose the views are, `None` for those of comparisons alone; the views; and of each pair the places of its two
        views, and how many examples they have.
    """
    places: list[Place | None] = list(rows)
    views = [View(systems) for systems in rows.values()]
    known = {(place, b""): index for index, place in enumerate(rows)}
    masks = {place: np.logical_and.reduce([system.applies for system in its]) for place, its in rows.items()}
    sizes = {place: int(mask.sum()) for place, mask in masks.items()}
    uniform = {place: all(np.array_equal(s.applies, masks[place]) for s in its) for place, its in rows.items()}

    def view(place: Place, common: Mask) -> int:
        if uniform[place] and np.array_equal(masks[place], common):
            return known[place, b""]
        key = place, common.tobytes()
        if key not in known:
            known[key] = len(views)
            places.append(None)
            views.append(View([system.on(common) for system in rows[place]]))
        return known[key]

    everywhere = {place: known[place, b""] for place, size in sizes.items() if size == len(masks[place])}
    found = {}
    for key, pair in pairs.items():
        mine, theirs = pair.mine, pair.theirs
        if mine in everywhere and theirs in everywhere:
            found[key] = everywhere[mine], everywhere[theirs], sizes[mine]
        elif mine in rows and theirs in rows:
            common = masks[mine] & masks[theirs]
            found[key] = view(mine, common), view(theirs, common), int(common.sum())
    return places, views, found


def _corrected(values: Array, members: Mapping[str, Sequence[int]], families: Mapping[str, int]) -> Array:
    """Holm's correction within each family, whose members' places are given."""
    corrected = np.empty_like(values)
    for family, places in members.items():
        corrected[places] = holm(values[places].tolist(), families[family])
    return corrected


def _unsettled(tests: Tests, members: Mapping[str, Sequence[int]], families: Mapping[str, int], goals: Array) -> Places:
    """Places of the tests whose verdict more resamples could change, and that are not given all yet."""
    if not members:
        return np.empty(0, np.intp)
    low, high = map(tests.careful, p_bounds(tests.exceeding, tests.resamples))
    is_open = (_corrected(low, members, families) < ALPHA) != (_corrected(high, members, families) < ALPHA)
    return np.nonzero(is_open & (tests.resamples < goals))[0]
