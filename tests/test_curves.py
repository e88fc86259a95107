"""Best-of-n and pass@k against all subsets, one by one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbench.aggregate import AGGREGATES
from speechbench.curves import Drawn, chances_to_be_best, numbers_of, thresholds_of
from speechbench.errors import UsageError

NAN = float("nan")
segment_scores = st.one_of(st.sampled_from([0.0, 25.0, 50.0, 100.0, NAN]), st.floats(0, 100))


@st.composite
def drawn_scores(draw: st.DrawFn) -> np.ndarray:
    """Scores, shape [sample, example]."""
    samples, examples = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    rows = st.lists(segment_scores, min_size=examples, max_size=examples)
    return np.array(draw(st.lists(rows, min_size=samples, max_size=samples)))


def chosen(scores: Sequence[float], subset: Sequence[int], lower: bool) -> int:
    """The first of the best of a subset of an example's samples; where none applies, any."""
    best = subset[0]
    for place in subset[1:]:
        new, old = scores[place], scores[best]
        if not math.isnan(new) and (math.isnan(old) or (new < old if lower else new > old)):
            best = place
    return best


def slow_sum(scores: np.ndarray, statistics: np.ndarray, n: int, lower: bool) -> np.ndarray:
    """Over the examples, the sum of the mean over all subsets of the chosen sample's statistics."""
    samples, examples = scores.shape
    total = np.zeros(statistics.shape[-1])
    for e in range(examples):
        subsets = list(itertools.combinations(range(samples), n))
        for subset in subsets:
            total += statistics[chosen(scores[:, e].tolist(), subset, lower), e] / len(subsets)
    return total


@settings(deadline=None)
@given(drawn_scores(), st.booleans())
def test_best_of_n_of_a_mean_is_the_mean_over_all_subsets(scores: np.ndarray, lower: bool) -> None:
    applies = ~np.isnan(scores)
    statistics = np.stack([np.where(applies, scores, 0.0), applies.astype(float)], axis=-1)
    numbers = range(1, len(scores) + 1)
    found = Drawn(scores, statistics, "mean", lower).best_of(numbers)
    for n in numbers:
        total, count = slow_sum(scores, statistics, n, lower)
        assert found[n] == (pytest.approx(total / count) if count else None)
    values = [found[n] for n in numbers if found[n] is not None]
    if applies.all():  # then more to choose from is never worse
        assert all((b - a) * (-1 if lower else 1) >= -1e-9 for a, b in itertools.pairwise(values))
        assert found[1] == pytest.approx(scores.mean())
        assert found[len(scores)] == pytest.approx((scores.min(axis=0) if lower else scores.max(axis=0)).mean())


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 4), st.booleans())
def test_best_of_n_of_a_corpus_metric_is_made_of_the_chosen_samples_statistics(
    seed: int, samples: int, examples: int, ties: bool
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, (samples, examples)).astype(float) if ties else rng.random((samples, examples)) * 100
    total = rng.integers(4, 12, (samples, examples, 4)).astype(float)
    correct = np.floor(total * rng.random(total.shape))
    statistics = np.concatenate([correct, total, total[..., :1], total[..., :1] + 1], axis=-1)
    found = Drawn(scores, statistics, "bleu").best_of(range(1, samples + 1))
    for n in range(1, samples + 1):
        assert found[n] == pytest.approx(float(AGGREGATES["bleu"](slow_sum(scores, statistics, n, False))))
    best = [chosen(scores[:, e].tolist(), range(samples), False) for e in range(examples)]
    corpus = AGGREGATES["bleu"](sum(statistics[place, e] for e, place in enumerate(best)))
    assert found[samples] == pytest.approx(float(corpus))  # of the corpus that was chosen, exactly


@given(st.integers(1, 12), st.data())
def test_the_chances_are_counts_of_subsets(samples: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, samples))
    subsets = list(itertools.combinations(range(samples), n))
    counts = np.bincount([max(subset) for subset in subsets], minlength=samples)
    np.testing.assert_allclose(chances_to_be_best(n, samples), counts / len(subsets))


@settings(deadline=None)
@given(drawn_scores(), st.booleans(), st.sampled_from([0.0, 25.0, 60.0]))
def test_pass_at_k_is_the_share_of_subsets_with_one_that_passes(
    scores: np.ndarray, lower: bool, threshold: float
) -> None:
    """What does not apply does not pass; an example of which that is all there is, is left out."""
    samples, examples = scores.shape
    applicable = [e for e in range(examples) if not np.isnan(scores[:, e]).all()]
    found = Drawn(scores, scores[..., None], "mean", lower).pass_at(threshold, range(1, samples + 1))
    for k, value in found.items():
        subsets = list(itertools.combinations(range(samples), k))
        shares = [
            any(scores[s, e] <= threshold if lower else scores[s, e] >= threshold for s in subset)
            for e in applicable
            for subset in subsets
        ]
        assert value == (pytest.approx(np.mean(shares)) if applicable else None)


def test_what_is_asked_for_is_read_or_refused() -> None:
    assert numbers_of([4, 1, 4]) == (1, 4)
    assert thresholds_of(["bleu(lowercase=true)=50", "wer = 12.5"]) == {"bleu(lowercase=true)": 50.0, "wer": 12.5}
    for wrong in ("binary", "bleu(lowercase=true)", "=3", "binary=nan"):
        with pytest.raises(UsageError, match="write a metric and the score to reach"):
            thresholds_of([wrong])
    with pytest.raises(UsageError, match="best_of=0"):
        numbers_of([0])
