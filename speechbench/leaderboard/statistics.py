"""Tests of differences: paired bootstrap over examples, Holm's correction, spread over seeds.

One draw of examples is shared by all runs (Koehn, 2004, "Statistical Significance Tests for Machine
Translation Evaluation"), so that differences are paired. A resample of a corpus is a vector of counts per
example; its statistics are counts times statistics, so all corpus scores are matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from speechbench.errors import UsageError
from speechbench.rewards.aggregate import AGGREGATES

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

RESAMPLES = 10_000
SEED = 250916990
"""Of the draw of examples: a constant, so that the same runs always give the same board."""

CONFIDENCE = 0.95
TIE = 1e-9
"""Differences closer than this are rounding, and count as equal."""

CELLS_AT_ONCE = 1_000_000
"""Of a block of resamples: 8 MB for its draw and 8 for its counts, whatever the size of the test set and B."""


@dataclass(frozen=True)
class SeedSpread:
    """How the same training varies with its seed, apart from the choice of test examples.

    Attributes:
        standard_deviation: Of the seeds' scores, with n - 1.
        interval: 95% t interval of their mean.
    """

    standard_deviation: float
    interval: tuple[float, float]


def resample_counts(examples: int, resamples: int = RESAMPLES, seed: int = SEED) -> Iterator[Array]:
    """Draws resamples of the test set with replacement, block by block.

    Args:
        examples: Size n of the test set, and of each resample.
        resamples: B.
        seed: Of the draw.

    Yields:
        How often each example was drawn, shape [resample, example]; B rows over all blocks. The next block
        overwrites it.
    """
    generator = np.random.default_rng(seed)
    block = max(1, min(resamples, CELLS_AT_ONCE // examples))
    counts = np.empty((block, examples))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.integers(examples, size=(rows, examples))
        for row in range(rows):  # one at a time: what is counted then stays in the processor's cache
            counts[row] = np.bincount(drawn[row], minlength=examples)
        yield counts[:rows]


def check_resamples(resamples: int) -> None:
    """Refuses a number of resamples that is none.

    Raises:
        UsageError: If it is no whole number, or not positive.
    """
    if not isinstance(resamples, int) or resamples < 1:
        raise UsageError(f"resamples={resamples!r}: give a whole number of at least 1, as in resamples={RESAMPLES}")


def bootstrap(
    statistics: Sequence[Array],
    aggregates: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = SEED,
    applies: Sequence[Mask | None] | None = None,
) -> tuple[Array, Array]:
    """Corpus scores of systems on the whole test set and on resamples of it, the same resamples for all.

    Args:
        statistics: Per system its sufficient statistics, shape [example, statistic]; row i of all is the same
            example.
        aggregates: Per system the name in `AGGREGATES`.
        resamples: B.
        seed: Of the draw.
        applies: Per system to which examples its metric applies, shape [example]; the others count for nothing.
            `None` for all. Statistics cannot tell: an empty hypothesis with an empty reference is all zeros too,
            and right.

    Returns:
        Scores, shape [system], and scores of resamples, shape [system, resample]; NaN where a metric applies
        to none of the examples drawn.

    Raises:
        UsageError: If the number of resamples is not positive.
    """
    check_resamples(resamples)
    partial = {s: mask for s, mask in enumerate(applies or ()) if mask is not None and not mask.all()}
    statistics = [np.where(partial[s][:, None], its, 0.0) if s in partial else its for s, its in enumerate(statistics)]
    masks = {mask.tobytes(): mask for mask in partial.values()}  # each once
    applicable = np.stack([*masks.values()], axis=1).astype(np.float64) if masks else None
    undrawn = np.empty((resamples, len(masks)), dtype=np.bool_)
    scores, draws = np.empty(len(statistics)), np.empty((len(statistics), resamples))
    kinds: dict[tuple[str, int], list[int]] = {}  # aggregate and number of statistics to the systems that share them
    for system, (name, its) in enumerate(zip(aggregates, statistics, strict=True)):
        kinds.setdefault((name, its.shape[1]), []).append(system)
    columns = {kind: np.concatenate([statistics[s] for s in systems], axis=1) for kind, systems in kinds.items()}

    def aggregated(kind: tuple[str, int], sums: Array) -> Array:
        """From shape [..., system * statistic] to [system, ...]."""
        name, width = kind
        return np.moveaxis(AGGREGATES[name](sums.reshape(*sums.shape[:-1], -1, width)), -1, 0)

    with np.errstate(all="ignore"):
        for kind, systems in kinds.items():
            scores[systems] = aggregated(kind, columns[kind].sum(axis=0))
        done = 0
        for counts in resample_counts(len(statistics[0]), resamples, seed) if statistics else ():
            for kind, systems in kinds.items():
                draws[systems, done : done + len(counts)] = aggregated(kind, counts @ columns[kind])
            if applicable is not None:
                undrawn[done : done + len(counts)] = counts @ applicable == 0
            done += len(counts)
    places = {key: place for place, key in enumerate(masks)}
    for system, mask in partial.items():
        draws[system, undrawn[:, places[mask.tobytes()]]] = np.nan
        if not mask.any():
            scores[system] = np.nan
    return scores, draws


def interval(draws: Array) -> tuple[float, float] | None:
    """95% percentile interval of a score's or a difference's resamples, shape [resample].

    Returns:
        Both ends; `None` where no resample has a score.
    """
    outside = 50 * (1 - CONFIDENCE)
    missing = np.isnan(draws)
    if missing.all():
        return None
    percentile = np.nanpercentile if missing.any() else np.percentile  # the plain one is ten times as fast
    low, high = percentile(draws, (outside, 100 - outside))
    return float(low), float(high)


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
    nearer = np.abs(draws - difference) < abs(difference) - TIE
    return (1 + int(np.count_nonzero(~nearer))) / (len(draws) + 1)


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


def t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t for a probability of at least 0.5, by bisection of its distribution function."""
    low, high = 0.0, 1.0
    while _t_cdf(high, freedom) < probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_cdf(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def _t_cdf(t: float, freedom: int) -> float:
    """Distribution function for t >= 0 and whole degrees of freedom (Abramowitz & Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(freedom // 2):
        total += term
        term *= cosine**2 * ((2 * k + 2) / (2 * k + 3) if odd else (2 * k + 1) / (2 * k + 2))
    both_sides = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return 0.5 + both_sides / 2
