"""BLEU and chrF: sacrebleu's own sentence scores, without the traps of sentence-level BLEU."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import MissingError, UsageError
from speechbench.rewards import Batch, Reward
from speechbench.rewards.overlap import Bleu, Chrf

GERMAN = ["Der", "Bauer", "hat", "gestern", "große", "Äpfel", "für", "Mädchen", "gezählt.", "„Ja“,", "1.000", "€", "-"]
ENGLISH = ["The", "farmer", "didn't", "count", "any", "big", "apples;", "(yesterday)", "3,5", "&quot;", "U.S.", "!"]
TEXTS = st.lists(st.sampled_from(GERMAN + ENGLISH), max_size=12).map(" ".join) | st.text(max_size=15)


def example(*references: str, language: str = "de") -> Example:
    return Example("id", None, "", references, None, "en", language)


def scores(reward: Reward, pairs: Sequence[tuple[str, str]]) -> list[float | None]:
    return reward.score(Batch.of([h for h, _ in pairs], [example(r) for _, r in pairs]))


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_scores_equal_sacrebleus_sentence_scores(hypothesis: str, references: list[str]) -> None:
    batch = Batch.of([hypothesis], [example(*references)])
    assert Bleu().score(batch) == [sacrebleu.sentence_bleu(hypothesis, references).score / 100]
    assert Bleu("char").score(batch) == [sacrebleu.sentence_bleu(hypothesis, references, tokenize="char").score / 100]
    for order in (0, 2):
        expected = sacrebleu.sentence_chrf(hypothesis, references, word_order=order).score / 100
        assert Chrf(order).score(batch) == [expected]


def test_sentence_bleu_has_none_of_the_known_traps() -> None:
    exact, punctuation, wrong, empty = scores(
        Bleu(), [("Ja.", "Ja."), ("Hallo Welt.", "Hallo, Welt!"), (".", "Hallo Welt."), ("", "Ja.")]
    )
    assert exact == pytest.approx(1.0)
    assert punctuation is not None and 0.2 < punctuation < 0.3
    assert wrong is not None and wrong < 0.2
    assert empty == 0.0


@pytest.mark.parametrize("reward", [Bleu(), Chrf(), Chrf(2)])
@given(text=TEXTS.filter(str.strip))
def test_gold_gets_the_maximum(reward: Reward, text: str) -> None:
    (score,) = scores(reward, [(text, text)])
    assert score == pytest.approx(reward.range[1])


def test_chinese_is_split_into_characters_by_default() -> None:
    hypothesis, reference = "我喜欢红色的苹果", "我喜欢绿色的苹果"
    expected = sacrebleu.sentence_bleu(hypothesis, [reference], tokenize="zh").score / 100
    for code in ("zh", "zh-CN", "zh_TW"):
        assert Bleu().score(Batch.of([hypothesis], [example(reference, language=code)])) == [expected]
    assert scores(Bleu(), [(hypothesis, reference)]) == [0.0]


class Anything(Benchmark):
    name = "anything"

    def __init__(self, language: str) -> None:
        super().__init__()
        self.target_language = language

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        return [example("Ja.")]


def test_missing_tokenizer_is_told_before_training_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    import sacrebleu.tokenizers.tokenizer_ja_mecab as tokenizer

    monkeypatch.setattr(tokenizer, "MeCab", None)
    with pytest.raises(MissingError, match=r"target language ja.*pip install 'sacrebleu\[ja\]'"):
        Bleu().check(Anything("ja"))


def test_tokenizer_that_does_not_load_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_sentencepiece(name: str, *rest: Any) -> Any:
        if name == "sentencepiece":
            raise ImportError("none")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_sentencepiece)
    with pytest.raises(MissingError, match="pip install 'sentencepiece'"):
        scores(Bleu("spm"), [("Ja.", "Ja.")])


def test_unknown_parameters_are_refused() -> None:
    with pytest.raises(UsageError, match=r"no such tokenizer; there are: .*13a"):
        Bleu(tokenize="14a")
    with pytest.raises(UsageError, match="word order is 0"):
        Chrf(word_order=3)


def test_signature_is_sacrebleus_own_and_follows_the_language() -> None:
    reward = Bleu()
    reference = BLEU()
    reference.corpus_score(["Ja."], [["Ja."]])
    assert f"nrefs:1|{reward.signature()['metric']}" == str(reference.get_signature())
    assert "eff:yes" in reward.signature()["reward"]
    reward.check(Anything("zh-CN"))
    assert "tok:zh" in reward.signature()["metric"]
    chrf = CHRF(word_order=2)
    chrf.corpus_score(["Ja."], [["Ja."]])
    assert f"nrefs:1|{Chrf(2).signature()['metric']}" == str(chrf.get_signature())


def test_names_of_columns() -> None:
    assert [r.display for r in (Bleu(), Bleu("char"), Chrf(), Chrf(2))] == ["BLEU", "BLEU[char]", "chrF", "chrF++"]


@pytest.mark.parametrize("reward", [Bleu(), Chrf()])
def test_example_without_reference_does_not_count(reward: Reward) -> None:
    batch = Batch.of(["Ja.", "Ja."], [example(), example("Ja.")])
    none, full = reward.score(batch)
    assert none is None and full == pytest.approx(1.0)
    statistics = reward.statistics(batch)
    assert not statistics[0].any() and statistics[1].any()


def test_reference_of_a_group_is_tokenised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reward = Bleu()
    metric = reward._metric("de")
    seen: list[str] = []
    extract = metric._extract_reference_info

    def watched(lines: Sequence[str]) -> dict[str, Any]:
        seen.extend(lines)
        return extract(lines)

    monkeypatch.setattr(metric, "_extract_reference_info", watched)
    group, other = example("Ja ."), example("Nein .")
    reward.score(Batch.of(["a", "b", "c", "d"], [group, group, group, other]))
    assert seen == ["Ja .", "Nein ."]
