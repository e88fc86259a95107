"""What a line means, and what is said of one that means nothing."""

from __future__ import annotations

import datetime
import decimal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from speechbench.benchmarks.index import Row
from speechbench.benchmarks.manifest_files import Record
from speechbench.benchmarks.manifest_lines import LONGEST_TEXT, BadLine, LineReader, unpacked
from speechbench.benchmarks.manifest_paths import Root
from speechbench.errors import UsageError

LINE = {
    "audio": "wavs/a.wav",
    "instruction": "Translate into German.",
    "references": ["Ja.", "Doch."],
    "source": "Yes.",
    "source_language": "en",
    "target_language": "de",
    "speaker": 7,
    "split": "test",
    "difficulty": 3,
}


def without(*names: str, **changed: Any) -> dict[str, Any]:
    return {name: value for name, value in (LINE | changed).items() if name not in names}


def read(*lines: dict[str, Any], asks: bool = False) -> tuple[LineReader, list[Row]]:
    reader = LineReader(Path("m.jsonl"), Root(Path("data")), asks)
    return reader, [reader.row(Record(number, line)) for number, line in enumerate(lines, 1)]


def refusal(*lines: dict[str, Any], asks: bool = False) -> BadLine:
    read(*lines[:-1], asks=asks)
    with pytest.raises(BadLine) as caught:
        read(*lines, asks=asks)
    return caught.value


def test_a_line_is_a_row() -> None:
    _, (row,) = read(LINE)
    assert (row.split, row.id, row.audio, row.where) == ("test", "a-1", "wavs/a.wav", "m.jsonl:1")
    assert (row.reference, row.source, row.speaker) == ("Ja.", "Yes.", "7")
    assert unpacked(row) == ("<|audio|> Translate into German.", ["Doch."], "en", "de", {"difficulty": 3})


def test_what_is_empty_is_not_there() -> None:
    empty: dict[str, Any] = dict.fromkeys(("source", "speaker", "id", "difficulty"), "") | {
        "split": None,
        "topic": None,
    }
    _, (row, blank) = read(without(**empty), without(source=" ", speaker="\t"))
    assert (row.id, row.source, row.speaker, row.split) == ("a-1", None, None, "train")
    assert unpacked(row)[-1] == {}
    assert (blank.source, blank.speaker) == (None, None)


