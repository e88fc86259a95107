"""What is inferred from resamples and seeds, against slow, obvious references, sacrebleu and scipy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.significance import PairedTest

from speechbench.leaderboard.resampling import bootstrap
from speechbench.leaderboard.seeds import seed_spread, seed_test, t_quantile
from speechbench.leaderboard.statistics import (
    detectable,
    exceed,
    fewest_p,
    holm,
    interval,
    of_few,
    p_bounds,
    paired_p,
    smallest_p,
)

B = 10_000
P_VALUES = st.lists(st.floats(0.0001, 1.0), min_size=1, max_size=12)
DRAWS = st.lists(st.floats(-50, 50), min_size=1, max_size=40)
SCORES = st.lists(st.integers(0, 1000).map(lambda n: n / 10), min_size=2, max_size=8)


@pytest.fixture(scope="module")
def stats() -> Any:
    """scipy.stats, which comes with the comet extra."""
    return pytest.importorskip("scipy.stats")


def mean_statistics(scores: np.ndarray) -> np.ndarray:
    return np.stack([scores, np.ones_like(scores)], axis=1)


def test_interval_of_a_mean_is_the_textbook_one() -> None:
    scores = np.random.default_rng(1).normal(50, 20, 400)
    _, draws = bootstrap([mean_statistics(scores)], ["mean"], B)
    half = 1.96 * scores.std() / 20
    assert interval(draws[0], 400) == pytest.approx((scores.mean() - half, scores.mean() + half), abs=0.1)
    assert interval(np.array([np.nan, *range(101)]), 10**6) == pytest.approx((2.5, 97.5), abs=0.001)
    assert interval(np.full(3, np.nan), 20) is None
    assert interval(np.arange(101.0), 1) == (0.0, 100.0)  # one thing says nothing of how far they vary


@pytest.mark.parametrize("clusters", [3, 5, 10, 20, 60, 1000])
def test_of_few_clusters_p_and_interval_are_those_of_students_t(stats: Any, clusters: int) -> None:
    """What a bootstrap of normal differences would find with endless resamples: its standard error has n for n - 1."""
    for p in (0.5, 0.05, 0.001):
        t = stats.t.isf(p / 2, clusters - 1)
        found = of_few(np.array([2 * stats.norm.sf(t * math.sqrt(clusters / (clusters - 1)))]), np.array([clusters]))[0]
        assert p * 0.99 <= found <= p * (1.05 if clusters > 5 else 1.8)
    if clusters < 5:
        return  # the interval is that of the furthest of all draws
    further = math.sqrt(clusters / (clusters - 1)) * stats.t.ppf(0.975, clusters - 1)
    draws = stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    found = interval(draws, clusters)
    assert found is not None and found == pytest.approx((-further, further), rel=0.04)


@given(P_VALUES.filter(bool), st.integers(1, 10_000))
def test_few_clusters_never_make_p_smaller(p_values: list[float], clusters: int) -> None:
    found = of_few(np.array(p_values), np.full(len(p_values), clusters))
    assert np.all(found >= np.array(p_values) - 1e-12) and np.all(found <= 1)
    assert np.all(np.diff(found[np.argsort(p_values)]) >= -1e-12)
    if clusters == 1:
        assert np.all(found == 1)


def test_where_outputs_differ_on_few_clusters_p_is_no_smaller_than_the_sign_tests(stats: Any) -> None:
    for differ in range(1, 12):
        assert fewest_p(differ) == pytest.approx(stats.binomtest(differ, differ).pvalue)
    assert fewest_p(0) == 1.0
    assert smallest_p(2000, 5, "randomisation") == 2.0**-4 and smallest_p(2000, 1, "bootstrap") == 1.0
    assert smallest_p(2000, 10**6, "bootstrap") == pytest.approx(1 / 2001, rel=1e-3)


def test_p_of_a_mean_is_about_the_t_tests(stats: Any) -> None:
    rng = np.random.default_rng(2)
    a = rng.normal(50, 20, 300)
    for shift in (1.0, 2.0, 3.0):
        b = a + rng.normal(shift, 15, 300)
        scores, draws = bootstrap([mean_statistics(a), mean_statistics(b)], ["mean", "mean"], B)
        expected = stats.ttest_rel(b, a).pvalue
        assert paired_p(scores[1] - scores[0], draws[1] - draws[0], 300) == pytest.approx(expected, abs=0.02)


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
    scores, draws = bootstrap(statistics, ["bleu"] * 4, B)

    def sacrebleus(test: str) -> list[float]:
        named = [(str(i), hypotheses) for i, hypotheses in enumerate(systems)]
        _, results = PairedTest(named, {"BLEU": BLEU(references=gold)}, None, test_type=test, n_samples=1000)()
        assert scores == pytest.approx([r.score for r in results["BLEU"]])
        return [r.p_value for r in results["BLEU"][1:]]

    differences = [(scores[i] - scores[0], draws[i] - draws[0]) for i in (1, 2, 3)]
    # its randomization test has the same two sides
    ps = [paired_p(*pair, 80) for pair in differences]
    assert ps == pytest.approx(sacrebleus("ar"), abs=0.05)
    assert ps[0] > 0.1 > ps[2]  # the comparison spans what is not significant and what is
    # its bootstrap takes absolute values before it shifts, which counts one side; by that formula our draws are its
    one_sided = [(1 + np.sum(np.abs(d) - np.abs(d).mean() > abs(delta))) / (len(d) + 1) for delta, d in differences]
    assert one_sided == pytest.approx(sacrebleus("bs"), abs=0.04)


@given(DRAWS, st.floats(-50, 50))
def test_p_counts_what_the_formula_counts(draws: list[float], difference: float) -> None:
    strays = sum(abs(d - difference) >= abs(difference) - 1e-9 for d in draws)
    p = paired_p(difference, np.array(draws), 10**12)
    assert p == pytest.approx((1 + strays) / (len(draws) + 1))
    assert paired_p(-difference, -np.array(draws), 10**12) == p
    several = exceed(np.array([difference, -difference]), np.array([draws, draws]))  # each row has a difference
    assert several.tolist() == [strays, sum(abs(d + difference) >= abs(difference) - 1e-9 for d in draws)]


def test_identical_systems_have_p_one_and_missing_draws_count_against() -> None:
    many = 10**12
    assert paired_p(0.0, np.zeros(99), many) == 1.0
    assert paired_p(5.0, np.full(99, 5.0), many) == pytest.approx(0.01)
    assert paired_p(5.0, np.array([*np.full(98, 5.0), np.nan]), many) == pytest.approx(0.02)


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


@given(SCORES, st.data())
def test_over_the_same_seeds_it_is_the_paired_t_test(stats: Any, mine: list[float], data: st.DataObject) -> None:
    theirs = data.draw(st.lists(st.integers(0, 1000).map(lambda n: n / 10), min_size=len(mine), max_size=len(mine)))
    found = seed_test(dict(enumerate(mine)), dict(enumerate(theirs)))
    assert found is not None and found.seeds == len(mine)
    differences = np.subtract(mine, theirs)
    if np.ptp(differences) < 1e-6:  # without spread t is not defined: what is left is that all have one sign
        same_sign = stats.binomtest(len(mine), len(mine)).pvalue
        assert found.p == pytest.approx(1.0 if abs(differences.mean()) < 1e-6 else same_sign)
        return
    expected = stats.ttest_rel(mine, theirs)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-9)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-6, abs=1e-6)


@given(SCORES.filter(lambda scores: max(scores) > min(scores)), st.floats(0, 100))
def test_against_what_was_not_trained_it_is_the_t_test_of_one_sample(
    stats: Any, mine: list[float], other: float
) -> None:
    expected = stats.ttest_1samp(mine, other)
    found, back = seed_test(dict(enumerate(mine)), {None: other}), seed_test({None: other}, dict(enumerate(mine)))
    assert found is not None and back is not None and found.seeds == back.seeds == len(mine)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-9) and back.p == found.p
    low, high = expected.confidence_interval(0.95)
    assert found.interval == pytest.approx((low - other, high - other), abs=1e-6)
    assert back.interval == pytest.approx((other - high, other - low), abs=1e-6)


@given(SCORES.filter(lambda scores: max(scores) > min(scores)), st.floats(0, 100), st.sampled_from([0, 7]))
def test_a_training_of_one_seed_is_taken_to_vary_as_the_other_row_does(
    stats: Any, mine: list[float], other: float, seed: int
) -> None:
    """Student's test of two samples of which one has a single value."""
    expected = stats.ttest_ind(mine, [other])  # pooled variance, n + 1 - 2 degrees of freedom
    found, back = seed_test(dict(enumerate(mine)), {seed: other}), seed_test({seed: other}, dict(enumerate(mine)))
    assert found is not None and back is not None and found.seeds == back.seeds == len(mine)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-9) and back.p == found.p
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=1e-6)


