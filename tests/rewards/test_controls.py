"""The controls: each follows what it says (the seeds, the model, the length) and nothing else."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from speechbench.benchmarks.base import Example
from speechbench.errors import UsageError
from speechbench.rewards import Batch, checked_scores, load_reward, measure
from speechbench.rewards.controls import Confidence, Constant, Length, Random

ITEM = Example("id", None, "", ("Ja.",), None, "en", "de")


def test_constant() -> None:
    batch = Batch.of(["", "Ja."], [ITEM, ITEM])
    assert Constant().score(batch) == [0.5, 0.5]
    assert Constant(-2).score(batch) == [-2.0, -2.0]
    assert Constant(-2).range == (-2.0, 1.0)
    assert Constant().signature() != Constant(0.25).signature()


@pytest.mark.parametrize("value", [math.nan, math.inf, "half", None, True, False])
def test_constant_must_be_finite(value: object) -> None:
    with pytest.raises(UsageError, match="finite number"):
        Constant(value)  # type: ignore[arg-type]


def test_random_depends_on_the_seeds_alone() -> None:
    other = Example("other", None, "", ("Nein.",), None, "en", "de")
    first = Random().score(Batch(["a", "b", "c"], [ITEM] * 3, [7, 8, -7]))
    assert Random().score(Batch(["x", "", "z"], [other] * 3, [-7, 8, 7])) == first[::-1]
    assert len(set(first)) == 3


def test_random_is_uniform_and_independent_of_neighbouring_seeds() -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    count = 20_000
    values = np.array(Random().score(Batch.of([""] * count, [ITEM] * count)), dtype=float)
    assert values.min() >= 0.0 and values.max() < 1.0
    assert scipy_stats.kstest(values, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 4 / math.sqrt(count)


def test_confidence_is_what_the_model_says() -> None:
    batch = Batch(["", "Ja."], [ITEM, ITEM], [0, 1], logprobs=[-2.5, np.float32(-0.5)])
    assert checked_scores(load_reward("confidence"), batch) == [-2.5, -0.5]
    low, high = Confidence().range
    assert low == -math.inf and high == 0.0


def test_confidence_is_no_metric() -> None:
    reward = load_reward("confidence")
    for ask in (lambda: measure(reward, ["Ja."], [ITEM]), lambda: checked_scores(reward, Batch.of(["Ja."], [ITEM]))):
        with pytest.raises(UsageError, match=r"^reward confidence needs .*: train on it .* another metric$"):
            ask()


def test_length_counts_words_up_to_the_target() -> None:
    texts = ["", " \n", "Ja.", "ja " * 5, "ja " * 10, "ja " * 50_000, "😀 مرحبا", "a" * 100_000]
    expected = [min(1.0, len(text.split()) / 10) for text in texts]
    assert Length(10).score(Batch.of(texts, [ITEM] * len(texts))) == expected
    assert Length().score(Batch.of(["ja " * 10], [ITEM])) == [0.5]
    assert Length().score(Batch.of([], [])) == []


def test_length_knows_nothing_of_the_reference() -> None:
    other = dataclasses.replace(ITEM, references=("Nein, gar nicht.",))
    bare = dataclasses.replace(ITEM, references=())
    assert len(set(Length().score(Batch.of(["Ja, ja."] * 3, [ITEM, other, bare])))) == 1


@pytest.mark.parametrize("language", ["zh-CN", "zho", "cmn", "yue", "jpn", "tha"])
def test_length_counts_characters_in_languages_without_spaces(language: str) -> None:
    chinese = dataclasses.replace(ITEM, target_language=language)
    assert Length(8).score(Batch.of(["我 喜欢 ", "我喜欢"], [chinese, ITEM])) == [3 / 8, 1 / 8]


@pytest.mark.parametrize("target", [0, -3, 2.5, True, "many", None])
def test_length_needs_a_number_of_words(target: object) -> None:
    with pytest.raises(UsageError, match=rf"^length\(target={target}\): the target is a whole number of words"):
        Length(target)  # type: ignore[arg-type]


def test_length_target_stands_in_signature_and_column() -> None:
    assert Length(5).signature() != Length().signature() and Length().display == "length" != Length(5).display


def test_all_are_marked_as_controls() -> None:
    for reward in (Constant(), Random(), Confidence(), Length()):
        assert reward.family == "control" and reward.several_references == "none" and reward.maximum is None
    assert not Constant().needs and not Random().needs and not Length().needs and Confidence().needs == {"logprobs"}
    assert Constant().is_pure and Length().is_pure and not Random().is_pure and not Confidence().is_pure
