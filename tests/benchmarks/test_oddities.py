"""What is odd in texts and in how splits relate."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbench.benchmarks.audio import Examined
from speechbench.benchmarks.base import Example
from speechbench.benchmarks.oddities import FACTOR, LEAST_PAIRS, ODD, PREFIX, Oddities

GERMAN = "abcdefghijklmnopqrstuvwxyzäöüßABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÜ"


def example(
    name: str,
    source: str | None = "Good morning.",
    reference: str = "Guten Morgen.",
    instruction: str = "<|audio|> ?",
    target_language: str = "de",
) -> Example:
    return Example(name, None, instruction, (reference,), source, "en", target_language)


def remarks(*examples: Example, task: str = "other", split: str = "test") -> list[tuple[str, str]]:
    """Kind and place of each."""
    oddities = Oddities(task)
    for one in examples:
        oddities.add(split, one, None)
    return [(remark.kind.removeprefix(PREFIX), remark.where) for remark in oddities.remarks()]


def kinds_in(text: str) -> set[str]:
    return {kind for kind, look in ODD.items() if look(text) is not None}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "empty {}"),
        (" \u3000", "empty {}"),
        (" Ja.", "white space at an end of the {}"),
        ("Ja.\u00a0", "white space at an end of the {}"),
        ("a\tb", "control character in the {}"),
        ("a\x00b", "control character in the {}"),
        ("a\u200bb", "invisible character in the {}"),
        ("\ufeffa", "invisible character in the {}"),
        ("M\ufffdller", "U+FFFD, the replacement character, in the {}"),
        ("MÃ¼ller", "mojibake in the {}"),
        ("itâ€™s", "mojibake in the {}"),
        ("привет".encode().decode("cp1252", "replace"), "mojibake in the {}"),
        ("日本".encode().decode("latin-1"), "mojibake in the {}"),
        ("Tom &amp; Jerry", "HTML in the {}"),
        ("&#252;ber", "HTML in the {}"),
        ("a <i>b</i>", "HTML in the {}"),
        ("Mu\u0308ller", "{} not in Unicode's form NFC"),
        ("HE WAS GONE", "{} in upper case"),
    ],
)
def test_what_is_odd_in_a_text(text: str, kind: str) -> None:
    assert kind in kinds_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "Das Menü heißt „Menú“ – groß, „Spaß“ und „Gruß“…",
        "« Voilà », dit-il à l’abbé.",
        "3 < 4 > 2; R&D, AT&T; ok",
        "BBC.",
        "Ä 4",
        "می\u200cخواهم",  # Persian is spelled with U+200C
        "今日は。",
        "صباح الخير",
        "Привет, как дела?",
        "Ó! Você não é… „Ñandú“",
    ],
)
def test_what_is_not_odd(text: str) -> None:
    assert kinds_in(text) == set()


@given(st.text(GERMAN + " ", min_size=1))
def test_latin_text_read_in_the_wrong_encoding_is_mojibake_and_no_other(text: str) -> None:
    wrong = text.encode("utf-8").decode("cp1252", "replace")
    assert ("mojibake in the {}" in kinds_in(wrong)) == any(c in "äöüÄÖÜß" for c in text)
    assert "mojibake in the {}" not in kinds_in(text)


@given(st.text())
def test_control_characters_are_unicodes(text: str) -> None:
    is_odd = any(unicodedata.category(character) == "Cc" for character in text)
    assert ("control character in the {}" in kinds_in(text)) == is_odd


@given(st.text(), st.text())
def test_every_text_of_an_example_is_looked_at(source: str, reference: str) -> None:
    found = {kind for kind, _ in remarks(example("x", source, reference, target_language="en"))}
    assert found == {k.format("source") for k in kinds_in(source)} | {
        k.format("reference") for k in kinds_in(reference)
    }


def test_a_transcript_that_is_not_known_is_told() -> None:
    assert remarks(example("x", source=None)) == [("no source", "x (test)")]


@pytest.mark.parametrize("task", ["translation", "other"])
def test_an_example_without_reference_is_told(task: str) -> None:
    assert remarks(replace(example("a"), references=()), task=task) == [("no reference", "a (test)")]


def test_an_id_that_two_examples_have_is_told() -> None:
    found = remarks(example("a"), example("b", "Two.", "Zwei."), example("a", "Three.", "Drei."))
    assert found == [("id twice", "a (test)")]


def test_a_copied_source_is_odd_only_in_another_language() -> None:
    assert remarks(example("x", "Paris.", "Paris.")) == [("reference equal to the source", "x (test)")]
    assert remarks(example("x", "Paris.", "Paris.", target_language="en-GB")) == []


def test_the_same_texts_twice() -> None:
    again = [example("a"), example("b"), example("c", reference="Moin.")]
    assert remarks(*again) == [("text twice in a split", "b (test)")]
    oddities = Oddities("other")
    oddities.add("train", example("a"), None)
    oddities.add("test", example("b"), None)
    (remark,) = oddities.remarks()
    assert (remark.kind, remark.where) == (f"{PREFIX}text in two splits", "b (test)")
    assert "a (train)" in remark.what


def test_two_questions_may_have_one_answer_but_paraphrased_instructions_ask_the_same() -> None:
    twice = [example("a", instruction="<|audio|> who?"), example("b", instruction="<|audio|> where?")]
    assert remarks(*twice, task="question-answering") == []
    assert remarks(*twice, task="translation") == [("text twice in a split", "b (test)")]


def test_a_recording_in_two_splits_is_told_and_several_questions_about_one_are_not() -> None:
    oddities = Oddities("question-answering")
    for split, name, digest in (("train", "a", "1"), ("train", "b", "1"), ("test", "c", "1"), ("test", "d", "2")):
        oddities.add(split, example(name, name, name, target_language="en"), Examined(digest, 1.0))
    (remark,) = oddities.remarks()
    assert (remark.kind, remark.where) == (f"{PREFIX}recording in two splits", "c (test)")
    assert "a (train)" in remark.what


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 300)), min_size=LEAST_PAIRS, max_size=60))
def test_unusual_lengths_are_those_far_from_the_median_ratio(lengths: list[tuple[int, int]]) -> None:
    texts = [("s" * source, "r" * reference) for source, reference in lengths]
    found = remarks(*(example(str(n), *pair) for n, pair in enumerate(texts)), task="translation")
    source, reference = np.array(lengths, dtype=float).T
    usual = np.median(reference / source)
    ratio = reference / source / usual
    sure = (ratio > FACTOR * 1.000001) | (ratio < 0.999999 / FACTOR)
    far = np.flatnonzero(sure & (abs(reference - source * usual) > 15.000001))
    told = {place for kind, place in found if kind == "unusual length of the reference"}
    assert {f"{n} (test)" for n in far} <= told
    close = np.flatnonzero((ratio < FACTOR * 0.999999) & (ratio > 1.000001 / FACTOR))
    assert not {f"{n} (test)" for n in close} & told


def test_lengths_are_compared_only_where_they_should_agree_and_enough_are_known() -> None:
    many = [example(str(n), "s" * 30 + str(n), "r" * 30) for n in range(LEAST_PAIRS)]
    long = example("long", "s" * 30, "r" * 300)
    assert ("unusual length of the reference", "long (test)") in remarks(*many, long, task="translation")
    assert remarks(*many, long, task="question-answering") == []
    assert remarks(*many[: LEAST_PAIRS - 2], long, task="translation") == []


TRANSCRIPTS = Path(__file__).parents[2] / "../shared/data/LibriSpeech"


@pytest.mark.skipif(not TRANSCRIPTS.is_dir(), reason="needs ../shared/data/LibriSpeech")
def test_librispeechs_transcripts_are_odd_in_nothing_but_their_casing() -> None:
    files = sorted(TRANSCRIPTS.rglob("*.trans.txt"))
    lines = [line.partition(" ") for path in files for line in path.read_text("utf-8").splitlines()]
    assert lines
    found = remarks(*(example(name, text, name.lower(), target_language="en") for name, _, text in lines))
    assert {kind for kind, _ in found} == {"source in upper case"}
    assert len(found) == sum(" " in text for _, _, text in lines)
