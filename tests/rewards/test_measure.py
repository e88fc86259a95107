"""Checked scores and measurements: whatever goes wrong stops with a sentence, and nothing becomes a 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sacrebleu

from speechbench.benchmarks.base import Example
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.rewards import Batch, Reward, checked_scores, load_reward, measure

REFERENCES = ["Ja.", "Der Bär.", "Nein."]
EXAMPLES = [Example(f"e{i}", None, "", (text,), None, "en", "de") for i, text in enumerate(REFERENCES)]
HYPOTHESES = ["Ja.", "Der Bär?", "Ach, " * 30]
BATCH = Batch.of(HYPOTHESES, EXAMPLES)


class Given(Reward):
    """Returns what it is given, or calls it with the batch."""

    display = "given"
    needs = frozenset({"reference", "source"})

    def __init__(self, result: Any) -> None:
        self.result = result

    def score(self, batch: Batch) -> list[float | None]:
        result: list[float | None] = self.result(batch) if callable(self.result) else self.result
        return result


def failing(batch: Batch) -> list[float | None]:
    return [1 / (len(hypothesis) - len("Der Bär?")) for hypothesis in batch.hypotheses]


def failing_together(batch: Batch) -> list[float | None]:
    if len(batch.hypotheses) > 1:
        raise ValueError("only one at a time")
    return [1.0]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (failing, r"given failed on example 'e1' with the hypothesis 'Der Bär\?': ZeroDivisionError: .*test_measure\."),
        (failing_together, "given failed on 3 hypotheses together, .* 'e0' .*: ValueError: only one at a time"),
        ([1.0, 0.5], "given returned 2 scores for 3 hypotheses, .* 'e0'"),
        ([0.0, math.nan, 0.0], "given returned nan, .* for example 'e1' with the hypothesis 'Der Bär"),
        ([0.0, 0.0, -math.inf], r"given returned -inf, .* for example 'e2' with the hypothesis '(Ach, ){11}Ach,…'"),
        ([0.0, "0.5", 0.0], "given returned '0.5', of type str, .* 'e1'"),
        ([0.0, 1j, 0.0], "of type complex"),
        (None, "given returned a NoneType, not a list"),
        ({"a": 1.0}, "given returned a dict, not a list"),
        ([None, None, None], "given does not apply here: .* any of 3 .* 'e0' .* which has no source"),
    ],
)
def test_what_is_no_score_stops_with_a_sentence(result: Any, message: str) -> None:
    for ask in (lambda: checked_scores(Given(result), BATCH), lambda: measure(Given(result), HYPOTHESES, EXAMPLES)):
        with pytest.raises(SpeechbenchError, match=message) as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_error_of_a_loaded_reward_names_its_spec() -> None:
    reward = load_reward("bleu(tokenize=char)")
    with pytest.raises(SpeechbenchError, match=r"reward bleu\(tokenize=char\) failed on example 'e1'"):
        checked_scores(reward, Batch.of(["Ja.", 3], EXAMPLES[:2]))  # type: ignore[list-item]


def test_error_that_is_a_sentence_already_is_passed_on() -> None:
    error = MissingError("run this")

    def lacking(batch: Batch) -> list[float | None]:
        raise error

    with pytest.raises(MissingError) as caught:
        checked_scores(Given(lacking), BATCH)
    assert caught.value is error


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_numbers_of_every_kind_become_floats(kind: Callable[[Any], Any]) -> None:
    scores = checked_scores(Given(kind([True, np.float32(0.5), 2])), BATCH)
    assert scores == [1.0, 0.5, 2.0] and all(type(score) is float for score in scores)


def test_none_is_kept_apart_from_zero() -> None:
    assert checked_scores(Given([None, 0.0, 1.0]), BATCH) == [None, 0.0, 1.0]
    result = measure(Given([None, 0.0, 1.0]), HYPOTHESES, EXAMPLES)
    assert result.segments == [None, 0.0, 100.0]
    assert result.corpus == 50.0
    np.testing.assert_array_equal(result.statistics, [[0, 0], [0, 1], [100, 1]])


def test_no_hypotheses() -> None:
    assert checked_scores(Given([]), Batch.of([], [])) == []
    for hypotheses in ([], ["Ja."]):
        with pytest.raises(UsageError, match="give one for each"):
            measure(Given([]), hypotheses, EXAMPLES[: len(hypotheses) + 1])


def test_reward_with_plain_scores_is_asked_once() -> None:
    calls = []

    def counted(batch: Batch) -> list[float | None]:
        calls.append(batch)
        return [0.1, 0.2, 0.6]

    assert measure(Given(counted), HYPOTHESES, EXAMPLES).corpus == pytest.approx(30)
    assert len(calls) == 1


def test_measurement_of_bleu_is_sacrebleus() -> None:
    result = measure(load_reward("bleu"), HYPOTHESES, EXAMPLES)
    assert result.corpus == pytest.approx(sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score, abs=1e-9)
    sentences = [sacrebleu.sentence_bleu(h, [r]).score for h, r in zip(HYPOTHESES, REFERENCES, strict=True)]
    assert result.segments == pytest.approx(sentences)
    assert (result.name, result.display, result.aggregate, result.scale) == ("bleu", "BLEU", "bleu", 100.0)
    assert result.statistics.shape == (3, 10)
    assert result.signature == load_reward("bleu").signature()


class BadStatistics(Given):
    def __init__(self, made: Any) -> None:
        super().__init__([0.0, 0.0, 0.0])
        self.made = made

    def statistics(self, batch: Batch) -> Any:
        return self.made()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: np.zeros((2, 2)), r"shape \[2, 2\], not \[3, statistic\]"),
        (lambda: np.zeros(3), r"shape \[3\]"),
        (lambda: [[0, 1], [math.nan, 1], [0, 1]], "not finite for example 'e1'"),
        (lambda: 1 / 0, "the statistics of reward given failed: ZeroDivisionError"),
    ],
)
def test_statistics_are_checked(made: Any, message: str) -> None:
    with pytest.raises(SpeechbenchError, match=message):
        measure(BadStatistics(made), HYPOTHESES, EXAMPLES)


def test_unknown_aggregate_is_refused() -> None:
    class Wrong(Given):
        aggregate = "median"

    with pytest.raises(UsageError, match="'median': there are bleu, chrf, mean"):
        measure(Wrong([0.0, 0.0, 0.0]), HYPOTHESES, EXAMPLES)