@pytest.mark.parametrize(
    ("bad", "says", "kind"),
    [
        (without("audio"), r"^the field 'audio' is lacking; add it$", "bad line"),
        (without("audio", path="a.wav"), r"'audio' is lacking \(did you mean 'path'\?\); add it", "bad line"),
        (without(audio={"path": "a.wav", "bytes": None}), "must be text, not .*: write the path alone$", "bad line"),
        (
            without("instruction", "target_language", target_lang="de"),
            r"'target_language' is lacking \(did you mean 'target_lang'\?\); add it, or an instruction",
            "bad line",
        ),
        (without("audio", Audio="a.wav"), r"did you mean 'Audio'", "bad line"),
        (without("audio", audoi="a.wav"), r"did you mean 'audoi'", "bad line"),
        (without(audio=5.5, source={}), r"'source' must be text, not \{\}", "bad line"),
        (without("references"), "'references' is lacking; add one text or a list", "bad line"),
        (without("references", reference_text="x"), r"did you mean 'reference_text'", "bad line"),
        (without("references", text="x"), r"did you mean 'text'", "bad line"),
        (without(references=[]), "'references' is lacking", "bad line"),
        (
            without(references=["", "x"]),
            r"'references' must hold texts .*, not \['', 'x'\]",
            "bad line",
        ),
        (without(references=" "), "'references' must hold texts", "bad line"),
        (without(references=5), "'references' must hold texts that are not empty, not 5", "bad line"),
        (without(references=[["x"] * 99]), r"'references' must hold texts .{80,100}…$", "bad line"),
        (without(reference="x"), "both 'references' and 'reference'; keep one", "bad line"),
        (without(split="tests"), r"'split' is 'tests': did you mean 'test'\?", "unknown split"),
        (without(split="dev"), r"did you mean 'validation'\?", "unknown split"),
        (without(split="Train"), r"did you mean 'train'\?", "unknown split"),
        (without(split="xyz"), "'split' is 'xyz': there are: train, validation, test", "unknown split"),
        (without(split=True), "'split' must be text, not True", "bad line"),
        (without(source=["x"]), r"'source' must be text, not \['x'\]", "bad line"),
        (without(instruction="<|audio|> <|audio|>"), "'instruction' has .* more than once; keep one", "bad line"),
        (without("instruction", "target_language"), "'target_language' is lacking; add it, or an instr", "bad line"),
        (without(target_language="German"), r"'target_language' is 'German', .* did you mean 'de'\?", "bad line"),
        (without(source_language="e n"), "'source_language' is 'e n', .* a code of two or three letters", "bad line"),
        (without(target_language=7), "'target_language' is '7', which is no code", "bad line"),
        (without(id="a-1"), r"the id 'a-1' stands already at m\.jsonl:1", "duplicate id"),
        (without(source="x\0y"), "'source' holds a NUL", "damaged text"),
        (without(references=["x\ud800"]), "'references' holds half of a surrogate pair", "damaged text"),
        (without(topic={"a": ["\udcff"]}), "'topic' holds half of a surrogate pair", "damaged text"),
        (LINE | {"\ud800": 1}, r"'\\ud800' holds half of a surrogate pair", "damaged text"),
        (without(source="x" * (LONGEST_TEXT + 1)), "'source' holds 100,001 characters, more than", "damaged text"),
        (without(weight=float("inf")), "'weight' holds inf, which is no number", "bad line"),
        (without(speaker=float("nan")), "'speaker' holds nan, which is no number", "bad line"),
        (without(cover=b"GIF"), "'cover' holds b'GIF', which JSON cannot hold", "bad line"),
        (without(audio="../a.wav"), "'../a.wav', which lies outside of .*data: put", "path outside"),
    ],
)
def test_what_is_said_of_a_bad_line(bad: dict[str, Any], says: str, kind: str) -> None:
    found = refusal(LINE, bad)
    assert found.kind == kind
    with pytest.raises(BadLine, match=says):
        raise found


def test_all_that_is_wrong_with_a_line_is_told_at_once() -> None:
    bad = without("references", audio="../a.wav", target_language="German", split="dev", source=[], id={}, w=b"x")
    found = refusal(bad)
    told = found.what.split("; and the field ")
    assert [what.split("'")[1] for what in told] == [
        "split",
        "audio",
        "target_language",
        "references",
        "source",
        "id",
        "w",
    ]
    assert found.kind == "unknown split"


def test_a_line_may_be_of_a_whole_recording_only() -> None:
    for whole in (0, 0.0, "0.00", None, ""):
        read(without(offset=whole))
    for part in (12.5, 10, "0.5"):
        assert f"the field 'offset' is {part!r}, and recordings are read whole" in refusal(without(offset=part)).what


def test_nested_columns_have_an_end() -> None:
    deep: Any = "x"
    for _ in range(15):
        deep = [deep]
    _, (row,) = read(without(deep=deep))
    assert unpacked(row)[-1]["deep"] == deep
    for _ in range(10):
        deep = {"in": deep}
    assert "'deep' is nested too deeply" in refusal(without(deep=deep)).what


def test_texts_may_be_as_long_as_an_hour_and_of_several_lines() -> None:
    text = "zwölf\n\t" * (LONGEST_TEXT // 7)
    _, (row,) = read(without(references=text, source=text))
    assert (row.reference, row.source) == (text, text)


def test_dates_and_decimals_are_handed_on_as_text() -> None:
    when = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc)
    _, (row,) = read(without(when=when, days=[when.date()], price=decimal.Decimal("1.50"), took=datetime.timedelta(1)))
    assert unpacked(row)[-1] == {
        "difficulty": 3,
        "when": "2024-02-29T12:30:00+00:00",
        "days": ["2024-02-29"],
        "price": "1.50",
        "took": "1 day, 0:00:00",
    }