def test_of_other_seeds_variances_are_added_and_it_is_never_bolder_than_welch(stats: Any) -> None:
    rng = np.random.default_rng(0)
    for few, many in ((2, 5), (3, 4), (5, 5)):
        one, two = rng.normal(50, 2, few), rng.normal(53, 4, many)
        found = seed_test(dict(enumerate(one)), {seed + 100: score for seed, score in enumerate(two)})
        assert found is not None and found.seeds == few
        t = (one.mean() - two.mean()) / math.sqrt(one.var(ddof=1) / few + two.var(ddof=1) / many)
        assert found.p == pytest.approx(2 * stats.t.sf(abs(t), few - 1))
        assert found.p >= stats.ttest_ind(one, two, equal_var=False).pvalue


def test_single_runs_have_no_test_over_seeds_and_seeds_all_alike_have_the_sign_tests() -> None:
    assert seed_test({0: 50.0}, {0: 40.0}) is None and seed_test({None: 50.0}, {3: 40.0}) is None
    same, apart = seed_test({0: 50.0, 1: 50.0}, {None: 50.0}), seed_test({0: 50.0, 1: 50.0}, {None: 40.0})
    assert same is not None and apart is not None
    assert (same.p, same.interval) == (1.0, (0.0, 0.0)) and (apart.p, apart.interval) == (0.5, (10.0, 10.0))


