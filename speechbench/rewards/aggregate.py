"""From summed per-segment statistics to a corpus score, for thousands of resamples in one call."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BLEU_ORDER = 4  # longest word n-gram
CHRF_CHARACTER_ORDER = 6  # longest character n-gram
CHRF_BETA = 2  # how many times recall counts over precision


def mean(sums: Floats) -> Floats:
    """The mean of the scores that apply.

    Args:
        sums: [sum of scores on the field's scale, how many], shape [..., 2].

    Returns:
        Shape [...]; not a number where nothing applied.
    """
    total, count = _columns(sums, 2)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def rate(sums: Floats) -> Floats:
    """Errors per hundred units of the reference, as in word error rate and TER; above 100 where errors outnumber them.

    Args:
        sums: [errors, length of the reference], shape [..., 2].

    Returns:
        Shape [...]; not a number where no reference has any length.
    """
    errors, length = _columns(sums, 2)
    return 100.0 * np.divide(errors, length, out=np.full(errors.shape, np.nan), where=length > 0)


def bleu(sums: Floats) -> Floats:
    """Corpus BLEU with exponential smoothing and no effective order, as sacrebleu's `corpus_bleu`.

    Papineni et al. 2002; smoothing is method 3 of Chen and Cherry 2014 (mteval-v13a).

    Args:
        sums: [correct n-grams of order 1..4, all n-grams of order 1..4, hypothesis length, reference length],
            shape [..., 10].

    Returns:
        Shape [...], from 0 to 100.
    """
    columns = _columns(sums, 2 * BLEU_ORDER + 2)
    correct, total = columns[:BLEU_ORDER], columns[BLEU_ORDER:-2]
    hypothesis_length, reference_length = columns[-2:]
    # Without a single match, or with an order that has no n-gram at all, BLEU is 0.
    defined = (correct > 0).any(axis=0) & (total > 0).all(axis=0)
    missed = correct == 0
    smoothed = 0.5 ** np.cumsum(missed, axis=0)  # the k-th order without a match counts as 1 / 2^k matches
    matches = np.where(missed, smoothed, correct)
    precisions = np.divide(matches, total, out=np.ones_like(total), where=total > 0)
    ratio = np.divide(
        reference_length, hypothesis_length, out=np.ones_like(reference_length), where=hypothesis_length > 0
    )
    brevity_penalty = np.exp(np.minimum(0.0, 1.0 - ratio))
    score = 100.0 * brevity_penalty * np.exp(np.log(precisions).mean(axis=0))
    return np.where(defined, score, 0.0)


def chrf(sums: Floats) -> Floats:
    """Corpus chrF, or chrF++ where there are word orders, as sacrebleu's `corpus_chrf` without epsilon smoothing.

    Popović 2015 and 2017; beta 2, character order 6, word order as the number of columns tells.

    Args:
        sums: For each order [n-grams of hypothesis, of reference, in both], characters first,
            shape [..., 3 * (6 + word order)].

    Returns:
        Shape [...], from 0 to 100.
    """
    orders, rest = divmod(sums.shape[-1], 3)
    if rest or orders < CHRF_CHARACTER_ORDER:
        raise ValueError(f"chrF has three statistics for each of six or more orders, not {sums.shape[-1]}")
    hypothesis, reference, both = np.moveaxis(np.asarray(sums, float).reshape(*sums.shape[:-1], orders, 3), -1, 0)
    counted = (hypothesis > 0) & (reference > 0)  # effective order: those that both texts are long enough for
    how_many = np.maximum(counted.sum(axis=-1), 1)
    zero = np.zeros_like(both)
    precision = np.divide(both, hypothesis, out=zero.copy(), where=counted).sum(axis=-1) / how_many
    recall = np.divide(both, reference, out=zero, where=counted).sum(axis=-1) / how_many
    weight = CHRF_BETA**2
    denominator = weight * precision + recall
    f_score = np.divide(
        (1 + weight) * precision * recall, denominator, out=np.zeros_like(denominator), where=denominator > 0
    )
    return np.asarray(100.0 * f_score)


def _columns(sums: Floats, expected: int) -> Floats:
    """The statistics in front, shape [statistic, ...]."""
    if sums.shape[-1] != expected:
        raise ValueError(f"expected {expected} statistics, got {sums.shape[-1]}")
    return np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)


AGGREGATES: dict[str, Callable[[Floats], Floats]] = {"mean": mean, "rate": rate, "bleu": bleu, "chrf": chrf}
"""Name of an aggregate to the function from statistics summed over segments, shape [..., statistic], to the
corpus score on the field's scale, shape [...]."""
