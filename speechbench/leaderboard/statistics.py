"""What is inferred from resamples and seeds: intervals, p values, Holm's correction, the spread over seeds, power.

One draw of examples is shared by all runs (Koehn, 2004, "Statistical Significance Tests for Machine
Translation Evaluation"), so that differences are paired; `speechbench.leaderboard.resampling` draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist, fmean

import numpy as np

from speechbench.leaderboard.resampling import Array

ALPHA = 0.05
CONFIDENCE = 0.95
TIE = 1e-9
"""Differences closer than this are rounding, and count as equal."""

POWER = 0.8
"""How often a difference as large as `detectable` says is found."""

_SURE = 0.001  # how often a bound of a p value may be wrong


@dataclass(frozen=True)
class SeedSpread:
    """How the same training varies with its seed, apart from the choice of test examples.

    Attributes:
        standard_deviation: Of the seeds' scores, with n - 1.
        interval: 95% t interval of their mean.
    """

    standard_deviation: float
    interval: tuple[float, float]


def interval(draws: Array) -> tuple[float, float] | None:
    """95% percentile interval of a score's or a difference's resamples, shape [resample].

    Returns:
        Both ends; `None` where no resample has a score.
    """
    known = draws[~missing] if (missing := np.isnan(draws)).any() else draws
    if not len(known):
        return None
    last, outside = len(known) - 1, (1 - CONFIDENCE) / 2
    ends = [probability * last for probability in (outside, 1 - outside)]
    kth = [place for end in ends for place in (int(end), min(int(end) + 1, last))]
    low, above_low, high, above_high = np.partition(known, kth)[kth].tolist()  # quantiles as numpy's, at once
    return low + (above_low - low) * (ends[0] % 1), high + (above_high - high) * (ends[1] % 1)


def exceed(differences: Array, draws: Array) -> Array:
    """How many resampled differences stray from a difference at least as far as it lies from 0.

    Args:
        differences: d, shape [test].
        draws: d*, shape [test, resample]; one without a score counts against the difference.

    Returns:
        #{|d* - d| >= |d|}, shape [test].
    """
    away = draws - differences[:, None]
    nearer = np.abs(away, out=away) < np.abs(differences[:, None]) - TIE
    return np.asarray(draws.shape[1] - np.count_nonzero(nearer, axis=1), np.float64)


def paired_p(difference: float, draws: Array) -> float:
    """Two-sided p of the hypothesis that two systems score the same.

    The resampled differences, shifted so that their centre is 0, tell how far a difference strays from its
    true value by the choice of examples (the shifted bootstrap: Riezler & Maxwell, 2005, "On Some Pitfalls in
    Automatic Evaluation and Significance Testing for MT"):
    `p = (1 + #{|d*_b - d| >= |d|}) / (B + 1)`. A resample without a score counts against the difference.

    sacrebleu's paired bootstrap takes absolute values before it shifts, so it counts one side only and gives
    about half of this p; its two-sided approximate randomization test gives about this p.

    Args:
        difference: d, of the two corpus scores.
        draws: d*, the same difference on resamples, shape [resample].
    """
    return float(1 + exceed(np.array([difference]), draws[None])[0]) / (len(draws) + 1)


def p_bounds(exceeding: Array, resamples: Array) -> tuple[Array, Array]:
    """Between which bounds the p lies that endless resampling would give, wrong at most once in a thousand times.

    By Chernoff's inequality in its exact form: with the share q of B resamples beyond the difference, a p further from
    q than B·KL(q‖p) = ln(2/0.001) is not to be believed.

    Args:
        exceeding: How many resamples stray as far as the difference, shape [test].
        resamples: B of each, shape [test].
    """
    share = exceeding / resamples
    budget = math.log(2 / _SURE) / resamples

    def bound(low: Array, high: Array, upward: bool) -> Array:
        for _ in range(50):
            middle = (low + high) / 2
            beyond = _divergence(share, middle) > budget
            low, high = np.where(beyond != upward, middle, low), np.where(beyond != upward, high, middle)
        return (low + high) / 2

    return bound(np.zeros_like(share), share, False), bound(share, np.ones_like(share), True)


def _divergence(q: Array, p: Array) -> Array:
    """KL(q‖p) of two coins."""
    with np.errstate(divide="ignore", invalid="ignore"):
        heads = np.where(q > 0, q * np.log(q / p), 0.0)
        tails = np.where(q < 1, (1 - q) * np.log((1 - q) / (1 - p)), 0.0)
    found: Array = np.nan_to_num(heads + tails, nan=0.0, posinf=math.inf)
    return found


def detectable(draws: Array, family: int) -> float | None:
    """The smallest difference that this test set would show: with probability 0.8, after the correction for many tests.

    (z(1 - α/2m) + z(0.8)) · standard error, the textbook's for two paired means; the standard error is that of the
    resampled differences, m the size of the family, as at the strictest step of Holm's correction.

    Args:
        draws: Of the difference, shape [resample].
        family: m.

    Returns:
        On the field's scale; `None` where some resamples have no score.
    """
    if np.isnan(draws).any():
        return None
    normal = NormalDist()
    return float((normal.inv_cdf(1 - ALPHA / (2 * max(family, 1))) + normal.inv_cdf(POWER)) * draws.std())


def holm(p_values: Sequence[float], family: int | None = None) -> list[float]:
    """Holm's (1979) step-down correction of p values for being many.

    Args:
        p_values: Raw.
        family: How many tests were planned, if more than these; the others count as p = 1.

    Returns:
        Corrected p values in the same order, never below the raw ones.
    """
    planned = len(p_values) if family is None else family
    if planned < len(p_values):
        raise ValueError(f"a family of {planned} cannot hold {len(p_values)} tests")
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (planned - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


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
    with fewer seeds, which is never too bold. A row of one run (as the base model's) stands as it is.

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
        variance = sum(_variance(list(scores.values())) / len(scores) for scores in several)
    seeds = min(map(len, several))
    error = math.sqrt(variance)
    half = t_quantile(0.5 + CONFIDENCE / 2, seeds - 1) * error
    if error == 0:  # all seeds alike
        return SeedTest(seeds, (difference, difference), float(abs(difference) <= TIE))
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
    return np.where(errors > 0, p, np.where(np.abs(means) <= TIE, 1.0, 0.0))


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
