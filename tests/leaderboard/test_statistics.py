"""The tests against slow, obvious references, sacrebleu and scipy."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.significance import PairedTest

from speechbench.errors import UsageError
from speechbench.leaderboard.statistics import (
    SEED,
    bootstrap,
    holm,
    interval,
    paired_p,
    resample_counts,
    seed_spread,
    t_quantile,
)
from speechbench.rewards.aggregate import AGGREGATES

P_VALUES = st.lists(st.floats(0.0001, 1.0), min_size=1, max_size=12)
DRAWS = st.lists(st.floats(-50, 50), min_size=1, max_size=40)


@pytest.fixture(scope="module")
def stats() -> Any:
    """scipy.stats, which comes with the comet extra."""
    return pytest.importorskip("scipy.stats")


def mean_statistics(scores: np.ndarray) -> np.ndarray:
    return np.stack([scores, np.ones_like(scores)], axis=1)


def all_counts(examples: int, resamples: int) -> np.ndarray:
    return np.concatenate([block.copy() for block in resample_counts(examples, resamples)])


def test_resamples_draw_n_of_n_and_only_once_per_seed() -> None:
    assert sum(1 for _ in resample_counts(700, 2000)) > 1  # the memory limit is exercised
    counts = all_counts(700, 2000)
    assert counts.shape == (2000, 700)
    assert (counts.sum(axis=1) == 700).all()
    assert len(np.unique(counts, axis=0)) == 2000
    np.testing.assert_array_equal(counts, all_counts(700, 2000))
    # each count is binomial(700, 1/700), whose variance is just under 1
    assert counts.var() == pytest.approx(1 - 1 / 700, rel=0.01)


def test_the_draw_is_the_generators_own_whatever_the_blocks() -> None:
    drawn = np.random.default_rng(SEED).integers(700, size=(2000, 700))
    np.testing.assert_array_equal(all_counts(700, 2000), [np.bincount(row, minlength=700) for row in drawn])


def test_bootstrap_is_the_slow_one() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(50, 20, 40), rng.normal(55, 20, 40)
    applies = rng.random(40) < 0.8
    masked = mean_statistics(b) * applies[:, None]
    errors = np.stack([rng.integers(0, 5, 40), np.full(40, 9)], axis=1).astype(float)  # two statistics, as the means
    scores, draws = bootstrap([mean_statistics(a), errors, masked], ["mean", "rate", "mean"], resamples=50)
    assert scores == pytest.approx([a.mean(), 100 * errors[:, 0].sum() / 360, b[applies].mean()])
    for row, counts in enumerate(all_counts(40, 50).astype(int)):
        drawn = np.repeat(np.arange(40), counts)
        assert draws[0, row] == pytest.approx(a[drawn].mean())
        assert draws[1, row] == pytest.approx(100 * errors[drawn, 0].sum() / 360)
        assert draws[2, row] == pytest.approx(b[drawn][applies[drawn]].mean())


@pytest.mark.parametrize("aggregate", ["mean", "rate", "bleu", "chrf"])
def test_a_resample_in_which_nothing_applies_has_no_score(aggregate: str) -> None:
    """An all-zero row may apply: an empty hypothesis against an empty reference. Only the mask tells."""
    width = {"mean": 2, "rate": 2, "bleu": 10, "chrf": 18}[aggregate]
    zeros, applies = np.zeros((4, width)), np.array([True, False, False, False])
    wrong = np.ones_like(zeros)  # where it does not apply, whatever stands there counts for nothing
    wrong[0] = 0
    everywhere, nowhere, full = np.ones(4, dtype=bool), np.zeros(4, dtype=bool), np.random.default_rng(0).random((4, 2))
    systems, names = [zeros, wrong, zeros, zeros, full], [*[aggregate] * 4, "rate"]
    scores, draws = bootstrap(systems, names, 100, applies=[everywhere, applies, nowhere, None, None])
    empty = float(AGGREGATES[aggregate](np.zeros(width)))  # of empty hypotheses with empty references
    drawn = all_counts(4, 100)[:, 0] > 0
    assert 0 < drawn.sum() < 100
    np.testing.assert_array_equal(scores[:4], [empty, empty, np.nan, empty])
    np.testing.assert_array_equal(draws[1], np.where(drawn, empty, np.nan))
    assert np.isnan(draws[2]).all()
    for place in (0, 3):
        np.testing.assert_array_equal(draws[place], np.full(100, empty))
    np.testing.assert_array_equal(draws[4], bootstrap([full], ["rate"], 100)[1][0])  # the others' masks change nothing


@pytest.mark.parametrize("resamples", [0, -1, 2.5])
def test_a_number_of_resamples_that_is_none_is_refused(resamples: int) -> None:
    with pytest.raises(UsageError, match=rf"resamples={resamples}: give a whole number of at least 1"):
        bootstrap([np.ones((3, 2))], ["mean"], resamples)


def test_systems_of_one_aggregate_may_have_more_statistics_or_fewer() -> None:
    """chrF and chrF++ are both of "chrf"."""
    counts = np.random.default_rng(0).integers(1, 9, size=(30, 24)).astype(float)
    counts[:, 2::3] = np.minimum(counts[:, ::3], counts[:, 1::3])
    both, each = (
        bootstrap(systems, ["chrf"] * len(systems), 100)
        for systems in ([counts[:, :18], counts, counts[:, 3:21]], [counts[:, :18]])
    )
    assert both[0] == pytest.approx(
        [float(AGGREGATES["chrf"](c.sum(0))) for c in (counts[:, :18], counts, counts[:, 3:21])]
    )
    np.testing.assert_allclose(both[1][0], each[1][0], rtol=1e-12)
    assert len(np.unique(both[0])) == 3


def test_memory_is_bounded_by_blocks_not_by_resamples() -> None:
    """The results aside, five times as many resamples take no more."""

    def peak(resamples: int) -> int:
        tracemalloc.start()
        bootstrap([statistics, statistics], ["mean", "mean"], resamples)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most - 2 * 8 * resamples

    statistics = mean_statistics(np.random.default_rng(0).normal(size=15_000))
    few, many = peak(140), peak(700)
    assert many < 1.1 * few < 30e6


def test_interval_of_a_mean_is_the_textbook_one() -> None:
    scores = np.random.default_rng(1).normal(50, 20, 400)
    _, draws = bootstrap([mean_statistics(scores)], ["mean"])
    half = 1.96 * scores.std() / 20
    assert interval(draws[0]) == pytest.approx((scores.mean() - half, scores.mean() + half), abs=0.1)
    assert interval(np.array([np.nan, *range(101)])) == pytest.approx((2.5, 97.5))
    assert interval(np.full(3, np.nan)) is None


def test_p_of_a_mean_is_about_the_t_tests(stats: Any) -> None:
    rng = np.random.default_rng(2)
    a = rng.normal(50, 20, 300)
    for shift in (1.0, 2.0, 3.0):
        b = a + rng.normal(shift, 15, 300)
        scores, draws = bootstrap([mean_statistics(a), mean_statistics(b)], ["mean", "mean"])
        expected = stats.ttest_rel(b, a).pvalue
        assert paired_p(scores[1] - scores[0], draws[1] - draws[0]) == pytest.approx(expected, abs=0.02)


def test_p_for_bleu_agrees_with_sacrebleu_within_monte_carlo_error() -> None:
    rng = np.random.default_rng(3)
    words = np.array(["der", "die", "Mann", "Frau", "liest", "sieht", "Buch", "Haus", "heute", "gern"])
    references = rng.choice(words, size=(80, 8))

    def system(quality: float) -> list[str]:
        kept = rng.random(references.shape) < quality
        return [" ".join(row) for row in np.where(kept, references, rng.choice(words, size=references.shape))]

    systems = [system(quality) for quality in (0.70, 0.72, 0.75, 0.85)]
    gold = [[" ".join(row) for row in references]]
    statistics = []
    for hypotheses in systems:
        rows = np.array(BLEU()._extract_corpus_statistics(hypotheses, gold), dtype=float)
        statistics.append(np.concatenate([rows[:, 2:], rows[:, :2]], axis=1))  # lengths last
    scores, draws = bootstrap(statistics, ["bleu"] * 4)

    def sacrebleus(test: str) -> list[float]:
        named = [(str(i), hypotheses) for i, hypotheses in enumerate(systems)]
        _, results = PairedTest(named, {"BLEU": BLEU(references=gold)}, None, test_type=test, n_samples=1000)()
        assert scores == pytest.approx([r.score for r in results["BLEU"]])
        return [r.p_value for r in results["BLEU"][1:]]

    differences = [(scores[i] - scores[0], draws[i] - draws[0]) for i in (1, 2, 3)]
    # its randomization test has the same two sides
    ps = [paired_p(*pair) for pair in differences]
    assert ps == pytest.approx(sacrebleus("ar"), abs=0.05)
    assert ps[0] > 0.1 > ps[2]  # the comparison spans what is not significant and what is
    # its bootstrap takes absolute values before it shifts, which counts one side; by that formula our draws are its
    one_sided = [(1 + np.sum(np.abs(d) - np.abs(d).mean() > abs(delta))) / (len(d) + 1) for delta, d in differences]
    assert one_sided == pytest.approx(sacrebleus("bs"), abs=0.04)


@given(DRAWS, st.floats(-50, 50))
def test_p_counts_what_the_formula_counts(draws: list[float], difference: float) -> None:
    strays = sum(abs(d - difference) >= abs(difference) - 1e-9 for d in draws)
    p = paired_p(difference, np.array(draws))
    assert p == (1 + strays) / (len(draws) + 1)
    assert paired_p(-difference, -np.array(draws)) == p


def test_identical_systems_have_p_one_and_missing_draws_count_against() -> None:
    assert paired_p(0.0, np.zeros(99)) == 1.0
    assert paired_p(5.0, np.full(99, 5.0)) == 0.01
    assert paired_p(5.0, np.array([*np.full(98, 5.0), np.nan])) == 0.02


@given(P_VALUES, st.integers(0, 5), st.randoms())
def test_holm_is_monotone_above_raw_and_the_definition(p_values: list[float], missing: int, random: object) -> None:
    family = len(p_values) + missing
    corrected = holm(p_values, family)
    for i, p in enumerate(p_values):
        lower = [q for j, q in enumerate(p_values) if q < p or (q == p and j <= i)]
        ranked = [(family - rank) * q for rank, q in enumerate(sorted(lower))]
        assert corrected[i] == min(1.0, max(ranked))
        assert p <= corrected[i] <= 1
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [corrected[i] for i in order] == sorted(corrected)
    # unfinished tests weigh like tests that came out at 1
    assert holm([*p_values, *[1.0] * missing])[: len(p_values)] == corrected


def test_holm_refuses_more_tests_than_planned() -> None:
    with pytest.raises(ValueError):
        holm([0.1, 0.2], family=1)


@settings(max_examples=50)
@given(st.integers(1, 60), st.floats(0.55, 0.999))
def test_t_quantiles_are_scipys(stats: Any, freedom: int, probability: float) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-8)


def test_seed_spread_is_a_t_interval(stats: Any) -> None:
    scores = [41.0, 43.5, 44.0, 40.5, 42.0]
    spread = seed_spread(scores)
    assert spread is not None
    assert spread.standard_deviation == pytest.approx(np.std(scores, ddof=1))
    assert spread.interval == pytest.approx(stats.t.interval(0.95, 4, loc=np.mean(scores), scale=stats.sem(scores)))
    assert seed_spread([41.0]) is None
