"""Health of outputs."""

from __future__ import annotations

import pytest

from speechbench.health import health, is_copied, is_repeated
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
