"""Health of outputs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from speechbench.errors import MissingError
from speechbench.health import health, is_copied, is_repeated, wrong_language
from speechbench.rewards import language as languages
from speechbench.runs import Sample


def make(hypothesis: str, reference: str = "Der Mann liest.", source: str = "x", truncated: bool = False) -> Sample:
    return Sample("i", source, (reference,), "", None, None, "de", hypothesis, 1, truncated, {})


def test_shares_are_of_all_outputs() -> None:
    found = health(
        [
            make(" \n"),
            make("The man reads", source="the man, reads!"),
            make("sehr sehr sehr gut"),
            make("Der Mann liest.", truncated=True),
        ]
    )
    assert (found.empty, found.copied, found.repeated, found.truncated) == (0.25, 0.25, 0.25, 0.25)
    assert found.length_ratio == (2 + 13 + 18 + 15) / (4 * 15)


def test_length_ratio_is_unknown_without_references() -> None:
    assert health([make("a", reference="")]).length_ratio is None
    with pytest.raises(ValueError):
        health([])


def test_copying_what_is_right_is_no_fault() -> None:
    assert is_copied("Berlin", "berlin!", ("Hamburg",))
    assert not is_copied("Berlin", "berlin!", ("Hamburg", "Berlin."))
    assert not is_copied("", "...", ("Hamburg",))
    assert not is_copied("Berlin", None, ("Hamburg",))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_three_times_in_a_row_is_repeated_up_to_four_words(n: int) -> None:
    loop = [f"w{i}" for i in range(n)]
    assert is_repeated(" ".join(["start", *loop * 3, "end"]), ())
    assert not is_repeated(" ".join(["start", *loop * 2, "end"]), ())


def test_long_loops_lack_distinct_ngrams() -> None:
    sentence = "the man reads a book in the house"
    assert is_repeated(" ".join([sentence] * 4), (sentence,))
    assert not is_repeated(" ".join([sentence, "and then he quietly goes home to sleep"]), (sentence,))


def test_what_the_reference_repeats_is_no_fault() -> None:
    assert not is_repeated("drei drei drei", ("Drei, drei, drei.",))
    assert is_repeated("drei drei drei drei", ("Drei, drei, drei.",))
    long = " ".join(["one two three four five"] * 4)
    assert not is_repeated(long, (long,))


@pytest.mark.parametrize("language", ["zh-CN", "zho", "cmn", "yue", "jpn", "tha"])
def test_characters_stand_for_words_where_there_are_no_spaces(language: str) -> None:
    assert is_repeated("我喜欢喜欢喜欢", (), language)
    assert not is_repeated("我喜欢喜欢喜欢", (), "de")


GERMAN = "Der Mann geht heute mit seiner Frau und den Kindern in die Stadt."
ENGLISH = "The man is going to the city today with his wife and the children."
SPANISH = "El hombre va hoy a la ciudad con su esposa y los niños pequeños."


def test_another_language_than_the_one_asked_for_is_counted() -> None:
    pytest.importorskip("lingua")
    right, wrong = make(GERMAN, GERMAN), make(ENGLISH, GERMAN)
    assert wrong_language([right, wrong, right, make(SPANISH, GERMAN)]) == health([right, wrong]).wrong_language == 0.5
    swiss = [replace(sample, target_language="de-CH") for sample in (right, wrong)]
    assert wrong_language(swiss) == 0.5
    spanish = replace(make(SPANISH, SPANISH), target_language="es")
    assert wrong_language([right, spanish, wrong, replace(wrong, target_language="en")]) == 0.25


def test_a_text_that_tells_nothing_and_what_the_reference_is_too_are_no_fault() -> None:
    pytest.importorskip("lingua")
    assert wrong_language([make("", GERMAN), make("42 !?", GERMAN)]) == 0.0
    assert wrong_language([make(ENGLISH, ENGLISH)]) == 0.0  # a title that stays as it is


def test_the_language_is_unknown_where_lingua_is_not_there_or_does_not_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lingua")
    assert wrong_language([make(GERMAN), replace(make("a"), target_language="tlh")]) is None

    def missing() -> None:
        raise MissingError("lingua is not installed")

    monkeypatch.setattr(languages, "_languages", missing)
    assert wrong_language([make(GERMAN)]) is None
    assert health([make(GERMAN)]).wrong_language is None
