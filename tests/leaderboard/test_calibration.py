"""How often two systems that are equally good are called different: in simulations in which that is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from speechbench.leaderboard.resampling import Places, System
from speechbench.leaderboard.testing import Pair, measured_and_tested

TIMES = 400  # pairs of systems
B = 200
TESTS = ["bootstrap", pytest.param("randomisation", marks=pytest.mark.slow)]
Draw = Callable[[np.random.Generator], np.ndarray]


@pytest.fixture(scope="module")
def stats() -> Any:
    return pytest.importorskip("scipy.stats")


def systems(scores: np.ndarray, seeds: bool = False) -> list[System]:
    """One for each row of scores, shape [seed, example]."""
    return [
        System(np.stack([its, np.ones_like(its)], axis=1), np.ones(len(its), np.bool_), "mean", n if seeds else None)
        for n, its in enumerate(scores)
    ]


def false_positives(
    draw: Draw, cluster: Places | None = None, test: str = "bootstrap", seeds: bool = False, against_one: bool = False
) -> int:
    """How many of the pairs have p < 0.05; each side is drawn alike, or the other is its expectation, a single run."""
    rng = np.random.default_rng(0)
    rows, pairs = {}, {}
    for number in range(TIMES):
        mine = draw(rng)
        rows[number, 0] = systems(mine, seeds)
        rows[number, 1] = systems(np.full((1, mine.shape[1]), 50.0)) if against_one else systems(draw(rng), seeds)
        pairs[number] = Pair((number, 0), (number, 1))
    _, tested = measured_and_tested(rows, pairs, {"": TIMES}, B, cluster, test)
    return sum(its.p < 0.05 for its in tested.values())


def bounds(stats: Any, share: float = 0.05) -> tuple[float, float]:
    low, high = stats.binom.interval(0.999, TIMES, share)
    return float(low), float(high)


@pytest.mark.parametrize("test", ["bootstrap", "randomisation"])
def test_one_in_twenty_is_called_different(stats: Any, test: str) -> None:
    low, high = bounds(stats)
    assert low <= false_positives(lambda rng: rng.normal(50, 10, (1, 50)), test=test) <= high


@pytest.mark.parametrize("test", TESTS)
def test_examples_of_a_speaker_are_drawn_together_or_the_test_is_too_bold(stats: Any, test: str) -> None:
    """Each model hears some speakers better than others, on all that they say."""
    speaker = np.repeat(np.arange(40), 8)

    def draw(rng: np.random.Generator) -> np.ndarray:
        return (50 + rng.normal(0, 5, 40)[speaker] + rng.normal(0, 5, 320))[None]

    low, high = bounds(stats)
    assert low <= false_positives(draw, speaker, test) <= high
    assert false_positives(draw, None, test) > 3 * high


@pytest.mark.parametrize("number", [3, 6])
@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("against_one", [False, True])
def test_seeds_count_or_the_test_is_too_bold(stats: Any, number: int, test: str, against_one: bool) -> None:
    """What varies most is the training. From five seeds on they are resampled as well."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        return 50 + rng.normal(0, 3, (number, 1)) + rng.normal(0, 5, (number, 60))

    low, high = bounds(stats)
    assert low <= false_positives(draw, test=test, seeds=True, against_one=against_one) <= high
    assert false_positives(draw, test=test, seeds=False, against_one=against_one) > 3 * high


def test_where_nothing_varies_with_the_seed_it_is_no_bolder(stats: Any) -> None:
    """p is the larger of two, so it may be too careful, never too bold."""
    _, high = bounds(stats)
    assert false_positives(lambda rng: rng.normal(50, 10, (5, 50)), seeds=True) <= high


@pytest.mark.parametrize("number", [1, 2, 3, 5, 10, 20])
def test_few_examples_make_it_no_bolder(stats: Any, number: int) -> None:
    """A bootstrap alone calls three examples different in three of ten cases, and one example in all."""
    low, high = bounds(stats)
    found = false_positives(lambda rng: rng.normal(50, 10, (1, number)))
    assert found <= high and (found >= low or number < 8)  # 2^(1 - k) leaves no p below 0.05 up to five


@pytest.mark.parametrize("number", [2, 3, 5, 10])
def test_a_training_of_one_seed_against_several_is_no_exact_value(stats: Any, number: int) -> None:
    rng, rows, pairs = np.random.default_rng(0), {}, {}
    for place in range(TIMES):
        rows[place, 0], rows[place, 1] = (
            systems(50 + rng.normal(0, 3, (many, 1)) + rng.normal(0, 5, (many, 60)), seeds=True) for many in (number, 1)
        )
        pairs[place] = Pair((place, 0), (place, 1))
    _, tested = measured_and_tested(rows, pairs, {"": TIMES}, B)
    low, high = bounds(stats)
    assert low <= sum(its.p < 0.05 for its in tested.values()) <= high
