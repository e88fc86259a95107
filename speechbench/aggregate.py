"""From summed per-segment statistics to a corpus score, for thousands of resamples in one call."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

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


def rate(sums: Floats, scale: float = 100.0) -> Floats:
    """Errors per hundred units of the reference, as in word error rate and TER; above 100 where errors outnumber them.

    Where the references have no length at all, any error counts as 100, and none as 0: as sacrebleu's TER, equal to
    the last bit. jiwer gives the number of errors there, which is no rate.

    Args:
        sums: [errors, length of the reference], shape [..., 2].
        scale: What as many errors as units come to.

    Returns:
        Shape [...].
    """
    errors, length = _columns(sums, 2)
    return scale * np.divide(errors, length, out=np.asarray(errors > 0, dtype=np.float64), where=length > 0)


def bleu(sums: Floats, effective_order: bool = False, exact: bool = True) -> Floats:
    """BLEU with exponential smoothing, equal to sacrebleu's to the last bit.

    Papineni et al. 2002; smoothing is method 3 of Chen and Cherry 2014 (mteval-v13a).

    Args:
        sums: [correct n-grams of order 1..4, all n-grams of order 1..4, hypothesis length, reference length],
            shape [..., 10].
        effective_order: Leave out the orders that the hypothesis is too short for, as is meant for single sentences;
            without it, as for a corpus, one such order makes the score 0.
        exact: Without it the last bits are numpy's, which is ten times as fast: for resamples.

    Returns:
        Shape [...], from 0 to 100.
    """
    columns = _columns(sums, 2 * BLEU_ORDER + 2)
    shape, columns = columns.shape[1:], columns.reshape(len(columns), -1)
    correct, total = columns[:BLEU_ORDER], columns[BLEU_ORDER:-2]
    counted = total > 0
    orders = counted.sum(axis=0)
    # Without a single match BLEU is 0.
    defined = (correct > 0).any(axis=0) & (effective_order | (orders == BLEU_ORDER))
    missed = correct == 0
    numerators, denominators = 100.0 * correct, total
    if missed.any():
        halvings = 2.0 ** np.cumsum(missed, axis=0)  # the k-th order without a match counts as 1 / 2^k matches
        numerators = np.where(missed, 100.0, numerators)
        denominators = np.where(missed, halvings, 1.0) * total
    precisions = np.divide(numerators, denominators, out=np.ones_like(total), where=counted)
    score = np.zeros(columns.shape[1])
    of_all = _bleu_of_one if exact else _bleu_of_many
    score[defined] = of_all(*columns[-2:, defined], orders[defined], *precisions[:, defined])
    return score.reshape(shape)


def _one_bleu(hypothesis_length: float, reference_length: float, order: int, *precisions: float) -> float:
    """Brevity penalty times geometric mean, by `math`: numpy's exp and log are another last bit off."""
    penalty = 1.0 if hypothesis_length >= reference_length else math.exp(1 - reference_length / hypothesis_length)
    return penalty * math.exp(sum([math.log(precision) for precision in precisions[:order]]) / order)


_bleu_of_one = np.frompyfunc(_one_bleu, 3 + BLEU_ORDER, 1)


def _bleu_of_many(hypothesis_length: Floats, reference_length: Floats, orders: Floats, *precisions: Floats) -> Floats:
    """The same of arrays; orders that do not count have the precision 1, whose logarithm is 0."""
    penalty = np.exp(np.minimum(1 - reference_length / hypothesis_length, 0.0))
    product = math.prod(precisions[1:], start=precisions[0])  # one logarithm for all
    return np.asarray(penalty * np.exp(np.log(product) / orders))


def chrf(sums: Floats) -> Floats:
    """chrF, or chrF++ where there are word orders, equal to sacrebleu's without epsilon smoothing, to the last bit.

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
    precision, recall = (
        np.divide(both, length, out=np.zeros_like(both), where=counted).cumsum(axis=-1)[..., -1] / how_many
        for length in (hypothesis, reference)  # cumsum adds one after the other, where sum adds in pairs
    )
    weight = CHRF_BETA**2
    numerator, denominator = (1 + weight) * precision * recall, weight * precision + recall
    f_score = np.divide(numerator, denominator, out=np.zeros_like(denominator), where=denominator > 0)
    return np.asarray(100.0 * f_score)


def _columns(sums: Floats, expected: int) -> Floats:
    """The statistics in front, shape [statistic, ...]."""
    if sums.shape[-1] != expected:
        raise ValueError(f"expected {expected} statistics, got {sums.shape[-1]}")
    return np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)


AGGREGATES: dict[str, Callable[[Floats], Floats]] = {"mean": mean, "rate": rate, "bleu": bleu, "chrf": chrf}
"""Name of an aggregate to the function from statistics summed over segments, shape [..., statistic], to the
corpus score on the field's scale, shape [...]."""

RESAMPLED: dict[str, Callable[[Floats], Floats]] = {**AGGREGATES, "bleu": partial(bleu, exact=False)}
"""The same for resamples, of which there are thousands and whose last bits do not matter."""
