"""The controls: constant is constant, random follows the seeds and confidence the model, and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest

from speechbench.benchmarks.base import Example
from speechbench.errors import UsageError
from speechbench.rewards import Batch, checked_scores, load_reward, measure
from speechbench.rewards.controls import Confidence, Constant, Random

ITEM = Example("id", None, "", ("Ja.",), None, "en", "de")


def test_constant() -> None:
    batch = Batch.of(["", "Ja."], [ITEM, ITEM])
    assert Constant().score(batch) == [0.5, 0.5]
    assert Constant(-2).score(batch) == [-2.0, -2.0]
    assert Constant(-2).range == (-2.0, 1.0)
    assert Constant().signature() != Constant(0.25).signature()


@pytest.mark.parametrize("value", [math.nan, math.inf, "half", None])
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
        with pytest.raises(UsageError, match=r"^reward confidence needs the log-prob.*: name it .* another metric$"):
            ask()


def test_all_are_marked_as_controls() -> None:
    assert Constant().family == Random().family == Confidence().family == "control"
    assert not Constant().needs and not Random().needs and Confidence().needs == {"logprobs"}
