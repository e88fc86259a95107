"""Sums and products of rewards: their arithmetic, what does not apply, what they say of themselves."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.rewards import Batch, Reward, checked_scores, load_reward, measure
from speechbench.rewards.combined import Product, Sum, standardised


class Given(Reward):
    """Scores that the test sets, by the text."""

    is_pure = True

    def __init__(self, display: str, scores: Mapping[str, float | None], **attributes: Any) -> None:
        self.display, self.scores = display, scores
        vars(self).update(attributes)

    def score(self, batch: Batch) -> list[float | None]:
        return [self.scores[text] for text in batch.hypotheses]

    def signature(self) -> Mapping[str, Any]:
        return {"name": self.display}

    def usage(self) -> Mapping[str, float]:
        return {"requests": 2.0}


class Corpus(Benchmark):
    name = "corpus"
    target_language = "de"
    comet_checkpoint = "tiny"

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        return []


A = Given("a", {"x": 0.5, "y": 1.0, "z": None})
B = Given("b", {"x": 0.25, "y": 0.0, "z": 0.5})


def example(name: str = "1", *references: str) -> Example:
    return Example(name, None, "", references or ("Der Hund schläft.",), f"The dog {name} sleeps.", "en", "de")


def batch(*texts: str, groups: int = 1) -> Batch:
    size = len(texts) // groups
    return Batch.of(texts, [example(str(place // size)) for place in range(len(texts))])


def test_sum_and_product_are_what_they_are_called() -> None:
    assert Sum([A, B], [2.0, -1.0]).score(batch("x", "y", "z")) == [0.75, 2.0, None]
    assert Product([A, B], 2.0).score(batch("x", "y", "z")) == [0.25, 0.0, None]
    assert Sum([A, B], [1.0, 1.0]).score(Batch.of([], [])) == []


def test_parts_are_scored_as_they_are_alone() -> None:
    hypotheses = ["Der Hund schläft.", "Ein Hund schlief.", ""]
    asked = Batch.of(hypotheses, [example()] * 3)
    bleu, chrf = (load_reward(name, Corpus()).score(asked) for name in ("bleu", "chrf"))
    whole = load_reward("0.7*bleu + 0.3*chrf", Corpus())
    assert whole.score(asked) == [0.0 + 0.7 * b + 0.3 * c for b, c in zip(bleu, chrf, strict=True)]  # type: ignore[operator]
    assert load_reward("bleu*chrf", Corpus()).score(asked) == [1.0 * b * c for b, c in zip(bleu, chrf, strict=True)]  # type: ignore[operator]
    assert load_reward("2*bleu", Corpus()).score(asked) == [2.0 * b for b in bleu]  # type: ignore[operator]


def test_combination_as_a_metric_is_the_mean_of_its_segments() -> None:
    whole = load_reward("0.5*bleu + 0.5*chrf", Corpus())
    examples = [example("1"), example("2", "Die Katze geht.")]
    measured = measure(whole, ["Der Hund schläft.", "Die Kuh geht."], examples)
    assert measured.display == "0.5*BLEU + 0.5*chrF"
    assert measured.corpus == pytest.approx(np.mean([s for s in measured.segments if s is not None]))
    assert measured.segments[0] == pytest.approx(100.0)


def test_normalized_sum_compares_within_the_group() -> None:
    """Against TRL's normalize_then_sum written out: each reward less its group's mean, over its std plus 1e-4."""
    wide = Given("wide", {"x": 0.0, "y": 100.0, "u": 5.0, "v": 7.0})
    narrow = Given("narrow", {"x": 0.2, "y": 0.1, "u": 0.3, "v": 0.3})
    reward = Sum([wide, narrow], [1.0, 2.0], "group")
    scores = reward.score(batch("x", "y", "u", "v", groups=2))
    for members in ("xy", "uv"):
        columns = [np.array([part.scores[m] for m in members], dtype=float) for part in (wide, narrow)]
        expected = sum(w * (c - c.mean()) / (c.std(ddof=1) + 1e-4) for w, c in zip((1.0, 2.0), columns, strict=True))
        found = [score for score, text in zip(scores, "xyuv", strict=True) if text in members]
        assert found == pytest.approx(list(expected))
    assert Sum([wide, narrow], [1.0, 2.0]).score(batch("x", "y", groups=1)) != scores[:2]
    assert not reward.is_pure


def test_who_has_no_score_leaves_the_group_of_all_parts() -> None:
    other = Given("other", {"x": 3.0, "y": 5.0, "z": 1000.0})
    assert Sum([A, other], [1.0, 1.0], "group").score(batch("x", "y", "z"))[:2] == pytest.approx(
        Sum([A, other], [1.0, 1.0], "group").score(batch("x", "y"))
    )


@given(st.lists(st.lists(st.floats(-5, 5), min_size=4, max_size=4), min_size=1, max_size=3))
def test_standardised_scores_have_mean_0_and_at_most_deviation_1(columns: list[list[float]]) -> None:
    result = standardised(np.array(columns), ["a", "a", "a", "a"])
    assert np.allclose(result.mean(axis=1), 0, atol=1e-6)
    assert (result.std(axis=1, ddof=1) <= 1 + 1e-9).all()


def test_normalized_sum_is_no_metric() -> None:
    reward = load_reward("sum(bleu + chrf, normalize=group)", Corpus())
    with pytest.raises(UsageError, match="compares the hypotheses of a group, which only training has"):
        measure(reward, ["a"], [example()])


def test_what_a_combination_says_of_itself() -> None:
    whole = load_reward("0.7*bleu + 0.3*comet", Corpus())
    assert whole.display == "0.7*BLEU + 0.3*comet[tiny]"
    assert str(whole.spec) == "0.7*bleu + 0.3*comet(model=tiny)"
    assert whole.needs == {"reference", "source"}
    assert whole.range == (-math.inf, math.inf) and whole.maximum is None
    product = Product([Given("a", {}, maximum=1.0), Given("b", {}, maximum=0.5, range=(0.0, 0.5))], 3.0)
    assert (product.range, product.maximum) == ((0.0, 1.5), 1.5)
    signed = Product([Given("a", {}, range=(-2.0, 1.0)), Given("b", {}, range=(0.0, math.inf))], -1.0)
    assert signed.range == (-math.inf, math.inf)
    total = Sum([Given("a", {}, maximum=1.0), Given("b", {}, maximum=1.0)], [1.0, 2.0])
    assert (total.range, total.maximum) == ((0.0, 3.0), 3.0)
    less = Sum([Given("a", {}, maximum=1.0), Given("b", {}, maximum=1.0)], [1.0, -2.0])
    assert (less.range, less.maximum, less.display) == ((-2.0, 1.0), None, "a - 2*b")
    assert not load_reward("bleu + random", Corpus()).is_pure


def test_weights_normalisation_and_parts_are_in_the_signature() -> None:
    specs = ["bleu + chrf", "bleu + 2*chrf", "bleu + chrf(word_order=2)", "bleu*chrf", "2*bleu*chrf"]
    specs += ["sum(bleu + chrf, normalize=group)"]
    signatures = {json.dumps(load_reward(spec, Corpus()).signature(), sort_keys=True) for spec in specs}
    assert len(signatures) == len(specs)


def test_time_and_use_of_the_parts_are_counted() -> None:
    whole = Sum([A, Product([B], 2.0)], [1.0, 1.0])
    assert whole.part_seconds() == {}
    whole.score(batch("x", "y"))
    assert set(whole.part_seconds()) == {"a", "2*b"} and min(whole.part_seconds().values()) > 0
    assert whole.usage() == {"requests": 4.0}


def test_failing_part_is_named() -> None:
    with pytest.raises(SpeechbenchError, match="reward b failed on example '0' with the hypothesis 'unknown'"):
        checked_scores(Product([Given("a", {"unknown": 1.0}), B]), batch("unknown"))


def test_what_applies_nowhere_says_what_is_lacking() -> None:
    lacking = Example("1", None, "", ("Ja.",), None, "en", "de")
    with pytest.raises(SpeechbenchError, match=r"applies?.*no source|no score.*no source"):
        checked_scores(load_reward("bleu + comet", Corpus()), Batch.of(["Ja."], [lacking]))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("sum(bleu, normalize=batch)", "write group, or none"),
        ("sum(bleu, chrf, weights=2)", "it takes rewards, and normalize"),
        ("sum", "reward sum: it takes rewards, and normalize, as in sum"),
        ("product", r"reward product: it takes rewards, as in bleu\*language"),
        ("bleu-chrf", "where a minus is meant, put spaces around it: bleu - chrf"),
        ("bleu-0.1*length", r"put spaces around it: bleu - 0\.1"),
        ("bleu/2", "there is no division; write a weight"),
        ("shuffled(0.5*shuffled(bleu) + chrf)", "is shuffled already, which may undo it"),
        ("shuffled(bleu, chrf)", "it takes one other reward"),
        ("shuffled", "it takes one other reward"),
        ("bleu + chfr", "did you mean 'chrf'"),
    ],
)
def test_what_is_refused(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_reward(spec, Corpus())


def test_combination_of_controls_is_a_control() -> None:
    assert load_reward("0.5*random + 0.5*length", Corpus()).family == load_reward("2*random").family == "control"
    assert load_reward("0.5*random + bleu", Corpus()).family == "combined"


def test_parts_for_different_languages_do_not_go_together() -> None:
    german, french = (Given(name, {}, languages=frozenset(name.split())) for name in ("de en", "fr"))
    with pytest.raises(UsageError, match="de en and fr are for different languages: take one"):
        Sum([german, french], [1.0, 1.0])
    assert Sum([german, A], [1.0, 1.0]).languages == {"de", "en"}


def test_shuffled_groups_stay_apart_though_they_share_a_partner() -> None:
    """Standardising within the group goes by the prompts, not by the examples that they are scored against."""
    reward = load_reward("shuffled(sum(bleu + chrf, normalize=group))", Corpus())
    partner = example("3", "Der Hund geht nach Hause.")
    mine = [example("1"), example("2")]
    reward._partners = {"1": partner, "2": partner}  # type: ignore[attr-defined]
    texts = ["Der Hund.", "Ein Haus.", "Der Hund geht.", "Nach Hause."]
    together = reward.score(Batch.of(texts, [mine[0]] * 2 + [mine[1]] * 2))
    alone = [reward.score(Batch.of(texts[at : at + 2], [mine[at // 2]] * 2)) for at in (0, 2)]
    assert together == alone[0] + alone[1]


def test_shuffled_sum_looks_at_the_other_example() -> None:
    examples = [example("1"), example("2", "Drei Katzen gehen nach Hause.")]
    reward = load_reward("shuffled(0.5*bleu + 0.5*chrf)", Corpus())
    plain = load_reward("0.5*bleu + 0.5*chrf", Corpus())
    reward.prepare(examples)
    texts = [e.references[0] for e in examples]
    assert reward.score(Batch.of(texts, examples)) == plain.score(Batch.of(texts, examples[::-1]))
    assert reward.display == "shuffled(0.5*BLEU + 0.5*chrF)" and reward.family == "control"
