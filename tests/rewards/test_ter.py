"""TER: sacrebleu's edits, sentence scores and corpus scores, sooner."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics import lib_ter
from sacrebleu.metrics.ter import TER

from speechbench.aggregate import AGGREGATES
from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import UsageError
from speechbench.rewards import Batch, load_reward, measure
from speechbench.rewards.ter import Ter, edits

WORDS = ["der", "die", "Der", "Äpfel", "rote,", "hat", "(gestern)", "gezählt.", "1.000", "a", "b"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join) | st.text(max_size=12)
HAN = st.text(alphabet="我喜欢红色的苹果。，ab リンゴを ", max_size=12)


def example(*references: str, language: str = "de") -> Example:
    return Example("id", None, "", references, None, "en", language)


@st.composite
def corpora(draw: st.DrawFn, texts: st.SearchStrategy[str] = TEXTS) -> tuple[list[str], list[list[str]]]:
    """Hypotheses, and for each as many references as for the others."""
    size, references = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    sentences = st.lists(texts, min_size=size, max_size=size)
    return draw(sentences), [list(row) for row in zip(*[draw(sentences) for _ in range(references)], strict=True)]


def check_corpus(reward: Ter, peer: TER, corpus: tuple[list[str], list[list[str]]], language: str = "de") -> None:
    hypotheses, references = corpus
    found = measure(reward, hypotheses, [example(*row, language=language) for row in references])
    expected = [peer.sentence_score(h, row).score for h, row in zip(hypotheses, references, strict=True)]
    assert found.segments == expected
    assert found.corpus == peer.corpus_score(hypotheses, list(zip(*references, strict=True))).score
    rewards = reward.score(Batch.of(hypotheses, [example(*row, language=language) for row in references]))
    assert rewards == pytest.approx([max(0.0, 1 - rate / 100) for rate in expected])


@given(corpora())
def test_scores_equal_sacrebleus(corpus: tuple[list[str], list[list[str]]]) -> None:
    check_corpus(Ter(), TER(), corpus)


@given(corpora(), st.booleans(), st.booleans())
def test_case_and_punctuation_are_sacrebleus_options(corpus: Any, case: bool, punctuation: bool) -> None:
    check_corpus(Ter(case, punctuation), TER(case_sensitive=case, no_punct=not punctuation), corpus)


@given(corpora(HAN), st.booleans())
def test_chinese_and_japanese_characters_are_words(corpus: Any, punctuation: bool) -> None:
    peer = TER(normalized=True, asian_support=True, no_punct=not punctuation)
    for language in ("zh-CN", "ja"):
        check_corpus(Ter(punctuation=punctuation), peer, corpus, language)


@pytest.mark.parametrize(("length", "longest"), [(12, 20), (24, 60), (25, 40), (40, 50)])
def test_edits_are_sacrebleus_within_the_beam_and_beyond(length: int, longest: int) -> None:
    generator = random.Random(length)
    words = [f"w{number}" for number in range(20)]
    for _ in range(3):
        reference = generator.choices(words, k=length)
        hypothesis = [word for word in reference if generator.random() < 0.9]
        at = generator.randrange(len(hypothesis))
        hypothesis = (hypothesis[at:] + generator.choices(words, k=4) + hypothesis[:at])[:longest]
        assert edits(hypothesis, reference) == lib_ter.translation_edit_rate(hypothesis, reference)[0]


@settings(max_examples=40)
@given(st.data())
def test_edits_are_sacrebleus_where_lengths_differ_much(data: st.DataObject) -> None:
    words = st.sampled_from("abcdef")
    hypothesis, reference = (data.draw(st.lists(words, max_size=top)) for top in (70, 40))
    assert edits(hypothesis, reference) == lib_ter.translation_edit_rate(hypothesis, reference)[0]


@pytest.mark.slow
def test_the_beam_is_left_out_only_where_it_cuts_nothing_off() -> None:
    """Words so far from their places that sacrebleu's distance is larger than Levenshtein's."""
    reference = [f"w{number}" for number in range(60)]
    hypothesis = reference[26:] + [f"v{number}" for number in range(26)]
    beam, _ = lib_ter.BeamEditDistance(reference)(hypothesis)
    assert beam > Levenshtein.distance(hypothesis, reference)
    assert edits(hypothesis, reference) == lib_ter.translation_edit_rate(hypothesis, reference)[0]


def test_empty_references_count_as_in_sacrebleu() -> None:
    for hypotheses in (["", ""], ["", "ja"]):
        check_corpus(Ter(), TER(), (hypotheses, [[""], [""]]))
    check_corpus(Ter(), TER(), (["ja", "nein"], [["", "ja"], ["nein", "nein nein"]]))


@given(TEXTS.filter(str.strip), st.lists(TEXTS, max_size=2))
def test_gold_gets_the_maximum(text: str, others: list[str]) -> None:
    assert Ter().score(Batch.of([text], [example(text, *others)])) == [Ter.maximum]


def test_odd_texts_are_scored() -> None:
    reward = Ter()
    assert reward.score(Batch.of([], [])) == []
    odd = ["", " \t", "👩‍👩‍👧 🏳️‍🌈", "e\u0301te\u0301", "هذا كتاب جديد."]
    assert reward.score(Batch.of(odd, [example("eins zwei")] * len(odd))) == [0.0] * len(odd)
    none, full = reward.score(Batch.of(["Ja.", "Ja."], [example(), example("Ja.")]))
    assert none is None and full == 1.0
    segments = measure(reward, ["Ja.", "Nein. Nein."], [example(), example("Ja.")]).segments
    assert segments == [None, 200.0]


def test_a_hypothesis_without_end_is_scored() -> None:
    reference = "the farmer saw the old man and the young woman behind the house before the rain came"
    assert Ter().score(Batch.of(["a " * 50_000, "x" * 100_000], [example(reference)] * 2)) == [0.0, 0.0]
    long = "the man and " * 3_000
    found = Ter().statistics(Batch.of([long], [example(reference)]))
    assert AGGREGATES["rate"](found[0]) == TER().sentence_score(long, [reference]).score > 10_000


class Anything(Benchmark):
    name = "anything"

    def __init__(self, language: str) -> None:
        super().__init__()
        self.target_language = language

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        return [example("Ja.")]


def signature_of(peer: TER) -> str:
    peer.corpus_score(["a"], [["a"]])
    return str(peer.get_signature()).removeprefix("nrefs:1|")


def test_signature_is_sacrebleus_own_and_follows_the_language() -> None:
    reward = Ter(case=True)
    assert "norm:by-language" in reward.signature()["metric"]
    reward.check(Anything("de"))
    assert reward.signature()["metric"] == signature_of(TER(case_sensitive=True))
    reward.check(Anything("zh"))
    expected = TER(case_sensitive=True, normalized=True, asian_support=True)
    assert reward.signature()["metric"] == signature_of(expected)
    specs: Sequence[str] = ["ter", "ter(case=true)", "ter(punctuation=false)"]
    rewards = [load_reward(spec) for spec in specs]
    assert len({json.dumps(reward.signature(), sort_keys=True) for reward in rewards}) == len(specs)
    assert [reward.display for reward in rewards] == ["TER", "TER[cased]", "TER[no punct]"]


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="anything, th, is written without: use cer"):
        Ter().check(Anything("th"))
    with pytest.raises(UsageError, match=r"ter\(case=no\): write true or false"):
        load_reward("ter(case=no)")
