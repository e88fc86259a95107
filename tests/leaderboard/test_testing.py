"""Tests of pairs of rows, against slow and obvious ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.significance import PairedTest

from speechbench.aggregate import AGGREGATES
from speechbench.errors import UsageError
from speechbench.leaderboard import testing
from speechbench.leaderboard.drawing import flips
from speechbench.leaderboard.resampling import System, bootstrap
from speechbench.leaderboard.seeds import seed_test
from speechbench.leaderboard.statistics import ALPHA, holm, of_few, p_bounds, paired_p, smallest_p
from speechbench.leaderboard.testing import ENOUGH, START, Pair, measured_and_tested


def of_scores(scores: np.ndarray, seed: int | None = None) -> System:
    statistics = np.stack([scores, np.ones_like(scores)], axis=1)
    return System(statistics, np.ones(len(scores), np.bool_), "mean", seed)


def against_first(rows: Mapping[int, Sequence[System]], family: str = "") -> dict[int, Pair[int]]:
    return {place: Pair(place, 0, family) for place in rows if place}


@pytest.fixture
def shifted() -> dict[int, list[System]]:
    """Forty rows of one run each: the first, and others that are better by 0, by a little, by more and more."""
    rng = np.random.default_rng(0)
    first = rng.normal(50, 10, 60)
    return {place: [of_scores(first + rng.normal(place / 8, 10, 60) * (place > 0))] for place in range(40)}


def test_p_is_that_of_the_paired_bootstrap_and_holms_over_the_planned_family(shifted: dict[int, list[System]]) -> None:
    found, tested = measured_and_tested(shifted, against_first(shifted), {"": 45}, 500)
    systems = [its[0] for its in shifted.values()]
    scores, draws = bootstrap([s.statistics for s in systems], ["mean"] * 40, 500)
    raw = [paired_p(scores[place] - scores[0], draws[place] - draws[0], 60) for place in range(1, 40)]
    assert [tested[place].p for place in range(1, 40)] == raw
    assert [tested[place].p_holm for place in range(1, 40)] == holm(raw, 45)
    assert {its.resamples for its in tested.values()} == {500} and tested[1].pigeonhole is tested[1].seeds is None
    for place, its in found.items():
        assert its.score == pytest.approx(scores[place]) and its.by_seed == {None: pytest.approx(scores[place])}
        np.testing.assert_allclose(its.draws, draws[place])
    np.testing.assert_allclose(tested[3].draws, draws[3] - draws[0])


def test_families_are_corrected_apart_and_the_order_of_pairs_is_no_matter(shifted: dict[int, list[System]]) -> None:
    pairs = {place: Pair(place, 0, f"family {place % 3}") for place in range(1, 40)}
    families = {"family 0": 13, "family 1": 20, "family 2": 100}
    _, tested = measured_and_tested(shifted, pairs, families)
    for number, (name, planned) in enumerate(families.items()):
        places = [place for place in pairs if place % 3 == number]
        assert [tested[place].p_holm for place in places] == holm([tested[place].p for place in places], planned), name
    _, turned = measured_and_tested(shifted, dict(reversed(pairs.items())), families)
    assert {key: (its.p, its.p_holm, its.resamples) for key, its in turned.items()} == {
        key: (its.p, its.p_holm, its.resamples) for key, its in tested.items()
    }
    alone = measured_and_tested(shifted, {5: pairs[5]}, families, 500)[1][5]
    assert alone.p == measured_and_tested(shifted, pairs, families, 500)[1][5].p


def verdicts(tested: Mapping[int, testing.Tested]) -> dict[int, bool]:
    return {key: its.p_holm < ALPHA for key, its in tested.items()}


@pytest.mark.parametrize("test", ["bootstrap", "randomisation"])
def test_borderline_tests_get_more_resamples_and_the_verdicts_of_the_most(
    shifted: dict[int, list[System]], test: str
) -> None:
    pairs, most = against_first(shifted), int(ENOUGH * 39 / ALPHA)
    _, tested = measured_and_tested(shifted, pairs, {"": 39}, test=test)
    counts = {its.resamples for its in tested.values()}
    assert START in counts and START < max(counts) <= most
    assert counts <= {START, 4 * START, most}
    _, all_of_them = measured_and_tested(shifted, pairs, {"": 39}, most, test=test)
    assert verdicts(tested) == verdicts(all_of_them)
    assert 0 < sum(verdicts(tested).values()) < 39
    for key, its in tested.items():
        assert its.p == pytest.approx(all_of_them[key].p, abs=4 * np.sqrt(its.p / its.resamples))
        if its.resamples == most:
            assert its.p == all_of_them[key].p  # the same resamples
        assert len(its.draws) == START  # intervals are of the first


def test_no_test_whose_verdict_2000_leave_open_is_left_with_2000(shifted: dict[int, list[System]]) -> None:
    """Of a large family the smallest p of 2,000 resamples is not small enough."""
    rows = {**shifted, 40: [of_scores(shifted[0][0].statistics[:, 0] + np.arange(60.0))]}
    for planned in (2, 10, 100):
        _, tested = measured_and_tested(rows, {1: Pair(40, 0), 2: Pair(1, 0)}, {"": planned})
        enough = [its for its in tested.values() if its.p_holm < ALPHA]
        assert [its.p for its in enough] == [
            smallest_p(enough[0].resamples, 60, "bootstrap")
        ]  # nothing strays as far as the first
        high = p_bounds(np.zeros(1), np.array([float(enough[0].resamples)]))[1]
        assert planned * of_few(high, np.array([60]))[0] < ALPHA
        assert enough[0].resamples <= ENOUGH * planned / ALPHA or enough[0].resamples == START
        assert tested[2].resamples == START and tested[2].p > 0.3
    assert enough[0].resamples > START


def test_what_the_seeds_decide_gets_no_more_resamples() -> None:
    """Two seeds that disagree are no evidence, however many resamples there are."""
    rng = np.random.default_rng(0)
    examples = rng.normal(50, 10, 60)
    rows = {
        0: [of_scores(examples)],
        1: [of_scores(examples + gain + rng.normal(0, 1, 60), seed) for seed, gain in enumerate((0.2, 9.0))],
        2: [of_scores(examples + 4.6 + rng.normal(0, 1, 60))],
    }
    _, tested = measured_and_tested(rows, against_first(rows), {"": 500})
    seeded, single = tested[1], tested[2]
    assert seeded.seeds is not None and seeded.p == seeded.seeds.p > ALPHA
    assert seeded.resamples == START < single.resamples and single.p_holm < ALPHA


def test_a_given_number_of_resamples_is_exactly_that_many(shifted: dict[int, list[System]]) -> None:
    for resamples in (1, 100, 2500):
        found, tested = measured_and_tested(shifted, against_first(shifted), {"": 10_000}, resamples)
        assert {its.resamples for its in tested.values()} == {resamples}
        assert {len(its.draws) for its in found.values()} == {resamples}


@pytest.mark.parametrize("aggregate", ["mean", "rate", "bleu"])
@pytest.mark.parametrize("clustered", [False, True])
def test_randomisation_is_the_enumeration_of_all_ways_to_change_over(aggregate: str, clustered: bool) -> None:
    rng = np.random.default_rng(5)
    width = {"mean": 2, "rate": 2, "bleu": 10}[aggregate]
    one, two = (rng.integers(1, 9, size=(9, width)).astype(float) for _ in range(2))
    if aggregate == "bleu":  # no more n-grams are right than there are
        for its in (one, two):
            its[:, :4] = np.minimum(its[:, :4], its[:, 4:8])
    cluster = np.arange(9) // 2 if clustered else np.arange(9)
    score = AGGREGATES[aggregate]
    difference = float(score(one.sum(axis=0)) - score(two.sum(axis=0)))
    apart = []
    for pattern in product((False, True), repeat=int(cluster.max()) + 1):
        over = np.array(pattern)[cluster][:, None]
        a, b = np.where(over, two, one).sum(axis=0), np.where(over, one, two).sum(axis=0)
        apart.append(abs(float(score(a) - score(b))) >= abs(difference) - 1e-9)
    exact = np.mean(apart)
    everywhere, resamples = np.ones(9, np.bool_), 20_000
    rows = {0: [System(one, everywhere, aggregate)], 1: [System(two, everywhere, aggregate)]}
    _, tested = measured_and_tested(rows, {0: Pair(0, 1)}, {"": 1}, resamples, cluster, "randomisation")
    assert tested[0].p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / resamples) + 1 / resamples)


def test_randomisation_agrees_with_sacrebleus_within_monte_carlo_error() -> None:
    rng = np.random.default_rng(3)
    words = np.array(["der", "die", "Mann", "Frau", "liest", "sieht", "Buch", "Haus", "heute", "gern"])
    references = rng.choice(words, size=(80, 8))

    def system(quality: float) -> list[str]:
        kept = rng.random(references.shape) < quality
        return [" ".join(row) for row in np.where(kept, references, rng.choice(words, size=references.shape))]

    systems = [system(quality) for quality in (0.70, 0.72, 0.75, 0.85)]
    gold, rows = [[" ".join(row) for row in references]], {}
    for place, hypotheses in enumerate(systems):
        counts = np.array(BLEU()._extract_corpus_statistics(hypotheses, gold), dtype=float)
        lengths_last = np.concatenate([counts[:, 2:], counts[:, :2]], axis=1)
        rows[place] = [System(lengths_last, np.ones(80, np.bool_), "bleu")]
    _, tested = measured_and_tested(rows, against_first(rows), {"": 3}, 10_000, test="randomisation")
    named = [(str(place), hypotheses) for place, hypotheses in enumerate(systems)]
    _, results = PairedTest(named, {"BLEU": BLEU(references=gold)}, None, test_type="ar", n_samples=2000)()
    theirs = [result.p_value for result in results["BLEU"][1:]]
    for mine, its in zip(tested.values(), theirs, strict=True):
        assert mine.p == pytest.approx(its, abs=4 * np.sqrt(max(its * (1 - its), 1 / 2000) * (1 / 2000 + 1 / 10_000)))
    assert theirs[0] > 0.1 > theirs[2]


def with_seeds(seed_effect: float, gain: float, seeds: Sequence[int], rng: np.random.Generator) -> list[System]:
    examples = np.random.default_rng(1).normal(50, 10, 40)
    return [of_scores(examples + gain + rng.normal(0, seed_effect) + rng.normal(0, 5, 40), seed) for seed in seeds]


@pytest.mark.parametrize("others", [(None,), (0, 1, 2, 3, 4), (7, 8, 9, 10, 11, 12), (0, 1)])
@pytest.mark.parametrize(("effect", "gain"), [(0.0, 0.0), (1.0, 1.0), (3.0, 4.0), (0.0, 4.0)])
def test_p_of_rows_of_several_seeds_is_the_larger(others: Sequence[int], effect: float, gain: float) -> None:
    """Over seeds, and over examples; over both examples and seeds where each row has five seeds or is a single run."""
    rng = np.random.default_rng(0)
    rows = {0: with_seeds(effect, 0.0, others, rng), 1: with_seeds(effect, gain, range(5), rng)}
    found, tested = measured_and_tested(rows, {1: Pair(1, 0)}, {"": 1}, 300)
    its = tested[1]
    over_seeds = seed_test(found[1].by_seed, found[0].by_seed)
    assert over_seeds is not None and its.seeds == over_seeds
    draws = its.draws if its.pigeonhole is None else its.pigeonhole
    assert (its.pigeonhole is None) == (len(others) == 2)
    assert its.p == pytest.approx(max(over_seeds.p, paired_p(its.difference, draws, 40)))
    _, drawn = bootstrap([s.statistics for row in rows.values() for s in row], ["mean"] * (len(others) + 5), 300)
    np.testing.assert_allclose(its.draws, drawn[-5:].mean(axis=0) - drawn[:-5].mean(axis=0), atol=1e-9)


@pytest.mark.parametrize("others", [(None,), (0, 1, 2, 3, 4), (0, 1)])
def test_of_randomisation_too_p_is_the_larger(others: Sequence[int]) -> None:
    rng = np.random.default_rng(1)
    rows = {0: with_seeds(1.0, 0.0, others, rng), 1: with_seeds(1.0, 1.0, range(5), rng)}
    its = measured_and_tested(rows, {1: Pair(1, 0)}, {"": 1}, 500, test="randomisation")[1][1]
    apart = []
    for signs in flips(40, 0, slice(0, 500)):
        kept = signs > 0
        scores = {place: [s.statistics[:, 0] for s in systems] for place, systems in rows.items()}
        pairs = zip(scores[1], scores[0], strict=True) if len(others) == 5 else product(scores[1], scores[0])
        apart.append(np.mean([np.where(kept, a, b).mean() - np.where(kept, b, a).mean() for a, b in pairs]))
    strays = np.sum(np.abs(apart) >= abs(its.difference) - 1e-9)
    assert its.seeds is not None and its.pigeonhole is None
    assert its.p == pytest.approx(max(its.seeds.p, (1 + strays) / 501))
    unseeded = {place: [replace(system, seed=None) for system in systems] for place, systems in rows.items()}
    over_examples = measured_and_tested(unseeded, {1: Pair(1, 0)}, {"": 1}, 500, test="randomisation")[1][1]
    assert over_examples.p == pytest.approx((1 + strays) / 501)


def test_examples_and_seeds_drawn_together_spread_as_both_do() -> None:
    """Where seeds add to the score and do not change what is hard, variances add up exactly."""
    rng = np.random.default_rng(2)
    examples, seeds = rng.normal(50, 10, 30), rng.normal(0, 3, 6)
    rows = {
        0: [of_scores(np.full(30, 50.0))],
        1: [of_scores(examples + effect, number) for number, effect in enumerate(seeds)],
    }
    its = measured_and_tested(rows, {1: Pair(1, 0)}, {"": 1}, 20_000)[1][1]
    assert its.pigeonhole is not None
    expected = examples.var() / 30 + seeds.var() / 6
    assert its.pigeonhole.var() == pytest.approx(expected, rel=0.05)
    assert its.pigeonhole.mean() == pytest.approx(its.difference, abs=4 * np.sqrt(expected / 20_000))
    assert its.draws.var() == pytest.approx(examples.var() / 30, rel=0.05)


def test_the_same_seeds_are_drawn_for_both_rows() -> None:
    """So a difference that each seed shows alike does not spread over seeds, however much they do."""
    rng = np.random.default_rng(3)
    examples, effects = rng.normal(50, 10, 30), rng.normal(0, 30, 5)
    rows = {
        row: [of_scores(examples + effect + row, number) for number, effect in enumerate(effects)] for row in (0, 1)
    }
    its = measured_and_tested(rows, {1: Pair(1, 0)}, {"": 1}, 200)[1][1]
    assert its.pigeonhole is not None
    np.testing.assert_allclose(its.pigeonhole, 1.0)
    assert its.p == 2.0**-4  # of five seeds that say exactly the same


def test_a_row_without_a_score_and_a_pair_without_a_common_example_are_left_out() -> None:
    rng = np.random.default_rng(0)
    whole = of_scores(rng.normal(size=20))
    some, others = whole.on(np.arange(20) < 10), whole.on(np.arange(20) >= 10)
    rows = {"whole": [whole], "some": [some], "others": [others], "none": [whole.on(np.zeros(20, np.bool_))]}
    names = [("whole", "some"), ("some", "others"), ("whole", "none"), ("whole", "missing")]
    found, tested = measured_and_tested(rows, {pair: Pair(*pair) for pair in names}, {"": 4}, 200)
    assert found.keys() == {"whole", "some", "others"}
    assert tested.keys() == {("whole", "some")}
    its = tested["whole", "some"]
    assert (its.examples, its.difference, its.p) == (10, 0.0, 1.0)  # on what both have they are the same
    assert its.p_holm == 1.0


def test_nothing_to_test_is_nothing_tested() -> None:
    assert measured_and_tested({}, {}, {}) == ({}, {})
    found, tested = measured_and_tested({0: [of_scores(np.arange(5.0))]}, {}, {}, None)
    assert found[0].score == 2.0 and tested == {}


def test_resamples_are_told_up_to_what_was_to_be_done(shifted: dict[int, list[System]]) -> None:
    told: list[tuple[str, int, int]] = []
    _, tested = measured_and_tested(shifted, against_first(shifted), {"": 39}, tick=lambda *its: told.append(its))
    assert {what for what, _, _ in told} == {"resampling"} and all(done <= of for _, done, of in told)
    assert told[0] == ("resampling", 1000, START)
    assert max(done for _, done, _ in told) == max(its.resamples for its in tested.values())


@pytest.mark.parametrize(("test", "told"), [("randomization", "did you mean 'randomisation'"), ("t", "none of")])
def test_a_test_that_is_none_is_refused_with_the_nearest(test: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        measured_and_tested({}, {}, {}, test=test)


@pytest.mark.parametrize("resamples", [0, -5, 1.5])
def test_a_number_of_resamples_that_is_none_is_refused(resamples: int) -> None:
    with pytest.raises(UsageError, match="give a whole number of at least 1"):
        measured_and_tested({}, {}, {}, resamples)
