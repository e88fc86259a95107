"""The control rows: each is what its name says, for every kind of reference."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.benchmarks.templates import LANGUAGES
from speechbench.languages import primary
from speechbench.rewards.control_rows import GOLD, NEAR_MISS, ROWS, control_rows
from speechbench.rewards.exact import normalized
from speechbench.rewards.shuffled import partners

DEGENERATE = [name for name in ROWS if name not in (GOLD, NEAR_MISS)]


class Translation(Benchmark):
    name = "translation"
    task = "translation"

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        return []


class Questions(Translation):
    task = "question-answering"


def example(
    number: int, *references: str, source: str | None = None, language: str = "de", instruction: str = "<|audio|> say"
) -> Example:
    return Example(f"e{number}", None, instruction, references, source, "en", language)


GERMAN = [
    example(0, "Der Zug hat heute Verspätung.", source="The train is late today."),
    example(1, "Der Bus hat heute Glück!", "Heute hat der Bus Glück.", source="The bus is lucky today."),
    example(2, "Der Mann hat gestern Verspätung.", source="The man was late yesterday."),
]


def test_each_row_is_what_its_name_says() -> None:
    rows = control_rows(GERMAN, Translation())
    assert list(rows) == [name for name in ROWS if name != "copied question"]
    partner = partners(GERMAN)
    for at, own in enumerate(GERMAN):
        other = partner[own.id]
        assert other is not None
        assert rows[GOLD][at] == own.references[0]
        assert rows["ten times repeated"][at] == " ".join([own.references[0]] * 10)
        assert rows["shuffled reference"][at] == other.references[0]
        assert rows["copied source"][at] == own.source
        assert (rows["full stop"][at], rows["empty"][at]) == (".", "")
    assert rows["truncated"] == ["Der Zug", "Der Bus", "Der Mann"]


def test_the_near_miss_takes_a_word_that_another_reference_has_in_the_same_place() -> None:
    near = control_rows(GERMAN, Translation())[NEAR_MISS]
    # "Der ... hat" surrounds Zug, Bus and Mann, "hat ... Verspätung" heute and gestern.
    assert near[0] in {
        f"Der {noun} hat {day} Verspätung." for noun, day in [("Bus", "heute"), ("Mann", "heute"), ("Zug", "gestern")]
    }
    assert near[1] in {"Der Zug hat heute Glück!", "Der Mann hat heute Glück!"}  # the rest of it stays, "!" too


words = st.lists(
    st.sampled_from(["der", "ein", "Zug", "Bus", "hat", "geht", "rot,", "blau", "»heute«", "ja!", "nein", "U-Bahn"]),
    min_size=1,
    max_size=6,
).map(" ".join)


@given(st.lists(st.lists(words, min_size=1, max_size=2), min_size=1, max_size=6))
def test_the_near_miss_differs_from_gold_in_one_word_that_no_reference_has(texts: list[list[str]]) -> None:
    examples = [example(number, *references) for number, references in enumerate(texts)]
    rows = control_rows(examples, Translation())
    everywhere = {word for own in examples for word in normalized(own.references[0]).split()}
    for at, own in enumerate(examples):
        gold, near = own.references[0], rows.get(NEAR_MISS, [None] * len(examples))[at]
        known = {word for reference in own.references for word in normalized(reference).split()}
        if near is None:
            assert not everywhere - known or len(examples) == 1
            continue
        changed = [(a, b) for a, b in zip(gold.split(), near.split(), strict=True) if a != b]
        assert len(changed) == 1
        assert normalized(changed[0][1]) in everywhere - known


@given(st.lists(st.lists(words, min_size=1, max_size=2), min_size=1, max_size=6), st.sampled_from(["ja!", "Der Zug"]))
def test_what_is_right_is_in_no_degenerate_row(texts: list[list[str]], source: str) -> None:
    examples = [example(number, *references, source=source) for number, references in enumerate(texts)]
    rows = control_rows(examples, Translation())
    assert rows == control_rows(examples, Translation())
    for at, own in enumerate(examples):
        right = {normalized(reference) for reference in own.references}
        for name in DEGENERATE:
            text = rows.get(name, [None] * len(examples))[at]
            assert text is None or normalized(text) not in right


def test_references_of_one_word() -> None:
    rows = control_rows([example(0, "Ja."), example(1, "Nein."), example(2, "Nein, danke.")], Translation())
    assert rows["truncated"] == [None, None, "Nein,"]
    assert rows[NEAR_MISS][:2] == ["Nein.", "Ja."]


def test_a_single_example_has_neither_near_miss_nor_shuffled_reference() -> None:
    rows = control_rows(GERMAN[:1], Translation())
    assert set(ROWS) - set(rows) == {NEAR_MISS, "shuffled reference", "copied question"}


@pytest.mark.parametrize("other", ["zh-CN", "zho", "cmn"])
def test_where_words_have_no_spaces_characters_count(other: str) -> None:
    rows = control_rows(
        [example(0, "今天火车晚点。", language="zh-CN"), example(1, "明天火车晚点。", language=other)], Translation()
    )
    assert rows["truncated"] == ["今天火", "明天火"]
    near = rows[NEAR_MISS][0]
    assert near == "明天火车晚点。"  # the one character that the other reference has and this one lacks


def test_near_misses_stay_in_their_language() -> None:
    rows = control_rows([*GERMAN, example(3, "El perro duerme.", language="es")], Translation())
    assert rows[NEAR_MISS][3] is None


def test_emoji_combining_characters_and_right_to_left_text() -> None:
    texts = ["👍🏽 gut", "👎 schlecht", "cafe\u0301 zu", "שלום עולם", "...", " "]
    rows = control_rows([example(number, text) for number, text in enumerate(texts)], Translation())
    assert rows[GOLD] == texts
    assert rows["truncated"] == ["👍🏽", "👎", "cafe\u0301", "שלום", None, None]
    assert rows["empty"][5] is None  # it is the reference


def test_an_example_without_references_has_only_what_needs_none() -> None:
    rows = control_rows([example(0, source="hello"), *GERMAN], Translation())
    applying = {name for name, row in rows.items() if row[0] is not None}
    assert applying == {"shuffled reference", "copied source", "other language", "full stop", "empty"}


def test_the_question_is_copied_without_the_words_around_it() -> None:
    asked = [
        dataclasses.replace(example(0, "It rains.", language="en"), columns={"question": "What happens?"}),
        example(1, "Nothing.", instruction="Hear <|audio|> and tell: why?", language="en"),
        example(2, "why", instruction="<|audio|> Why?", language="en"),
    ]
    assert control_rows(asked, Questions())["copied question"] == ["What happens?", "Hear and tell: why?", None]
    assert "copied question" not in control_rows(asked, Translation())


def test_a_transcript_that_is_the_answer_or_unknown_is_no_copy() -> None:
    rows = control_rows([example(0, "Berlin!", source="berlin"), example(1, "Ja.", source="Yes."), example(2, "Ja.")],
                        Translation())  # fmt: skip
    assert rows["copied source"] == [None, "Yes.", None]
    assert "copied source" not in control_rows([example(0, "Ja.")], Translation())


def test_the_other_language_is_neither_of_the_two() -> None:
    LanguageDetectorBuilder = pytest.importorskip("lingua").LanguageDetectorBuilder
    codes = [*LANGUAGES, "deu", "ger", "rus", "en_GB", "FRA", "mul"]
    examples = [
        Example(f"{source}-{target}", None, "", ("x",), None, source, target) for source in codes for target in codes
    ]
    row = control_rows(examples, Translation())["other language"]
    detector = LanguageDetectorBuilder.from_all_languages().with_low_accuracy_mode().build()
    language_of = {}
    for sentence in {str(text) for text in row}:
        language = detector.detect_language_of(sentence)
        assert language is not None
        language_of[sentence] = {language.iso_code_639_1.name.lower(), language.iso_code_639_3.name.lower()}
    assert len(set(map(frozenset, language_of.values()))) == len(language_of) >= 8  # each in a language of its own
    for own, text in zip(examples, row, strict=True):
        known = {primary(code) for code in (own.source_language, own.target_language)}
        assert known.isdisjoint(language_of[str(text)])