def test_a_question_needs_an_instruction_or_itself() -> None:
    reader, (row,) = read(without("instruction", question="Who speaks?"), asks=True)
    assert unpacked(row)[0] is None and reader.tasks == {"question-answering"}
    assert unpacked(row)[-1]["question"] == "Who speaks?"
    lacking = refusal(without("instruction"), asks=True)
    assert lacking.what == "the field 'question' is lacking; write it, or a whole instruction"
    assert "only an instruction" in refusal(without("instruction", question="<|audio|>?"), asks=True).what


@pytest.mark.parametrize(
    ("source", "target", "task"),
    [
        ("en", "de", "translation"),
        ("en-GB", "en_US", "transcription"),
        ("eng", "en", "transcription"),
        ("zh-CN", "cmn_Hans", "transcription"),
    ],
)
def test_languages_are_compared_whatever_their_spelling(source: str, target: str, task: str) -> None:
    reader, _ = read(without("instruction", source_language=source, target_language=target))
    assert reader.tasks == {task}


def test_what_all_lines_have_in_common() -> None:
    reader, _ = read(LINE, without(target_language="fr"), without("split", "source_language"))
    with pytest.raises(BadLine):
        reader.row(Record(4, without("references", target_language="it", split="validation")))
    with pytest.raises(BadLine):
        reader.row(Record(5, {}, "no JSON"))
    assert reader.summary() == {
        "claims": {"train": 1, "validation": 1, "test": 2},
        "source_language": "en",
        "target_language": "mul",
    }


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "m.jsonl is empty: write one line per spoken example"),
        ([without("split")], "no line has the field 'split', with one of train, validation, test.*; add or rename it$"),
        ([without("split", subset="train")], r"no line has the field 'split' \(did you mean 'subset'\?\), with"),
        ([without("audio", path="x"), without("audio")], r"the field 'audio' \(did you mean 'path'\?\)"),
        ([without("references", answer="x")], r"the field 'references' \(did you mean 'answer'\?\), with one"),
        ([without("instruction", "target_language", lang="de")], r"'target_language' \(did you mean 'lang'\?\), with"),
        (
            [{"audio_filepath": "/data/a.wav", "text": "Ja.", "duration": 1.5}],  # as NeMo has it
            r"no line has the fields 'audio' \(did you mean 'audio_filepath'\?\), .*; 'references' "
            r"\(did you mean 'text'\?\), .*; 'split', .*; 'target_language', .*; add or rename them$",
        ),
        (
            [{"file_name": "a.wav", "transcription": "Yes.", "translation": "Ja."}],  # as data sets of the hub have it
            r"'audio' \(did you mean 'file_name'\?\), .* 'references' \(did you mean 'translation'\?\)",
        ),
    ],
)
def test_what_no_line_has_is_one_sentence(lines: list[dict[str, Any]], says: str) -> None:
    reader, _ = read()
    for number, line in enumerate(lines, 1):
        with suppress(BadLine):
            reader.row(Record(number, line))
    with pytest.raises(UsageError, match=says):
        reader.refuse_lacking()


def test_where_a_question_is_needed_that_is_told_instead_of_the_language() -> None:
    reader, _ = read(asks=True)
    with pytest.raises(BadLine):
        reader.row(Record(1, without("instruction", "target_language")))
    with pytest.raises(UsageError, match=r"no line has the field 'question', .* \(or else 'instruction'\); add"):
        reader.refuse_lacking()


def test_a_file_of_bad_lines_alone_is_not_called_empty() -> None:
    reader, _ = read()
    with pytest.raises(BadLine, match="no JSON"):
        reader.row(Record(1, {}, "no JSON"))
    reader.refuse_lacking()
    assert reader.summary()["claims"] == {"train": 0, "validation": 0, "test": 0}


def test_reference_is_references() -> None:
    reader, (row,) = read(without("references", reference="Ja."))
    reader.refuse_lacking()
    assert row.reference == "Ja."
