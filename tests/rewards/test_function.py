"""Plain functions as rewards: called as TRL calls them, refused with a sentence when they cannot be."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import Example
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.rewards import Batch, checked_scores
from speechbench.rewards.function import COLUMNS, FunctionReward, bind, source_hash

FIRST = Example("1", None, "Translate.", ("Ja.", "Jawohl."), "Yes.", "en", "de", columns={"slots": {}, "id": "no"})
SECOND = Example("2", None, "Answer.", ("No.",), None, "en", "en", columns={"extra": 5})
BATCH = Batch.of(["Ja", "Nein"], [FIRST, SECOND])


def wrap(function: Any) -> FunctionReward:
    return FunctionReward(function, "mine", "0" * 64)


def test_function_gets_every_column_if_it_takes_all() -> None:
    seen: dict[str, Any] = {}

    def everything(completions: list[str], **columns: Any) -> list[float]:
        seen.update(columns, completions=completions)
        return [0.0, 1.0]

    assert wrap(everything).score(BATCH) == [0.0, 1.0]
    assert seen == {
        "completions": ["Ja", "Nein"],
        "prompts": ["Translate.", "Answer."],
        "references": [["Ja.", "Jawohl."], ["No."]],
        "reference": ["Ja.", "No."],
        "source": ["Yes.", None],
        "language": ["de", "en"],
        "audio": [None, None],
        "id": ["1", "2"],
        "slots": [{}, None],
        "extra": [None, 5],
    }
    assert set(COLUMNS) == seen.keys() - {"slots", "extra"}


def test_function_gets_only_what_it_names() -> None:
    def named(completions: list[str], extra: list[int | None], *, weight: float = 2.0) -> list[float | None]:
        return [None if e is None else weight * e for e in extra]

    assert wrap(named).score(BATCH) == [None, 10.0]


def test_required_column_that_is_missing_is_named() -> None:
    def needy(completions: list[str], solution: list[str]) -> list[float]:
        raise AssertionError("never called")

    with pytest.raises(
        UsageError, match=r"reward mine requires 'solution', .* they have audio, completions, extra, id"
    ):
        wrap(needy).score(BATCH)


def by_prompt(prompts: list[str], completions: list[str], **kwargs: Any) -> list[float]:
    return [float(len(c) / len(p)) for p, c in zip(prompts, completions, strict=True)]


def by_answer(completions: list[str], ground_truth: list[str], **kwargs: Any) -> list[float]:
    return [1.0 if c == truth else 0.0 for c, truth in zip(completions, ground_truth, strict=True)]


def by_task(completions: list[str], task: list[str], **kwargs: Any) -> list[float | None]:
    return [float(c.isdigit()) if t == "math" else None for c, t in zip(completions, task, strict=True)]


def by_tokens(
    completions: list[str], completion_ids: Any = None, trainer_state: Any = None, **kwargs: Any
) -> list[float]:
    assert completion_ids is None and trainer_state is None
    return [float(len(c)) for c in completions]


@pytest.mark.parametrize(
    ("function", "scores"),
    [(by_prompt, [1.0, 0.5]), (by_answer, [1.0, 0.0]), (by_task, [1.0, None]), (by_tokens, [2.0, 1.0])],
)
def test_trls_functions_work_unchanged(function: Any, scores: list[float | None]) -> None:
    """The shapes that TRL's documentation shows, for data sets in the standard (not the conversational) format."""
    columns = [{"ground_truth": "42", "task": "math"}, {"ground_truth": "8", "task": "code"}]
    examples = [
        Example(str(i), None, prompt, ("",), None, "en", "en", columns=c)
        for i, (prompt, c) in enumerate(zip(["6?", "4?"], columns, strict=True))
    ]
    assert checked_scores(wrap(function), Batch.of(["42", "9"], examples)) == scores


async def later(completions: list[str]) -> list[float]:
    return [0.0]


def by_position(completions: list[str], /) -> list[float]:
    return [0.0]


def without_completions(prompts: list[str]) -> list[float]:
    return [0.0]