@pytest.mark.parametrize("resamples", [100, 2000, 8000])
def test_bounds_of_p_are_no_narrower_than_the_exact_ones(stats: Any, resamples: int) -> None:
    """Chernoff's are wider than those of Clopper and Pearson, which are as wide as need be."""
    strays = np.unique(np.geomspace(1, resamples, 30).astype(int))
    low, high = p_bounds(np.array([0, *strays], float), np.full(len(strays) + 1, float(resamples)))
    for k, mine in zip([0, *strays], zip(low, high, strict=True), strict=True):
        exact = stats.binomtest(int(k), resamples).proportion_ci(0.999, "exact")
        assert mine[0] <= exact.low + 1e-9 and exact.high - 1e-9 <= mine[1]
        assert mine[0] <= k / resamples <= mine[1]
        assert mine[1] - mine[0] < 2 * (exact.high - exact.low) + 1e-9  # and not much wider
    assert (1 - high[0]) ** resamples == pytest.approx(0.001 / 2)
    assert low[0] == 0.0 and high[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("family", [1, 12, 200])
def test_what_is_detectable_is_found_four_times_in_five(stats: Any, family: int) -> None:
    draws = np.random.default_rng(0).normal(3, 1.7, 2000)
    smallest = detectable(draws, family, 10**9)
    assert smallest is not None
    in_errors = smallest / np.std(draws)
    assert in_errors == pytest.approx(stats.norm.ppf(1 - 0.05 / 2 / family) + stats.norm.ppf(0.8))
    strictest = stats.norm.isf(0.05 / 2 / family)  # of a two-sided z test at the strictest step of Holm's correction
    assert stats.norm.sf(strictest - in_errors) == pytest.approx(0.8)
    assert detectable(np.array([1.0, np.nan]), family, 9) is None and detectable(np.full(9, 2.0), family, 9) == 0.0
    of_twelve = detectable(draws, family, 12)
    assert of_twelve is not None and detectable(draws, family, 1) is None
    ts = stats.t.ppf(1 - 0.05 / 2 / family, 11) + stats.t.ppf(0.8, 11)
    assert of_twelve / np.std(draws) == pytest.approx(ts * math.sqrt(12 / 11), rel=0.03)
