"""Tests of pairs of rows: all on one draw of examples, in families fixed beforehand, resampled until they are settled.

Examples and seeds are crossed: each seed's model answered each example. A difference between rows of several seeds
counts only if it holds over the examples (bootstrap or randomisation) and over the seeds (t test; from five seeds on
also the pigeonhole bootstrap, Owen, 2007, "The pigeonhole bootstrap", which draws both): its p is the largest of these,
an intersection-union test (Berger, 1982, "Multiparameter hypothesis testing and acceptance sampling").
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from speechbench.errors import UsageError, did_you_mean
from speechbench.leaderboard.counting import Counting, Test, Tick, View
from speechbench.leaderboard.resampling import Array, Corpora, Mask, Places, System, check_resamples
from speechbench.leaderboard.statistics import ALPHA, SeedTest, holm, p_bounds

START = 2_000
"""Resamples of every score and test; where nothing else is asked for, tests that these do not settle get more."""
MOST = 1_000_000
"""Resamples that no test gets more than."""
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
    """

    by_seed: Mapping[int | None, float]
    score: float
    draws: Array


@dataclass(frozen=True)
class Tested:
    """What a test found.

    Attributes:
        difference: The first row's score less the other's, on the examples to which the metric applies for both.
        draws: The same on each of the first resamples of the examples, shape [resample].
        examples: How many both have a score for.
        p: Two-sided; the largest of those that apply.
        p_holm: Corrected over the family.
        resamples: Behind p.
        seeds: The test over seeds; `None` where neither row has two.
        pigeonhole: The difference on resamples of examples and seeds, and its p; `None` below five seeds.
    """

    difference: float
    draws: Array
    examples: int
    p: float
    p_holm: float
    resamples: int
    seeds: SeedTest | None
    pigeonhole: tuple[Array, float] | None


def check_test(test: str) -> None:
    """Refuses a test that is none.

    Raises:
        UsageError: With the nearest name.
    """
    if test not in TESTS:
        raise UsageError(f"test={test!r} is none of {', '.join(TESTS)}{did_you_mean(test, TESTS)}")


def measured_and_tested(
    rows: Mapping[Place, Sequence[System]],
    pairs: Mapping[Key, Pair[Place]],
    families: Mapping[str, int],
    resamples: int | None = None,
    cluster: Places | None = None,
    test: str = "bootstrap",
    tick: Tick | None = None,
) -> tuple[dict[Place, Measured], dict[Key, Tested]]:
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
    flat = [system for view in views for system in view.systems]
    corpora = Corpora(flat, cluster)
    scores, start = corpora.scores(), 0
    for view in views:
        view.scores, start = scores[start : start + len(view.systems)], start + len(view.systems)
    tests = {
        key: Test(mine, theirs, views, examples)
        for key, (mine, theirs, examples) in found.items()
        if not np.isnan(views[mine].scores).any() and not np.isnan(views[theirs].scores).any()
    }
    first = START if resamples is None else resamples
    counting = Counting(views, cluster, test, tick)
    means, both = counting.all_of(corpora, list(tests.values()), first)
    family_of = {key: pairs[key].family for key in tests}
    while resamples is None and (left := _unsettled(tests, family_of, families)):
        done = min(its.resamples for its in left.values())
        batch = {key: its for key, its in left.items() if its.resamples == done}
        goal = max(_goal(families[family_of[key]]) for key in batch)
        counting.more_of(list(batch.values()), done, min(_GROWTH * done, goal))
    measured = {
        place: Measured(view.by_seed(), float(view.scores.mean()), means[index])
        for index, (place, view) in enumerate(zip(places, views, strict=True))
        if place is not None and not np.isnan(view.scores).any()
    }
    corrected = _corrected(tests, family_of, families, {key: its.p for key, its in tests.items()})
    return measured, {key: _told(its, corrected[key], means, both) for key, its in tests.items()}


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

    found = {}
    for key, pair in pairs.items():
        if pair.mine in rows and pair.theirs in rows:
            common = masks[pair.mine] & masks[pair.theirs]
            found[key] = view(pair.mine, common), view(pair.theirs, common), int(common.sum())
    return places, views, found


def _goal(family: int) -> int:
    return min(MOST, math.ceil(ENOUGH * family / ALPHA))


def _corrected(
    tests: Mapping[Key, Test], family_of: Mapping[Key, str], families: Mapping[str, int], values: Mapping[Key, float]
) -> dict[Key, float]:
    corrected: dict[Key, float] = {}
    members: dict[str, list[Key]] = {}
    for key in tests:
        members.setdefault(family_of[key], []).append(key)
    for family, keys in members.items():
        corrected.update(zip(keys, holm([values[key] for key in keys], families[family]), strict=True))
    return corrected


def _unsettled(tests: Mapping[Key, Test], family_of: Mapping[Key, str], families: Mapping[str, int]) -> dict[Key, Test]:
    """The tests whose verdict more resamples could change, and that are not given all yet."""
    if not tests:
        return {}
    low, high = p_bounds(
        np.array([its.worst for its in tests.values()]), np.array([its.resamples for its in tests.values()], np.float64)
    )
    bounds = [
        _corrected(
            tests,
            family_of,
            families,
            {key: max(float(bound), its.least) for (key, its), bound in zip(tests.items(), ends, strict=True)},
        )
        for ends in (low, high)
    ]
    return {
        key: its
        for key, its in tests.items()
        if (bounds[0][key] < ALPHA) != (bounds[1][key] < ALPHA) and its.resamples < _goal(families[family_of[key]])
    }


def _told(its: Test, corrected: float, means: Array, both: Array) -> Tested:
    pigeonhole = None
    if its.is_pigeonholed:
        pigeonhole = both[its.mine] - both[its.theirs], (1 + its.exceeding_both) / (its.resamples + 1)
    draws = means[its.mine] - means[its.theirs]
    return Tested(its.difference, draws, its.examples, its.p, corrected, its.resamples, its.seeds, pigeonhole)
