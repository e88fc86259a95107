"""Scorers that go by the target language, on a benchmark where each example has its own."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import pytest

from speechbench.benchmarks.base import SEVERAL_LANGUAGES, Benchmark, Example
from speechbench.errors import MissingError, UsageError
from speechbench.rewards import Reward, load_reward, measure
from speechbench.rewards.by_language import ByLanguage

SPECS = ["bleu", "ter", "wer", "rouge1(stemmer=true)", "meteor", "language"]


class Of(Benchmark):
    def __init__(self, language: str) -> None:
        super().__init__()
        self.name = "anything"
        self.target_language = language

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        return []


def example(language: str) -> Example:
    return Example(f"in {language}", None, "", ("Ja.",), None, "en", language)


class Watched(ByLanguage):
    """Notes what it is asked to check."""

    display = "watched"

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def _check_language(self, language: str, of: str) -> None:
        self.seen.append((language, of))

    def score(self, batch: object) -> list[float | None]:
        raise AssertionError("never called")


def test_each_language_is_checked_once() -> None:
    reward = Watched()
    reward.check(Of("de"))
    reward.check(Of(SEVERAL_LANGUAGES))
    assert reward.seen == [("de", "anything")]
    reward.seen.clear()
    reward.prepare([example("de"), example("zh-CN"), example("de")])
    assert sorted(reward.seen) == [("de", "example 'in de'"), ("zh-CN", "example 'in zh-CN'")]


@pytest.mark.parametrize("spec", SPECS)
def test_signature_is_that_of_all_languages(spec: str) -> None:
    if spec == "language":
        pytest.importorskip("lingua")
    alone = load_reward(spec).signature()
    reward = load_reward(spec, Of(SEVERAL_LANGUAGES))
    assert reward.signature() == alone
    if spec in ("bleu", "ter", "meteor"):
        english = load_reward("meteor(synonyms=false)" if spec == "meteor" else spec, Of("en"))
        assert alone != english.signature()
    if spec == "bleu":
        assert "tok:by-language" in str(alone["metric"]) and "tok:by-language" in str(alone["reward"])


@pytest.mark.parametrize(
    ("spec", "right", "wrong", "said"),
    [
        ("ter", ["de", "zh", "jpn"], "th", "example 'in th', th, is written without: use cer"),
        ("wer", ["de", "ko"], "tha", "example 'in tha', tha, is written without: use cer"),
        ("rougeL(stemmer=true)", ["en", "eng-GB"], "de", "target language of example 'in de' is de: leave out stemmer"),
        ("meteor(synonyms=true)", [], "de", "target language is de: leave them out"),
        ("language(languages='de,en')", ["deu", "en-GB"], "fr", "target language fr is not one of de, en"),
    ],
)
def test_a_language_that_cannot_be_scored_is_refused_before_the_first_score(
    spec: str, right: Sequence[str], wrong: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if spec.startswith("language"):
        pytest.importorskip("lingua")
    reward = load_reward(spec, Of(SEVERAL_LANGUAGES))
    reward.prepare([example(language) for language in right])
    monkeypatch.setattr(type(reward), "score", lambda *_: pytest.fail("it was asked for scores"))
    for attempt in (reward.prepare, lambda examples: measure(reward, ["Ja."] * len(examples), examples)):
        with pytest.raises(UsageError, match=said):
            attempt([example(language) for language in (*right, wrong)])


def test_a_tokenizer_that_is_lacking_is_told_before_the_first_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("sacrebleu.tokenizers.tokenizer_ko_mecab"), "MeCab", None)
    reward = load_reward("bleu", Of(SEVERAL_LANGUAGES))
    reward.prepare([example("de")])
    with pytest.raises(MissingError, match=r"target language kor.*pip install 'sacrebleu\[ko\]'"):
        reward.prepare([example("de"), example("kor")])
    with pytest.raises(MissingError, match="tokenizer ko-mecab"):
        load_reward("bleu(tokenize=ko-mecab)", Of(SEVERAL_LANGUAGES))


def test_wordnet_that_is_lacking_is_told_before_the_first_score(monkeypatch: pytest.MonkeyPatch) -> None:
    from speechbench.rewards import meteor

    def lacking() -> None:
        raise MissingError("no WordNet")

    monkeypatch.setattr(meteor, "_wordnet", lacking)
    reward: Reward = load_reward("meteor", Of(SEVERAL_LANGUAGES))
    reward.prepare([example("de")])
    with pytest.raises(MissingError, match="no WordNet"):
        reward.prepare([example("de"), example("eng")])
