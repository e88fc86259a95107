"""Checked scores and measurements: whatever goes wrong stops with a sentence, and nothing becomes a 0."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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


ONE_EACH = ": return one finite number per hypothesis, or None where the reward does not apply"
FIRST = "3 hypotheses, the first of example 'e0' with the hypothesis 'Ja.'"


@pytest.mark.parametrize(
    ("result", "start", "end"),
    [
        (
            failing,
            "failed on example 'e1' with the hypothesis 'Der Bär?': ZeroDivisionError: division by zero (test_meas",
            "): mend the reward, or let it return None where it does not apply",
        ),
        (
            failing_together,
            "failed on 3 hypotheses together, though on none of them alone, the first of example 'e0' with the "
            "hypothesis 'Ja.': ValueError: only one at a time (test_measure.py",
            "): mend the reward, which is given many hypotheses in one call",
        ),
        ([1.0, 0.5], f"returned 2 scores for {FIRST}", ONE_EACH),
        ([], f"returned 0 scores for {FIRST}", ONE_EACH),
        ([0.0, math.nan, 0.0], "returned nan, which is no finite number, for example 'e1' with the hypoth", ONE_EACH),
        (
            [0.0, 0.0, -math.inf],
            f"returned -inf, which is no finite number, for example 'e2' with the hypothesis '{'Ach, ' * 11}Ach,…'",
            ONE_EACH,
        ),
        ([0.0, "0.5", 0.0], "returned '0.5', of type str, which is no number, for example 'e1'", ONE_EACH),
        ([0.0, 1j, 0.0], "returned 1j, of type complex, which is no number, for example 'e1'", ONE_EACH),
        (None, f"returned a NoneType, not a list of scores, for {FIRST}", ONE_EACH),
        ({"a": 1.0}, f"returned a dict, not a list of scores, for {FIRST}", ONE_EACH),
        (
            [None, None, None],
            f"does not apply here: it gave no score to any of {FIRST}, which has no source",
            ": choose another reward, or a benchmark that has what it needs",
        ),
    ],
)
def test_what_is_no_score_stops_with_a_sentence(result: Any, start: str, end: str) -> None:
    for ask in (lambda: checked_scores(Given(result), BATCH), lambda: measure(Given(result), HYPOTHESES, EXAMPLES)):
        with pytest.raises(SpeechbenchError) as caught:
            ask()
        message = str(caught.value)
        assert message.startswith(f"reward given {start}") and message.endswith(end) and "\n" not in message


def test_hypothesis_that_fails_is_found_with_its_log_probability() -> None:
    def of_the_surest(batch: Batch) -> list[float | None]:
        assert batch.logprobs is not None and max(batch.logprobs) < -1.0
        return [0.0] * len(batch.hypotheses)

    batch = Batch(HYPOTHESES, EXAMPLES, range(3), logprobs=[-2.0, -0.5, -3.0])
    with pytest.raises(SpeechbenchError, match="failed on example 'e1'"):
        checked_scores(Given(of_the_surest), batch)


def test_selected_rows_keep_all_that_belongs_to_them() -> None:
    batch = Batch(HYPOTHESES, EXAMPLES, [5, 6, 7], logprobs=[-1.0, -2.0, -3.0])
    assert batch.select([2, 0]) == Batch([HYPOTHESES[2], "Ja."], [EXAMPLES[2], EXAMPLES[0]], [7, 5], [-3.0, -1.0])
    assert BATCH.select([1]).logprobs is None


class Prepared(Given):
    def __init__(self, fails: bool = False) -> None:
        super().__init__(lambda batch: [float(self.seen.index(example)) for example in batch.examples])
        self.fails = fails
        self.seen: list[Example] = []

    def prepare(self, examples: Sequence[Example]) -> None:
        if self.fails:
            raise KeyError("column")
        self.seen = list(examples)


def test_reward_meets_all_examples_before_it_measures() -> None:
    assert measure(Prepared(), HYPOTHESES, EXAMPLES).segments == [0.0, 100.0, 200.0]
    with pytest.raises(
        SpeechbenchError, match=r"^reward given failed to prepare for 3 examples: KeyError: 'column' \("
    ):
        measure(Prepared(fails=True), HYPOTHESES, EXAMPLES)


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
        (lambda: np.zeros((2, 2)), r"shape \[2, 2\] for 3 .* 'e0' .*: return the shape \[3, statistic\]$"),
        (lambda: np.zeros(3), r"shape \[3\]"),
        (lambda: [[0, 1], [math.nan, 1], [0, 1]], "not finite for example 'e1' .*: return finite numbers, all zero"),
        (lambda: 1 / 0, "reward given failed on 3 .* 'e0' .*: ZeroDivisionError.*: mend its method statistics$"),
    ],
)
def test_statistics_are_checked(made: Any, message: str) -> None:
    with pytest.raises(SpeechbenchError, match=message):
        measure(BadStatistics(made), HYPOTHESES, EXAMPLES)


def test_unknown_aggregate_is_refused() -> None:
    class Wrong(Given):
        aggregate = "median"

    with pytest.raises(UsageError, match="'median', which does not exist: there are bleu, chrf, mean"):
        measure(Wrong([0.0, 0.0, 0.0]), HYPOTHESES, EXAMPLES)
