"""ROUGE: rouge-score's own F1, by either tokenizer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import UsageError
from speechbench.rewards import Batch, Reward, load_reward, measure
from speechbench.rewards.rouge import Rouge1, Rouge2, RougeL

KINDS = {"rouge1": Rouge1, "rouge2": Rouge2, "rougeL": RougeL}
WORDS = [
    "Der",
    "die",
    "Äpfel",
    "für",
    "fär",
    "apples",
    "running",
    "ran",
    "don't",
    "gezählt.",
    "3,5",
    "_",
    "x",
    "a",
    "b",
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(max_size=15)
ENGLISH = st.text(alphabet=st.characters(max_codepoint=127), max_size=30) | st.lists(
    st.sampled_from([word for word in WORDS if word.isascii()]), max_size=12
).map(" ".join)


def example(*references: str, language: str = "de") -> Example:
    return Example("id", None, "", references, None, "en", language)


def score(reward: Reward, hypothesis: str, *references: str) -> float | None:
    return reward.score(Batch.of([hypothesis], [example(*references)]))[0]


class Ours(Tokenizer):  # type: ignore[misc]
    """A reward's tokenizer, for rouge-score."""

    def __init__(self, reward: Any) -> None:
        self._reward = reward

    def tokenize(self, text: str) -> list[str]:
        found: list[str] = self._reward.tokens(text)
        return found


@pytest.mark.parametrize("name", KINDS)
@given(hypothesis=TEXTS, references=st.lists(TEXTS, min_size=1, max_size=3), stemmer=st.booleans())
def test_scores_equal_rouge_scores(name: str, hypothesis: str, references: list[str], stemmer: bool) -> None:
    peer = RougeScorer([name], use_stemmer=stemmer)
    expected = peer.score_multi(references, hypothesis)[name].fmeasure
    assert score(KINDS[name](tokenizer="rouge155", stemmer=stemmer), hypothesis, *references) == expected


@pytest.mark.parametrize("name", KINDS)
@given(hypothesis=TEXTS, references=st.lists(TEXTS, min_size=1, max_size=3), stemmer=st.booleans())
def test_scores_are_rouge_scores_with_our_tokenizer(
    name: str, hypothesis: str, references: list[str], stemmer: bool
) -> None:
    reward = KINDS[name](stemmer=stemmer)
    expected = RougeScorer([name], tokenizer=Ours(reward)).score_multi(references, hypothesis)[name].fmeasure
    assert score(reward, hypothesis, *references) == expected


@given(text=ENGLISH, stemmer=st.booleans())
def test_on_plain_english_both_tokenizers_are_one(text: str, stemmer: bool) -> None:
    assert Rouge1(stemmer=stemmer).tokens(text) == Rouge1(tokenizer="rouge155", stemmer=stemmer).tokens(text)


def test_the_published_tokenizer_loses_german_letters_and_ours_does_not() -> None:
    assert score(Rouge1(tokenizer="rouge155"), "fär", "für") == 1.0
    assert score(Rouge1(), "fär", "für") == 0.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Fünf Äpfel!", ["fünf", "äpfel"]),
        ("fu\u0308nf", ["fünf"]),  # the same letter, in two code points
        ("我喜欢ABC 12个", ["我", "喜", "欢", "abc", "12", "个"]),
        ("リンゴを", ["リ", "ン", "ゴ", "を"]),
        ("サーバーabc", ["サ", "ー", "バ", "ー", "abc"]),  # the long mark is no script's own
        ("ｻｰﾊﾞｰabc", ["ｻ", "ｰ", "ﾊ", "ﾞ", "ｰ", "abc"]),
        ("กินข้าว", ["กิ", "น", "ข้", "า", "ว"]),  # marks stay with their letters
        ("هذا كِتاب", ["هذا", "كِتاب"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("👩‍👩‍👧 € _", []),
        (" \t\n", []),
    ],
)
def test_words_of_any_script(text: str, words: list[str]) -> None:
    assert Rouge1().tokens(text) == words


