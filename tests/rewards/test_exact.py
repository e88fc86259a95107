"""The reward `binary`: what each mode takes for right, and what it does not."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbench.benchmarks.base import Example
from speechbench.errors import UsageError
from speechbench.rewards import Batch, load_reward
from speechbench.rewards.exact import Binary, number, option


def score(
    hypothesis: str,
    *references: str,
    normalize: bool = True,
    mode: str = "exact",
    tolerance: float = 0.0,
    language: str = "de",
) -> float | None:
    example = Example("id", None, "", references, None, "en", language)
    (result,) = Binary(normalize, mode, tolerance).score(Batch.of([hypothesis], [example]))
    return result


@pytest.mark.parametrize(
    ("hypothesis", "reference"),
    [
        ("ja", "Ja."),
        ("  die   große Straße!", "Die große Strasse"),
        ("fu\u0308r", "für"),  # decomposed and composed
        ("ﬁnden", "finden"),  # ligature
        ("„Hallo, Welt“", "Hallo Welt"),
    ],
)
def test_forgiven(hypothesis: str, reference: str) -> None:
    assert score(hypothesis, reference) == 1.0
    assert score(hypothesis, reference, normalize=False) == 0.0


@pytest.mark.parametrize(
    ("hypothesis", "reference"),
    [("fur", "für"), ("", "Ja."), ("Ja ja", "Ja"), ("", "?"), ("!", "?"), ("haus tür", "haustür")],
)
def test_not_forgiven(hypothesis: str, reference: str) -> None:
    assert score(hypothesis, reference) == 0.0


@given(st.text(), st.text(), st.booleans())
def test_gold_gets_the_maximum_among_any_references(gold: str, other: str, normalize: bool) -> None:
    assert score(gold, other, gold, normalize=normalize) == 1.0


def test_no_reference_means_none() -> None:
    assert score("Ja.") is None


@pytest.mark.parametrize(
    ("hypothesis", "reference", "language", "expected"),
    [
        ("Das war, glaube ich, der Hund.", "Der Hund", "de", 1.0),
        ("Der  HUND!", "der Hund", "de", 1.0),
        ("der Hundebesitzer", "der Hund", "de", 0.0),
        ("Hund der", "der Hund", "de", 0.0),
        ("", "der Hund", "de", 0.0),
        ("der Hund", "", "de", 0.0),
        ("我 喜欢红苹果。", "红苹果", "zh-CN", 1.0),
        ("我喜欢红苹果", "", "zh-CN", 0.0),
        ("我喜欢红苹果", "绿苹果", "zh-CN", 0.0),
        ("我喜欢红苹果", "红苹果", "de", 0.0),
        ("我喜欢红苹果", "红苹果", "zho", 1.0),
        ("彼は赤いリンゴを食べた", "赤い リンゴ", "jpn", 1.0),
    ],
)
def test_contains(hypothesis: str, reference: str, language: str, expected: float) -> None:
    assert score(hypothesis, reference, mode="contains", language=language) == expected
    assert score(hypothesis, "anderes", reference, mode="contains", language=language) == expected


def test_contains_verbatim() -> None:
    assert score("ja , der Hund", "der Hund", mode="contains", normalize=False) == 1.0
    assert score("ja , Der Hund", "der Hund", mode="contains", normalize=False) == 0.0
    assert score("ja , der Hund.", "der Hund", mode="contains", normalize=False) == 0.0


@given(st.text(), st.text(), st.booleans(), st.sampled_from(["de", "zh"]))
def test_gold_contains_itself(gold: str, other: str, normalize: bool, language: str) -> None:
    assert score(gold, other, gold, mode="contains", normalize=normalize, language=language) == 1.0


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        # nothing but a letter
        ("B", "B"),
        (" (b) ", "B"),
        ("b.", "B"),
        ("**B**", "B"),
        ("'B'", "B"),
        ("Ｂ", "B"),
        ("a", "A"),
        # after "answer"
        ("The answer is B", "B"),
        ("Answer: B because A is wrong", "B"),
        ("answer: (c)", "C"),
        ("The correct answer is d.", "D"),
        ("**Answer:**\nB", "B"),
        ("The answer is option B.", "B"),
        ("Option A is wrong, the answer is C", "C"),
        ("The answer is A, the answer is B", None),
        ("the answer is a dog", None),
        ("The answer is A dog", None),
        ("The answer is B or C", None),
        ("answer: A, B, C, D", None),
        ("Answer: (A) (B) (C) (D)", None),
        ("Answer: (A)\n(B)", None),
        ("Answer: A and B", None),
        ("Answer: A / option B", None),
        ("Answer: B C", None),
        ("Answer: a, b", None),
        ("Answer: B or C is right", None),
        ("Answer: B, and B again", "B"),
        ("The answer is B, C is wrong", "B"),
        ("The answer is B, and A is wrong", "B"),
        ("The answer is B, not C", "B"),
        ("The answer is not B.", None),
        ("The answer isn't B.", None),
        ("The answer is not option B", None),
        ("B is not the answer", None),
        ("The answer is not A. The answer is B", "B"),
        # at the start
        ("B. The dog", "B"),
        ("b) the dog", "B"),
        ("(B) the dog", "B"),
        ("B: because of C", "B"),
        ("B. Vitamin C", "B"),
        ("A. dog B. cat C. cow D. fox", None),
        ("(A) dog\n(B) cat", None),
        ("(A) or (C)", None),
        # after "option" or "choice"
        ("I take option b, not (C)", "B"),
        ("Choice D", "D"),
        ("I take option A or B", None),
        # anywhere
        ("It must be B, I think", "B"),
        ("It is A because they say so", "A"),
        ("I am not sure, but B", "B"),
        ("B\nThe dog", "B"),
        ("\\boxed{B}", "B"),
        ("A or B", None),
        ("B, C", None),
        ("(A) or (B)", None),
        ("A dog", None),
        ("a dog", None),
        ("C-section", None),
        ("D'accord", None),
        ("Back", None),
        ("E", None),
        ("", None),
        (" ", None),
        ("مرحبا 😀", None),
    ],
)
def test_option(text: str, letter: str | None) -> None:
    assert option(text) == letter


def test_option_mode_compares_the_letters() -> None:
    assert score("The answer is B", "B", mode="option") == score("(b)", "B. the dog", mode="option") == 1.0
    assert score("C", "B", mode="option") == score("A or B", "B", mode="option") == score("", "B", mode="option") == 0.0
    assert score("C", "B", "C", "the dog", mode="option") == 1.0
    assert score("B", "the dog", mode="option") is None


@pytest.mark.parametrize(
    ("text", "language", "value"),
    [
        ("1,234.5", "en", "1234.5"),
        ("1.234,5", "en", "1234.5"),
        ("1234.5", "de", "1234.5"),
        ("1,234", "en", "1234"),
        ("1,234", "de-DE", "1.234"),
        ("1,234", "deu", "1.234"),
        ("1.234", "en", "1.234"),
        ("1.234", "de-DE", "1234"),
        ("12,345,678", "de", "12345678"),
        ("3,5", "en", "3.5"),
        ("0.125", "de", "0.125"),
        ("1234,567", "en", "1234.567"),
        ("3.14159", "de", "3.14159"),
        ("1 234 567", "fr", "567"),
        ("1\u00a0234\u202f567", "fr", "1234567"),
        ("1'234", "de", "1234"),
        ("1,2,3", "en", "3"),
        ("1.2.3,4", "en", "4"),
        (".5", "en", "0.5"),
        ("it is...5.", "en", "5"),
        ("-5", "en", "-5"),
        ("\u22125", "en", "-5"),
        ("3-5", "en", "5"),
        ("2 + 2 = 4, so 4%", "en", "4"),
        ("$1,000", "en", "1000"),
        ("20km", "en", "20"),
        ("有3个", "zh", "3"),
        ("٣٤", "ar", "34"),
        ("٣٫١٤", "ar", "3.14"),
        ("٣٫١٤١", "ar", "3.141"),
        ("١٬٢٣٤٫٥", "ar", "1234.5"),
        ("١٬٢٣٤", "de", "1234"),
        ("12,34,567", "en", "1234567"),
        ("1,23,456.5", "hi", "123456.5"),
        ("1,2,345", "en", "345"),
        ("1.23.456", "en", "456"),
        ("**5**", "en", "5"),
        ("5 m^2", "en", "5"),
        ("1e5", "en", None),
        ("1.5E-5", "en", None),
        ("10^5", "en", None),
        ("10^{-5}", "en", None),
        ("10**5", "en", None),
        ("10⁵", "en", None),
        ("1e5 is 100,000", "en", "100000"),
        ("B2", "en", None),
        ("drei", "de", None),
        ("½ ²", "en", None),
        ("", "en", None),
    ],
)
def test_number(text: str, language: str, value: str | None) -> None:
    assert number(text, language) == (None if value is None else Decimal(value))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4), st.sampled_from(["en", "de"]))
def test_number_is_read_as_it_is_written_in_the_language(value: Decimal, language: str) -> None:
    written = f"{value:,.4f}"
    if language == "de":
        written = written.translate(str.maketrans(",.", ".,"))
    assert number(f"It is {written}.", language) == value


def test_numeric_mode_compares_the_last_numbers() -> None:
    assert score("3 and 4 make 7.", "7", mode="numeric") == score("1.234,50", "1234.5", mode="numeric") == 1.0
    assert score("7 is 3 and 4", "7", mode="numeric") == score("seven", "7", mode="numeric") == 0.0
    assert score("8", "7", "8", "eight", mode="numeric") == 1.0
    assert score("7", "seven", mode="numeric") is None


def test_tolerance_is_a_share_of_the_reference() -> None:
    assert score("-100", "100", mode="numeric", tolerance=0.15) == 0.0
    for hypothesis, expected in (("115", 1.0), ("85", 1.0), ("115.01", 0.0), ("84.9", 0.0), ("no", 0.0)):
        assert score(hypothesis, "100", mode="numeric", tolerance=0.15) == expected
        assert score(f"-{hypothesis}", "-100", mode="numeric", tolerance=0.15) == expected
        assert score(hypothesis, "100", mode="numeric") == 0.0


@given(st.text(), st.sampled_from(["option", "numeric"]), st.sampled_from([0.0, 0.1]))
def test_gold_gets_the_maximum_where_the_mode_applies(gold: str, mode: str, tolerance: float) -> None:
    tolerance = tolerance if mode == "numeric" else 0.0
    assert score(gold, gold, mode=mode, tolerance=tolerance) in (None, Binary().maximum)


@pytest.mark.parametrize("mode", ["exact", "contains", "option", "numeric"])
@pytest.mark.parametrize(
    "text",
    [
        "answer " * 15_000,
        "answer" + " " * 100_000,
        "A. " * 33_000,
        "answer A, " * 10_000,
        "answer: " + "A, " * 33_000,
        "1," * 50_000,
        "9" * 100_000,
        "(" * 100_000,
    ],
)
def test_long_text_gets_a_score(text: str, mode: str) -> None:
    assert score(text, "B 5", mode=mode) == 0.0
    assert score(text, text, mode=mode) in (None, 1.0)


def test_no_hypotheses() -> None:
    assert Binary().score(Batch.of([], [])) == []


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("normalize=flase", r"binary\(normalize=flase\): write true or false"),
        ("mode=letter", r"binary\(mode=letter\): the modes are exact, contains, option, numeric"),
        ("mode=option, normalize=false", "only exact and contains normalize; leave it out"),
        ("mode=numeric, tolerance=-1", "a number of at least 0"),
        ("mode=numeric, tolerance=inf", "a number of at least 0"),
        ("mode=numeric, tolerance=true", "a number of at least 0"),
        ("tolerance=0.1", r"binary\(mode=exact, tolerance=0.1\): write mode=numeric"),
    ],
)
def test_parameters_are_refused_with_the_remedy(parameters: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_reward(f"binary({parameters})")


def test_parameters_change_the_signature_and_the_column() -> None:
    variants = [Binary(), Binary(normalize=False), Binary(mode="contains"), Binary(False, "contains")]
    variants += [Binary(mode="option"), Binary(mode="numeric"), Binary(mode="numeric", tolerance=0.01)]
    for kind in ([v.signature() for v in variants], [v.display for v in variants]):
        assert all(one not in kind[:place] for place, one in enumerate(kind))
    assert Binary().display == "binary" and Binary(mode="option").display == "binary[option]"
