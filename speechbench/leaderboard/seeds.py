"""The seeds of training: how a row varies with them, and whether two rows differ over them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean

import numpy as np

from speechbench.leaderboard.drawing import Array
from speechbench.leaderboard.statistics import CONFIDENCE, TIE, fewest_p


@dataclass(frozen=True)
class SeedSpread:
    """How the same training varies with its seed, apart from the choice of test examples.

    Attributes:
        standard_deviation: Of the seeds' scores, with n - 1.
        interval: 95% t interval of their mean.
    """

    standard_deviation: float
    interval: tuple[float, float]


def seed_spread(scores: Sequence[float]) -> SeedSpread | None:
    """Spread of one row's seeds; `None` for fewer than two."""
    if len(scores) < 2:
        return None
    mean, deviation = float(np.mean(scores)), float(np.std(scores, ddof=1))
    half = t_quantile(0.5 + CONFIDENCE / 2, len(scores) - 1) * deviation / math.sqrt(len(scores))
    return SeedSpread(deviation, (mean - half, mean + half))


@dataclass(frozen=True)
class SeedTest:
    """A difference over the seeds of training, on the whole test set.

    Attributes:
        seeds: How many; of two rows with different numbers, the smaller.
        interval: 95% t interval of the difference, with n - 1 degrees of freedom.
        p: Two-sided, of the t test.
    """

    seeds: int
    interval: tuple[float, float]
    p: float


def seed_test(mine: Mapping[int | None, float], theirs: Mapping[int | None, float]) -> SeedTest | None:
    """Student's t test of two rows' scores over their seeds.

    Rows of the same seeds are paired by them; of others the variances are added, with the degrees of freedom of the row
    with fewer seeds, which is never too bold. What was not trained has no seed and stands as it is, without variance;
    a training of a single seed is taken to vary as the other row does.

    Differences that are all exactly alike, as of metrics with few values they may be by chance, say nothing of how far
    they vary: then p is that of the sign test, 2^(1 - n).

    Args:
        mine: Score by seed.
        theirs: Score by seed.

    Returns:
        `None` where neither row has two seeds.
    """
    several = [scores for scores in (mine, theirs) if len(scores) > 1]
    if not several:
        return None
    difference = fmean(mine.values()) - fmean(theirs.values())
    if mine.keys() == theirs.keys():
        variance = _variance([mine[seed] - theirs[seed] for seed in mine]) / len(mine)
    else:
        variance = sum(
            _variance(list((scores if len(scores) > 1 else other).values())) / len(scores)
            for scores, other in ((mine, theirs), (theirs, mine))
            if scores.keys() != {None}
        )
    seeds = min(map(len, several))
    error = math.sqrt(variance)
    half = t_quantile(0.5 + CONFIDENCE / 2, seeds - 1) * error
    if error <= TIE:
        return SeedTest(seeds, (difference, difference), 1.0 if abs(difference) <= TIE else float(fewest_p(seeds)))
    p = 2 * max(0.0, 1 - float(_t_cdf(abs(difference) / error, seeds - 1)))
    return SeedTest(seeds, (difference - half, difference + half), min(p, 1.0))


def paired_seeds_p(differences: Array) -> Array:
    """`seed_test`'s p for many pairs of rows with the same seeds.

    Args:
        differences: Of the scores seed by seed, shape [pair, seed].
    """
    seeds = differences.shape[1]
    means = differences.mean(axis=1)
    errors = differences.std(axis=1, ddof=1) / math.sqrt(seeds)
    with np.errstate(all="ignore"):
        p = np.minimum(2 * np.maximum(0.0, 1 - _t_cdf(np.abs(means) / errors, seeds - 1)), 1.0)
    return np.where(errors > TIE, p, np.where(np.abs(means) <= TIE, 1.0, fewest_p(seeds)))


def _variance(values: Sequence[float]) -> float:
    """With n − 1, in plain Python: of five numbers that is ten times as fast as an array's."""
    mean = fmean(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


@cache
def t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t for a probability of at least 0.5, by bisection of its distribution function."""
    low, high = 0.0, 1.0
    while _t_cdf(high, freedom) < probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_cdf(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def _t_cdf(t: Array | float, freedom: int) -> Array:
    """Distribution function for t >= 0 and whole degrees of freedom (Abramowitz & Stegun 26.7.3 and 26.7.4)."""
    angle = np.arctan(t / math.sqrt(freedom))
    sine, cosine = np.sin(angle), np.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else np.ones_like(cosine)), np.zeros_like(cosine)
    for k in range(freedom // 2):
        total = total + term
        term = term * cosine**2 * ((2 * k + 2) / (2 * k + 3) if odd else (2 * k + 1) / (2 * k + 2))
    both_sides = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return np.asarray(0.5 + both_sides / 2)
