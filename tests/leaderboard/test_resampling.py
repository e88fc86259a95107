"""Resamples of the test set, against slow and obvious ones."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbench.aggregate import AGGREGATES
from speechbench.errors import UsageError
from speechbench.leaderboard.drawing import ROWS_AT_ONCE, SEED, blocks, flips, resample_counts, seed_shares
from speechbench.leaderboard.resampling import Corpora, System, bootstrap


def mean_statistics(scores: np.ndarray) -> np.ndarray:
    return np.stack([scores, np.ones_like(scores)], axis=1)


def all_counts(clusters: int, resamples: int) -> np.ndarray:
    return np.concatenate([resample_counts(clusters, *its) for its in blocks(clusters, 0, resamples)])


def test_resamples_draw_n_of_n_and_are_the_same_each_time() -> None:
    counts = all_counts(700, 2500)
    assert counts.shape == (2500, 700)
    assert (counts.sum(axis=1) == 700).all()
    assert len(np.unique(counts, axis=0)) == 2500  # no block is that of another
    np.testing.assert_array_equal(counts, all_counts(700, 2500))
    # each count is binomial(700, 1/700), whose variance is just under 1
    assert counts.var() == pytest.approx(1 - 1 / 700, rel=0.01)


def test_each_block_is_its_own_generators_draw() -> None:
    for block in (0, 3):
        drawn = np.random.default_rng([SEED, block]).integers(70, size=(ROWS_AT_ONCE, 70))
        expected = [np.bincount(row, minlength=70) for row in drawn[20:40]]
        np.testing.assert_array_equal(resample_counts(70, block, slice(20, 40)), expected)


@given(st.integers(1, 3_000_000), st.integers(0, 5000), st.integers(0, 5000))
def test_blocks_hold_each_resample_once_whatever_was_there_before(clusters: int, start: int, more: int) -> None:
    def rows(first: int, last: int) -> list[tuple[int, int]]:
        return [(block, row) for block, its in blocks(clusters, first, last) for row in range(its.start, its.stop)]

    assert rows(0, start) + rows(start, start + more) == rows(0, start + more)
    assert len(rows(start, start + more)) == len(set(rows(start, start + more))) == more


@pytest.mark.parametrize("resamples", [300, 1000, 1700])
def test_more_resamples_go_on_from_fewer_for_any_of_the_systems(resamples: int) -> None:
    rng = np.random.default_rng(0)
    systems = [mean_statistics(rng.normal(50, 20, 30)) for _ in range(4)]
    np.testing.assert_array_equal(all_counts(30, 2 * resamples)[:resamples], all_counts(30, resamples))
    _, few = bootstrap(systems, ["mean"] * 4, resamples)
    _, many = bootstrap(systems, ["mean"] * 4, 2 * resamples)
    _, some = bootstrap(systems[1:3], ["mean"] * 2, 2 * resamples)
    np.testing.assert_allclose(many[:, :resamples], few, rtol=1e-13)
    np.testing.assert_allclose(many[1:3], some, rtol=1e-13)


def test_bootstrap_is_the_slow_one() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(50, 20, 40), rng.normal(55, 20, 40)
    applies = rng.random(40) < 0.8
    errors = np.stack([rng.integers(0, 5, 40), np.full(40, 9)], axis=1).astype(float)  # two statistics, as the means
    systems, names = [mean_statistics(a), errors, mean_statistics(b)], ["mean", "rate", "mean"]
    scores, draws = bootstrap(systems, names, 50, applies=[None, None, applies])
    assert scores == pytest.approx([a.mean(), 100 * errors[:, 0].sum() / 360, b[applies].mean()])
    for row, counts in enumerate(all_counts(40, 50).astype(int)):
        drawn = np.repeat(np.arange(40), counts)
        assert draws[0, row] == pytest.approx(a[drawn].mean())
        assert draws[1, row] == pytest.approx(100 * errors[drawn, 0].sum() / 360)
        assert draws[2, row] == pytest.approx(b[drawn][applies[drawn]].mean())


def test_clusters_are_drawn_whole() -> None:
    rng = np.random.default_rng(1)
    scores, cluster = rng.normal(50, 20, 60), rng.permutation(np.arange(60) % 7)  # 8 or 9 examples each
    applies = rng.random(60) < 0.7
    whole, draws = bootstrap([mean_statistics(scores)] * 2, ["mean"] * 2, 50, [None, applies], cluster)
    assert whole == pytest.approx([scores.mean(), scores[applies].mean()])
    members = [np.flatnonzero(cluster == number) for number in range(7)]
    for row, counts in enumerate(all_counts(7, 50).astype(int)):
        drawn = np.concatenate([members[number] for number in np.repeat(np.arange(7), counts)])
        assert draws[0, row] == pytest.approx(scores[drawn].mean())
        assert draws[1, row] == pytest.approx(scores[drawn][applies[drawn]].mean())


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


def test_no_system_has_no_score() -> None:
    scores, draws = bootstrap([], [], 10)
    assert scores.shape == (0,) and draws.shape == (0, 10)


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
    assert many < 1.1 * few < 50e6


def test_flips_are_fair_coins_of_their_own() -> None:
    drawn = flips(50, 2)
    assert drawn.shape == (ROWS_AT_ONCE, 50) and set(np.unique(drawn)) == {-1.0, 1.0}
    assert abs(drawn.mean()) < 4 / np.sqrt(drawn.size)
    np.testing.assert_array_equal(flips(50, 2, slice(5, 9)), drawn[5:9])
    assert not np.array_equal(drawn, flips(50, 3))
    as_examples = np.random.default_rng([SEED, 2]).integers(2, size=drawn.shape, dtype=np.int8)
    assert not np.array_equal(drawn > 0, as_examples > 0)  # not the draw of the examples over again


@settings(max_examples=30)
@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=8, unique=True), st.integers(0, 9))
def test_seeds_are_drawn_as_many_as_there_are_alike_for_all_rows_that_have_them(seeds: list[int], block: int) -> None:
    shares = seed_shares(seeds, block)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    np.testing.assert_allclose(shares * len(seeds), np.round(shares * len(seeds)), atol=1e-9)
    np.testing.assert_array_equal(seed_shares(seeds, block, slice(3, 8)), shares[3:8])
    if len(seeds) > 1:
        assert not np.array_equal(shares, seed_shares(seeds, block + 1))
        assert not np.array_equal(shares, seed_shares([seed + 1 for seed in seeds], block))


@pytest.mark.parametrize("clustered", [False, True])
def test_changing_outputs_over_is_the_slow_way(clustered: bool) -> None:
    rng = np.random.default_rng(4)
    errors = [np.stack([rng.integers(0, 9, 12), np.full(12, 9)], axis=1).astype(float) for _ in range(2)]
    means = [mean_statistics(rng.normal(50, 9, 12)) for _ in range(3)]
    cluster = np.arange(12) // 3 if clustered else None
    everywhere = np.ones(12, np.bool_)
    names = ["rate", "mean", "mean", "rate", "mean"]
    values = [errors[0], means[0], means[1], errors[1], means[2]]
    corpora = Corpora([System(v, everywhere, n) for v, n in zip(values, names, strict=True)], cluster)
    signs = flips(corpora.clusters, 0, slice(0, 20))
    pairs = [(0, 3), (1, 2), (4, 1)]
    changed_over = corpora.changed_over(signs)
    for mine, theirs in pairs:
        one, two = changed_over(mine, theirs)
        for row, its in enumerate(signs):
            kept = (its if cluster is None else its[cluster])[:, None] > 0
            a = np.where(kept, values[mine], values[theirs]).sum(axis=0)
            b = np.where(kept, values[theirs], values[mine]).sum(axis=0)
            assert one[row] == pytest.approx(float(AGGREGATES[names[mine]](a)))
            assert two[row] == pytest.approx(float(AGGREGATES[names[mine]](b)))


@pytest.mark.parametrize("largest", [200, 2**24 // 60 - 1, 2**24 // 60 + 1, 2**40])
@pytest.mark.parametrize("clustered", [False, True])
def test_whole_numbers_are_summed_exactly_whatever_their_size(largest: int, clustered: bool) -> None:
    rng = np.random.default_rng(largest)
    numbers = [rng.integers(largest // 2, largest, (60, 2), endpoint=True) for _ in range(20)]
    systems = [System(its.astype(float), np.ones(60, np.bool_), "rate") for its in numbers]
    cluster = np.arange(60) // 2 if clustered else None
    corpora = Corpora(systems, cluster)
    counts = resample_counts(corpora.clusters, 0, slice(0, 50))
    often = (counts if cluster is None else counts[:, cluster]).astype(np.int64)
    sums = np.stack([often @ its for its in numbers])  # of integers
    np.testing.assert_array_equal(corpora.resampled(counts), 100.0 * (sums[..., 0] / sums[..., 1]))
    totals = np.stack([its.sum(axis=0) for its in numbers])
    np.testing.assert_array_equal(corpora.scores(), 100.0 * (totals[:, 0] / totals[:, 1]))


def test_more_resamples_than_memory_holds_are_refused() -> None:
    with pytest.raises(UsageError, match="give at most 1000000"):
        bootstrap([np.ones((3, 2))], ["mean"], 10**9)
