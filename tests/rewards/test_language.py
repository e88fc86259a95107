"""The language of a text: lingua's own confidence, the same in every call."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from lingua import Language as Lingua
from lingua import LanguageDetector, LanguageDetectorBuilder

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import MissingError, UsageError
from speechbench.rewards import Batch, load_reward
from speechbench.rewards.language import Language

SET = "en,de,fr,zh"
TEXTS = [
    "Der Bauer hat gestern drei Äpfel gezählt.",
    "The farmer counted three apples yesterday.",
    "Le fermier a compté trois pommes hier.",
    "我喜欢红色的苹果",
    "Ja.",
    "Paris, Guten Tag 我喜欢",
    "Hallo world",
]


@pytest.fixture(scope="module")
def detector() -> LanguageDetector:
    return LanguageDetectorBuilder.from_languages(Lingua.ENGLISH, Lingua.GERMAN, Lingua.FRENCH, Lingua.CHINESE).build()


class Anything(Benchmark):
    name = "anything"

    def __init__(self, language: str) -> None:
        super().__init__()
        self.target_language = language

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        return [example(self.target_language)]


def example(language: str) -> Example:
    return Example("id", None, "", (), None, "en", language)


def scores(reward: Language, texts: list[str], language: str = "de") -> list[float | None]:
    return reward.score(Batch.of(texts, [example(language) for _ in texts]))


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("de", Lingua.GERMAN),
        ("de-CH", Lingua.GERMAN),
        ("deu", Lingua.GERMAN),
        ("zh-CN", Lingua.CHINESE),
        ("zh_TW", Lingua.CHINESE),
        ("zho", Lingua.CHINESE),
        ("EN", Lingua.ENGLISH),
    ],
)
def test_score_is_linguas_confidence(detector: LanguageDetector, code: str, language: Lingua) -> None:
    expected = [detector.compute_language_confidence(text, language) for text in TEXTS]
    assert scores(Language(SET), TEXTS, code) == pytest.approx(expected, abs=6e-5)
    assert max(expected) > 0.9 and min(expected) < 0.1


def test_examples_of_several_languages_in_one_batch() -> None:
    right = ["de", "en", "fr", "zh-CN"]
    batch = Batch.of(TEXTS[:4] * 2, [example(code) for code in [*right, *right[::-1]]])
    found = Language(SET).score(batch)
    assert min(x for x in found[:4] if x is not None) > 0.9 > 0.1 > max(x for x in found[4:] if x is not None)


def test_score_is_the_same_in_every_call_and_batch() -> None:
    # lingua's own differs in the last digits from call to call.
    texts = [f"Der Bauer {word} hat gestern {word} gezählt." for word in ("a", "the", "one", "on", "apples", "red")] * 8
    first = scores(Language(SET), texts)
    assert all(scores(Language(SET), texts) == first for _ in range(10))
    assert [scores(Language(SET), [text])[0] for text in texts] == first


def test_languages_and_accuracy_change_the_score_the_signature_and_the_column() -> None:
    variants = [Language("de,en"), Language(SET), Language("de,en", accuracy="low"), Language("de,nl")]
    values = [scores(variant, ["Hallo world", "Ja"]) for variant in variants]
    for kind in (values, [v.signature() for v in variants], [v.display for v in variants]):
        assert all(one not in kind[:place] for place, one in enumerate(kind))
    assert Language("deu, en").signature() == Language("en,de").signature()
    assert Language("de,en").languages == {"de", "en"} and not Language().languages


def test_default_chooses_among_source_target_and_common_languages() -> None:
    common = (Lingua.GERMAN, Lingua.ENGLISH, Lingua.SPANISH, Lingua.FRENCH, Lingua.RUSSIAN, Lingua.CHINESE)
    for target, language in (("de", Lingua.GERMAN), ("sv-SE", Lingua.SWEDISH)):
        expected = LanguageDetectorBuilder.from_languages(*{*common, language}).build()
        assert scores(Language(), TEXTS, target) == pytest.approx(
            [expected.compute_language_confidence(text, language) for text in TEXTS], abs=6e-5
        )


def test_all_languages_may_be_chosen_from() -> None:
    low = LanguageDetectorBuilder.from_all_languages().with_low_accuracy_mode().build()
    expected = [low.compute_language_confidence(text, Lingua.GERMAN) for text in TEXTS]
    everything = Language("all", accuracy="low")
    assert scores(everything, TEXTS) == pytest.approx(expected, abs=6e-5)
    assert everything.signature()["languages"] == "all" != Language().signature()["languages"]
    assert scores(everything, TEXTS) != scores(Language(accuracy="low"), TEXTS)


@pytest.mark.parametrize("text", ["", "  \n", "123", "?!", "😀👩‍👩‍👧"])
def test_text_without_letters_is_in_no_language(text: str) -> None:
    assert scores(Language(SET), [text]) == [0.0]


@pytest.mark.parametrize("text", ["مرحبا بالعالم", "fu\u0308r Ma\u0308dchen", "a" * 100_000, "ja " * 33_000])
def test_any_text_gets_a_score(text: str) -> None:
    (score,) = scores(Language("de,en"), [text])
    assert score is not None and 0.0 <= score <= 1.0


def test_of_a_long_text_the_beginning_counts() -> None:
    german = "Der Bauer hat gestern drei rote Äpfel gezählt. " * 60
    assert scores(Language(SET), [german[:2_000] + " The farmer counted apples." * 1_000]) == scores(
        Language(SET), [german[:2_000]]
    )


def test_no_hypotheses() -> None:
    assert Language(SET).score(Batch.of([], [])) == []


def test_unknown_target_language_is_refused_before_training() -> None:
    for attempt in (
        lambda: load_reward("language", Anything("tlh")),
        lambda: scores(Language(SET), ["Ja."], "tlh"),
    ):
        with pytest.raises(
            UsageError, match=r"^reward language: lingua knows no language 'tlh'; there are: af, ar, .*zu$"
        ):
            attempt()
    load_reward("language", Anything("sv-SE"))
    load_reward("language", Anything("mul"))


def test_target_language_must_be_one_of_those_chosen_from() -> None:
    message = r"target language sv-SE is not one of de, en: write language\(languages='de,en,sv'\)$"
    with pytest.raises(UsageError, match=message):
        load_reward("language(languages='de,en')", Anything("sv-SE"))
    load_reward("language(languages='de,en,sv')", Anything("sv-SE"))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"languages": "de"}, "name at least two languages"),
        ({"languages": "de,deu"}, "name at least two languages"),
        (
            {"languages": "de,klingon"},
            r"language\(languages='de,klingon'\): lingua knows no language 'klingon'; there are",
        ),
        ({"accuracy": "medium"}, r"language\(accuracy=medium\): the accuracy is high or low"),
    ],
)
def test_parameters_are_refused_with_the_remedy(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Language(**parameters)


def test_missing_library_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from speechbench.rewards import language

    language._languages.cache_clear()
    monkeypatch.setitem(sys.modules, "lingua", None)
    with pytest.raises(
        MissingError, match=r"reward language needs the package lingua.*pip install 'speechbench\[language\]'"
    ):
        load_reward("language", Anything("de"))


def test_needs_no_reference() -> None:
    assert not Language().needs and Language().several_references == "none" and Language().maximum is None
