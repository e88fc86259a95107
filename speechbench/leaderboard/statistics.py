"""What is inferred from resamples: intervals, p values, Holm's correction, power.

One draw of examples is shared by all runs (Koehn, 2004, "Statistical Significance Tests for Machine
Translation Evaluation"), so that differences are paired; `speechbench.leaderboard.resampling` draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from statistics import NormalDist

import numpy as np

from speechbench.leaderboard.drawing import Array

ALPHA = 0.05
CONFIDENCE = 0.95
TIE = 1e-9
"""Differences closer than this are rounding, and count as equal."""

POWER = 0.8
"""How often a difference as large as `detectable` says is found."""

_SURE = 0.001  # how often a bound of a p value may be wrong
_NORMAL = NormalDist()
_SMALLEST = 1e-300  # of a probability whose quantile is asked for


def interval(draws: Array, clusters: int) -> tuple[float, float] | None:
    """95% interval of a score's or a difference's resamples.

    The expanded percentile interval (Hesterberg, 2015, "What Teachers Should Know About the Bootstrap", arXiv
    1411.5279): of few clusters the percentiles lie further out than 2.5% and 97.5%, by as much as Student's t is wider
    than the normal distribution, and by sqrt(n / (n - 1)).

    Args:
        draws: Shape [resample].
        clusters: n, how many things were drawn from.

    Returns:
        Both ends; `None` where no resample has a score.
    """
    known = draws[~missing] if (missing := np.isnan(draws)).any() else draws
    if not len(known):
        return None
    last, outside = len(known) - 1, _outside(clusters)
    ends = [probability * last for probability in (outside, 1 - outside)]
    kth = [place for end in ends for place in (int(end), min(int(end) + 1, last))]
    low, above_low, high, above_high = np.partition(known, kth)[kth].tolist()  # quantiles as numpy's, at once
    return low + (above_low - low) * (ends[0] % 1), high + (above_high - high) * (ends[1] % 1)


@cache
def _outside(clusters: int) -> float:
    """Share of the resamples on either side of a 95% interval."""
    return _NORMAL.cdf(-_expanded(_NORMAL.inv_cdf((1 + CONFIDENCE) / 2), clusters))


def _expanded(z: float, clusters: int) -> float:
    """How many standard deviations of a bootstrap's resamples are as unlikely as z normally are; `of_few` backwards."""
    if clusters < 2:
        return math.inf
    freedom = clusters - 1
    exponent = (z * (8 * freedom + 3) / (8 * freedom + 1)) ** 2 / freedom
    return math.sqrt(clusters * math.expm1(exponent))


def of_few(p: Array, clusters: Array) -> Array:
    """What a bootstrap's p is worth with so many clusters: the mean of few strays as Student's t does.

    Resamples of n clusters are distributed nearly normally, and a little too narrowly: with n in place of n - 1. So a p
    that is z standard deviations of them away is that of t = z sqrt((n - 1) / n) with n - 1 degrees of freedom, as in
    expanded percentile intervals (see `interval`). The distribution of t is Wallace's approximation (1959, "Bounds on
    Normal Approximations to Student's and the Chi-Square Distributions"), which errs on the careful side.

    Args:
        p: Of the bootstrap, shape [test].
        clusters: n, shape [test].

    Returns:
        Shape [test], never below p; 1 with a single cluster. With 20 clusters 0.05 becomes 0.07, with 300 it stays.
    """
    z = _each(p, lambda value: -_NORMAL.inv_cdf(max(value, _SMALLEST) / 2))
    freedom = clusters - 1
    careful = (8 * freedom + 1) / (8 * freedom + 3) * np.sqrt(freedom * np.log1p(z**2 / clusters))
    return _each(careful, lambda value: math.erfc(value / math.sqrt(2)))


def _each(values: Array, function: Callable[[float], float]) -> Array:
    """A function of numbers of which many are the same."""
    different, places = np.unique(values, return_inverse=True)
    return np.array([function(value) for value in different.tolist()], np.float64)[places]


def smallest_p(resamples: int, clusters: int, test: str) -> float:
    """The smallest p that a test can have, by its resamples and by the clusters that they are of."""
    if clusters < 2:
        return 1.0
    raw = np.array([1 / (resamples + 1)])
    found = of_few(raw, np.array([clusters])) if test == "bootstrap" else raw
    return max(float(found[0]), float(fewest_p(clusters)))


def fewest_p(differing: Array | int) -> Array:
    """What p cannot fall below where so few clusters, or seeds, differ: 2^(1 - k), if all differ the same way.

    It is the smallest p of an exact randomisation test, and that of the sign test. A bootstrap of differences that are
    all alike has none that stray, and would be sure of one example.
    """
    return np.minimum(1.0, 2.0 ** (1.0 - np.asarray(differing)))


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


def paired_p(difference: float, draws: Array, clusters: int) -> float:
    """Two-sided p of the hypothesis that two systems score the same.

    The resampled differences, shifted so that their centre is 0, tell how far a difference strays from its
    true value by the choice of examples (the shifted bootstrap: Riezler & Maxwell, 2005, "On Some Pitfalls in
    Automatic Evaluation and Significance Testing for MT"):
    `p = (1 + #{|d*_b - d| >= |d|}) / (B + 1)`. A resample without a score counts against the difference. Then `of_few`.

    sacrebleu's paired bootstrap takes absolute values before it shifts, so it counts one side only and gives
    about half of this p; its two-sided approximate randomization test gives about this p.

    Args:
        difference: d, of the two corpus scores.
        draws: d*, the same difference on resamples, shape [resample].
        clusters: That were drawn from.
    """
    p = (1 + exceed(np.array([difference]), draws[None])) / (len(draws) + 1)
    return float(of_few(p, np.array([clusters]))[0])


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


def detectable(draws: Array, family: int, clusters: int) -> float | None:
    """The smallest difference that this test set would show: with probability 0.8, after the correction for many tests.

    (t(1 - α/2m) + t(0.8)) · standard error, the textbook's for two paired means; the standard error is that of the
    resampled differences, m the size of the family, as at the strictest step of Holm's correction.

    Args:
        draws: Of the difference, shape [resample].
        family: m.
        clusters: That were drawn from; t has one degree of freedom less.

    Returns:
        On the field's scale; `None` where some resamples have no score, or there is a single cluster.
    """
    if clusters < 2 or np.isnan(draws).any():
        return None
    wanted = _NORMAL.inv_cdf(1 - ALPHA / (2 * max(family, 1))), _NORMAL.inv_cdf(POWER)
    return float(sum(_expanded(z, clusters) for z in wanted) * draws.std())


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
