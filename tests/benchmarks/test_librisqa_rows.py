from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from speechbench.benchmarks.librisqa_rows import Question, questions
from speechbench.rewards.exact import option

FIRST = {"speech_path": "1-2-0000.wav", "question": "Who?", "answer": "He.", "text": "IT WAS HE", "duration": 1.0}
SECOND = {
    "speech_path": "LibriSpeech/test-clean/1/2/1-2-0000.wav",
    "question_and_option": "Who was it? A. She B. He C. They D. Nobody",
    "answer": "B",
    "answer_and_analysis": "B. He. The speaker says that it was he.",
    "text": "IT WAS HE",
    "duration": 1.0,
}


class Rows:
    def __init__(self, test: Sequence[Any] = (), train: Sequence[Any] = ()) -> None:
        self.of = {"test": test, "train": train}

    def rows(self, part: int, name: str) -> Iterable[tuple[str, Any]]:
        return [(f"{name} {number}", row) for number, row in enumerate(self.of[name], 1)]

    def sources(self) -> Sequence[Path]:
        return []

    def identity(self) -> Mapping[str, str]:
        return {}

    provenance = identity


def read(
    part: int, test: Sequence[Any] = (), train: Sequence[Any] = ()
) -> tuple[list[Question], list[tuple[str, str, str]]]:
    notes: list[tuple[str, str, str]] = []
    return list(questions(Rows(test, train), part, lambda *note: notes.append(note))), notes


def test_part_one() -> None:
    (question,), notes = read(1, [FIRST])
    assert question == ("test", "test 1", "1-2-0000#1", "1-2-0000", "Who?", "He.", "IT WAS HE", None)
    assert question.speaker == "1" and notes == []


@pytest.mark.parametrize(
    ("speech_path", "utterance"),
    [
        ("LibriSpeech/test-clean/1/2/1-2-0000.wav", "1-2-0000"),
        ("test-clean/1/2/1-2-0000.flac", "1-2-0000"),
        ("C:\\data\\test-clean\\1-2-0000.wav", "1-2-0000"),
        ("1-2-0000", "1-2-0000"),
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("..", ".."),
        ("x/", ""),
    ],
)
def test_only_the_stem_of_a_path_counts(speech_path: str, utterance: str) -> None:
    (question,), _ = read(1, [FIRST | {"speech_path": speech_path}])
    assert question.utterance == utterance


def test_ids_count_the_questions_about_an_utterance_and_train_changes_none_of_test() -> None:
    several = [FIRST, FIRST | {"question": "Where?"}, FIRST | {"speech_path": "3-4-0000.wav"}]
    alone, _ = read(1, several)
    assert [question.id for question in alone] == ["1-2-0000#1", "1-2-0000#2", "3-4-0000#1"]
    both, _ = read(1, several, [FIRST | {"question": "When?"}])
    assert [question.id for question in both if question.file == "test"] == [question.id for question in alone]
    assert [question.id for question in both if question.file == "train"] == ["1-2-0000#3"]


def test_what_is_said_twice_counts_once() -> None:
    rows = [FIRST, FIRST | {"speech_path": "LibriSpeech/1-2-0000.flac"}, FIRST | {"answer": "She."}]
    found, notes = read(1, rows)
    assert [(question.id, question.where) for question in found] == [("1-2-0000#1", "test 1"), ("1-2-0000#2", "test 3")]
    assert [(where, kind) for where, _, kind in notes] == [("test 2", "duplicate row")]


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    rows = [FIRST | {"speech_path": f"1-2-{number}.wav"} for number in range(2500)]
    list(questions(Rows(rows, rows), 1, lambda *_: None, lambda *step: told.append(step)))
    assert told == [("reading questions", 2000, 2000), ("reading questions", 4000, 4000)]


@pytest.mark.parametrize(
    ("row", "says", "kind"),
    [
        (None, "no JSON object", "no row"),
        (["1-2-0000.wav"], "no JSON object", "no row"),
        ({}, "no 'speech_path'", "incomplete row"),
        (FIRST | {"answer": None}, "no 'answer'", "incomplete row"),
        (FIRST | {"question": ["Who?"]}, "no 'question'", "incomplete row"),
        (FIRST | {"question": " \n"}, "no 'question'", "incomplete row"),
        (FIRST | {"question": "Who\ud800?"}, "no UTF-8", "damaged text"),
        (FIRST | {"answer": "He\0."}, "NUL", "damaged text"),
        (FIRST | {"text": "A" * 20_000}, "20,000 characters", "damaged text"),
        (FIRST | {"question": "Who <|audio|>?"}, r"holds <|audio|>", "damaged text"),
    ],
)
def test_rows_that_give_no_question_are_named(row: Any, says: str, kind: str) -> None:
    found, ((where, what, of_kind),) = read(1, [FIRST, row])
    assert len(found) == 1 and where == "test 2" and of_kind == kind
    assert says in what and what.endswith("; left out")


@pytest.mark.parametrize("text", [None, "", 7, "  "])
def test_a_row_may_lack_the_transcript(text: Any) -> None:
    (question,), notes = read(1, [FIRST | {"text": text}])
    assert question.text is None and notes == []


@pytest.mark.parametrize(
    ("answer", "analysis", "reference"),
    [
        ("B", "B. He. The speaker says so.", "B. He. The speaker says so."),
        ("b", "(B) He, as is said.", "(B) He, as is said."),
        ("B. He", "The answer is B, as he says it.", "The answer is B, as he says it."),
        ("B", "It was he who said so.", "B. It was he who said so."),
    ],
)
def test_the_letter_can_be_read_from_the_reference(answer: str, analysis: str, reference: str) -> None:
    (question,), notes = read(2, [SECOND | {"answer": answer, "answer_and_analysis": analysis}])
    assert (question.reference, question.letter, notes) == (reference, "B", [])
    assert option(question.reference) == "B" and question.question == SECOND["question_and_option"]


@pytest.mark.parametrize(
    ("changed", "says", "kind"),
    [
        ({"answer": "E"}, "answer 'E' is none of the letters A to D", "no letter"),
        ({"answer": "He"}, "'He' is none", "no letter"),
        ({"answer": "C"}, "answer is C, but its analysis chooses B", "letter disagrees"),
        ({"answer_and_analysis": "The answer is B or C."}, "chooses several", "letter disagrees"),
        ({"answer_and_analysis": "B. He. So the answer is C."}, "chooses C", "letter disagrees"),
        ({"answer_and_analysis": "B. He. C. They. Both speak."}, "chooses several", "letter disagrees"),
        ({"answer_and_analysis": ""}, "no 'answer_and_analysis'", "incomplete row"),
        ({"question_and_option": None}, "no 'question_and_option'", "incomplete row"),
    ],
)
def test_rows_of_part_two_that_contradict_themselves_are_named(changed: dict[str, Any], says: str, kind: str) -> None:
    found, ((_, what, of_kind),) = read(2, [SECOND | changed])
    assert found == [] and says in what and of_kind == kind