@pytest.mark.parametrize(
    ("function", "message"),
    [(later, "is async"), (by_position, "`completions` by name"), (without_completions, "`completions` by name")],
)
def test_functions_that_cannot_be_called(function: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        wrap(function)


def test_range_is_unbounded_unless_declared() -> None:
    def plain(completions: list[str]) -> list[float]:
        return [0.0]

    assert wrap(plain).range == (-math.inf, math.inf) and wrap(plain).scale == 1.0
    plain.range = (0, 1)  # type: ignore[attr-defined]
    assert wrap(plain).range == (0.0, 1.0) and wrap(plain).scale == 100.0
    for wrong in ((1, 0), "ab", 3, (0, 1, 2)):
        plain.range = wrong  # type: ignore[attr-defined]
        with pytest.raises(UsageError, match="should be a pair"):
            wrap(plain)


def brevity(completions: list[str], target: int = 5, **columns: Any) -> list[float]:
    return [-abs(len(completion) - target) for completion in completions]


def test_bound_parameters_reach_the_function_and_the_signature() -> None:
    reward = wrap(bind(brevity, {"target": 2}, "mine"))
    assert reward.score(BATCH) == [0, -2]
    assert reward.signature() == {"name": "mine", "source": "0" * 64, "parameters": {"target": 2}}
    assert bind(brevity, {}, "mine") is brevity


@pytest.mark.parametrize(
    ("parameter", "message"),
    [("tagret", "no parameter 'tagret'; did you mean 'target'"), ("source", "'source' is a column")],
)
def test_parameters_are_checked_though_the_function_takes_any_keyword(parameter: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bind(brevity, {parameter: 1}, "mine")


def test_source_hash_tells_edited_functions_apart() -> None:
    def make_first() -> Any:
        def f() -> int:
            return 1

        return f

    def make_second() -> Any:
        def f() -> int:
            return 2

        return f

    assert source_hash(make_first(), "f") == source_hash(make_first(), "f") != source_hash(make_second(), "f")
    namespace: dict[str, Any] = {}
    exec("def typed(): ...", namespace)
    with pytest.raises(UsageError, match=r"put it into a file and name that, as path/to/file\.py:typed"):
        source_hash(namespace["typed"], "typed")


def test_plain_function_is_called_once_for_each_hypothesis() -> None:
    def same_length(hypothesis: str, reference: str) -> float:
        return float(len(hypothesis) == len(reference))

    assert wrap(same_length).score(BATCH) == [0.0, 0.0]
    assert wrap(same_length).score(Batch.of(["Nun", "No!"], [FIRST, SECOND])) == [1.0, 1.0]
    assert wrap(same_length).score(Batch.of(["Jawohl!"], [FIRST])) == [1.0], "the second of two references fits"
    bare = Example("3", None, "", (), None, "en", "de")
    assert wrap(same_length).score(Batch.of(["Ja"], [bare])) == [None], "does not apply without a reference"


def test_only_a_function_that_names_the_reference_is_called_for_each() -> None:
    def any_of(hypothesis: str, **columns: Any) -> float:
        calls.append(columns["reference"])
        return float(hypothesis in columns["references"])

    calls: list[str | None] = []
    bare = Example("3", None, "", (), None, "en", "de")
    assert wrap(any_of).score(Batch.of(["Jawohl.", "Ja"], [FIRST, bare])) == [1.0, 0.0]
    assert calls == ["Ja.", None]


@pytest.mark.parametrize("number", [np.float32, np.float64, np.bool_, np.int64, bool])
def test_the_best_of_several_references_is_found_among_numpys_numbers(number: Any) -> None:
    def same(hypothesis: str, reference: str) -> Any:
        return number(hypothesis == reference)

    assert checked_scores(wrap(same), Batch.of(["Jawohl."], [FIRST])) == [1.0]


def of_reference(hypothesis: str, reference: str) -> float:
    return 0.0


def of_all(hypothesis: str, references: list[str], source: str) -> float:
    return 0.0


def of_audio(hypothesis: str, audio: object, source: str | None = None) -> float:
    return 0.0


def of_lists(completions: list[str], reference: list[str], source: list[str], **columns: Any) -> list[float]:
    return []


def of_anything(completions: list[str], references: Any = None, **columns: Any) -> list[float]:
    return []


def of_nothing(hypothesis: str, **columns: Any) -> float:
    return 0.0


@pytest.mark.parametrize(
    ("function", "needs", "several"),
    [
        (of_reference, {"reference"}, "best"),
        (of_all, {"reference", "source"}, "pooled"),
        (of_audio, {"audio"}, "none"),
        (of_lists, {"reference", "source"}, "first"),
        (of_anything, set(), "pooled"),
        (of_nothing, set(), "none"),
    ],
)
def test_a_function_needs_what_it_names_without_a_default(function: Any, needs: set[str], several: str) -> None:
    assert (wrap(function).needs, wrap(function).several_references) == (needs, several)


def test_plain_function_may_ask_for_any_column() -> None:
    seen = []

    def curious(
        hypothesis: str, source: str | None, audio: object, extra: int | None = None, weight: float = 2
    ) -> None:
        seen.append((hypothesis, source, audio, extra, weight))

    reward = FunctionReward(bind(curious, {"weight": 3}, "curious"), "curious", "0" * 64)
    assert reward.score(BATCH) == [None, None]
    assert seen == [("Ja", "Yes.", None, None, 3), ("Nein", None, None, 5, 3)]
    with pytest.raises(UsageError, match="'hypothesis' is a column of the batch and cannot be set"):
        bind(curious, {"hypothesis": 1}, "curious")


@pytest.mark.parametrize("wrong", [math.nan, "high"])
def test_best_of_several_references_hides_no_wrong_score(wrong: object) -> None:
    def failing(hypothesis: str, reference: str) -> object:
        return wrong if reference == "Jawohl." else 1.0

    with pytest.raises(SpeechbenchError, match=r"reward mine returned .* for example '1' with the hypothesis 'Ja'"):
        checked_scores(wrap(failing), Batch.of(["Ja"], [FIRST]))


def test_function_gets_the_audio(tmp_path: Path) -> None:
    path = tmp_path / "noise.wav"
    soundfile.write(path, np.full(8000, 0.25), 16000)
    heard = Example("1", Audio(path), "", ("Ja.",), None, "en", "de")

    def seconds(hypothesis: str, audio: Audio) -> float:
        return len(audio.samples(16000)) / 16000

    assert wrap(seconds).score(Batch.of(["Ja"], [heard])) == [0.5]