def test_options_change_the_score_the_name_and_the_signature() -> None:
    pairs = [("the Houses ran", "The house, he said, ran."), ("fär Hans", "für Hans")]
    specs = {
        "rouge1": "ROUGE-1",
        "rouge1(tokenizer=rouge155)": "ROUGE-1[rouge155]",
        "rouge1(stemmer=true)": "ROUGE-1[stemmed]",
        "rouge1(case=true)": "ROUGE-1[cased]",
        "rouge1(punctuation=true)": "ROUGE-1[punct]",
    }
    rewards = [load_reward(spec) for spec in specs]
    assert [reward.display for reward in rewards] == list(specs.values())
    assert len({tuple(score(reward, *pair) for pair in pairs) for reward in rewards}) == len(specs)
    others = [load_reward(name) for name in ("rouge2", "rougeL")]
    signatures = {json.dumps(reward.signature(), sort_keys=True) for reward in rewards + others}
    assert len(signatures) == len(specs) + 2


@pytest.mark.parametrize("reward", [Rouge1(), RougeL(), Rouge2()])
@given(words=st.lists(st.sampled_from(WORDS), min_size=2, max_size=9), other=TEXTS)
def test_gold_gets_the_maximum(reward: Reward, words: list[str], other: str) -> None:
    assert score(reward, "Ja " + " x ".join(words), other, "Ja " + " x ".join(words)) == 1.0


def test_a_reference_of_one_word_has_nothing_that_rouge2_counts() -> None:
    assert score(Rouge2(), "Ja.", "Ja.") == 0.0 and Rouge2.maximum == 1.0
    assert score(Rouge1(), "Ja.", "Ja.") == Rouge1.maximum == score(RougeL(), "Ja.", "Ja.") == RougeL.maximum


def test_rouge_l_is_of_the_whole_text() -> None:
    hypothesis, reference = "a b c\nd e f", "d e f\na b c"
    assert score(RougeL(), hypothesis, reference) == 0.5
    assert RougeScorer(["rougeLsum"]).score(reference, hypothesis)["rougeLsum"].fmeasure == 1.0


@pytest.mark.parametrize("name", KINDS)
def test_the_corpus_score_is_the_mean(name: str) -> None:
    hypotheses, references = ["ein roter Apfel", "ja ja nein", ""], ["ein grüner Apfel", "ja nein", "so"]
    reward = KINDS[name]()
    found = measure(reward, hypotheses, [example(text) for text in references])
    alone = [score(reward, *pair) or 0.0 for pair in zip(hypotheses, references, strict=True)]
    assert found.corpus == pytest.approx(100 * sum(alone) / 3) and found.segments == [100 * value for value in alone]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("stemmer", [False, True])
def test_odd_texts_are_scored(name: str, stemmer: bool) -> None:
    reward = KINDS[name](stemmer=stemmer)
    assert reward.score(Batch.of([], [])) == []
    none, nothing, blank = reward.score(Batch.of(["a b", "", " "], [example(), example("a b"), example("a b")]))
    assert none is None and nothing == blank == 0.0
    assert score(reward, "a b", "") == 0.0
    assert score(reward, "y" * 100_000, "yes you") == 0.0
    endless = score(reward, "you may " * 12_500, "you may go " * 20)
    assert endless is not None and 0 < endless < 0.1


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("rouge1(tokenizer=13a)", "tokenizers are unicode and rouge155"),
        ("rougeL(tokenizer=rouge155, case=true)", "rougeL.*neither case nor punctuation; leave out case"),
        ("rouge2(tokenizer=rouge155, punctuation=true)", "leave out punctuation"),
        ("rouge1(stemmer=true, case=true)", "leave out one of them"),
        ("rouge1(stemmer=porter)", "write true or false"),
        ("rouge1(case=1)", "write true or false"),
    ],
)
def test_wrong_parameters_are_refused(spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_reward(spec)


class Anything(Benchmark):
    name = "anything"

    def __init__(self, language: str) -> None:
        super().__init__()
        self.target_language = language

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        return [example("Ja.")]


def test_the_stemmer_is_for_english() -> None:
    Rouge1(stemmer=True).check(Anything("en-US"))
    Rouge1(stemmer=True).check(Anything("eng"))
    Rouge1().check(Anything("de"))
    with pytest.raises(UsageError, match="target language of anything is de: leave out stemmer"):
        Rouge1(stemmer=True).check(Anything("de"))
