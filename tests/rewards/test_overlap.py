"""BLEU and chrF: sacrebleu's own scores to the last bit, without the traps of sentence-level BLEU."""

from __future__ import annotations

import builtins
import importlib
import json
import socket
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import MissingError, UsageError
from speechbench.rewards import Batch, Reward, load_reward, measure
from speechbench.rewards.bleu_tokenizer import bleu_with, tokenizer_of
from speechbench.rewards.overlap import Bleu, Chrf
from speechbench.rewards.texts import without_punctuation

GERMAN = ["Der", "Bauer", "hat", "gestern", "große", "Äpfel", "für", "Mädchen", "gezählt.", "„Ja“,", "1.000", "€", "-"]
ENGLISH = ["The", "farmer", "didn't", "count", "any", "big", "apples;", "(yesterday)", "3,5", "&quot;", "U.S.", "!"]
TEXTS = st.lists(st.sampled_from(GERMAN + ENGLISH), max_size=12).map(" ".join) | st.text(max_size=15)
REFERENCES = st.lists(TEXTS, min_size=1, max_size=3)
ODD = ["", " \t\n", "👩‍👩‍👧 🏳️‍🌈", "e\u0301te\u0301 \u0301", "هذا كتاب جديد.", "."]
REWARDS = [Bleu(), Chrf(), Chrf(2)]
NAMES = ["bleu", "chrf", "chrf++"]


def example(*references: str, language: str = "de") -> Example:
    return Example("id", None, "", references, None, "en", language)


def scores(reward: Reward, pairs: Sequence[tuple[str, str]]) -> list[float | None]:
    return reward.score(Batch.of([h for h, _ in pairs], [example(r) for _, r in pairs]))


@given(TEXTS, REFERENCES)
def test_scores_equal_sacrebleus_sentence_scores(hypothesis: str, references: list[str]) -> None:
    batch = Batch.of([hypothesis], [example(*references)])
    assert Bleu().score(batch) == [sacrebleu.sentence_bleu(hypothesis, references).score / 100]
    assert Bleu("char").score(batch) == [sacrebleu.sentence_bleu(hypothesis, references, tokenize="char").score / 100]
    for order in (0, 1, 2):
        expected = sacrebleu.sentence_chrf(hypothesis, references, word_order=order).score / 100
        assert Chrf(order).score(batch) == [expected]


@given(TEXTS, REFERENCES)
def test_without_case_they_are_sacrebleus_lowercased_ones(hypothesis: str, references: list[str]) -> None:
    batch = Batch.of([hypothesis], [example(*references)])
    expected = sacrebleu.sentence_bleu(hypothesis, references, lowercase=True).score / 100
    assert Bleu(case=False).score(batch) == [expected]
    expected = CHRF(lowercase=True).sentence_score(hypothesis, references).score / 100
    assert Chrf(case=False).score(batch) == [expected]


@given(TEXTS, REFERENCES)
def test_without_punctuation_they_are_sacrebleus_of_texts_without(hypothesis: str, references: list[str]) -> None:
    batch = Batch.of([hypothesis], [example(*references)])
    bare = without_punctuation(hypothesis), [without_punctuation(reference) for reference in references]
    assert Bleu(punctuation=False).score(batch) == [sacrebleu.sentence_bleu(*bare).score / 100]
    assert Chrf(punctuation=False).score(batch) == [sacrebleu.sentence_chrf(*bare).score / 100]


@pytest.mark.parametrize("make", [Bleu, Chrf])
def test_case_and_punctuation_change_the_score_the_name_and_the_signature(make: Callable[..., Reward]) -> None:
    pair = ("das Haus", "Das Haus!")
    rewards = [make(), make(case=False), make(punctuation=False), make(case=False, punctuation=False)]
    values = [scores(reward, [pair])[0] for reward in rewards]
    assert values[0] != values[1] != values[2] != values[0] and values[3] == pytest.approx(1.0)
    assert [r.display.partition("[")[2] for r in rewards] == ["", "lc]", "no punct]", "lc, no punct]"]
    shown = [str(reward.signature()["metric"]) for reward in rewards]
    assert ["case:lc" in text for text in shown] == [False, True, False, True]
    assert ["punct:no" in text for text in shown] == [False, False, True, True]
    with pytest.raises(UsageError, match=r"\(case=1\): write true or false"):
        make(case=1)


@given(st.text() | st.text(alphabet="aZ09.,-'\"/ \n&;:<>@[`{~é"))
def test_the_quicker_tokenizer_is_sacrebleus(text: str) -> None:
    assert bleu_with("13a", False, "").tokenizer(text) == Tokenizer13a()(text)


def test_sentence_bleu_has_none_of_the_known_traps() -> None:
    exact, punctuation, wrong, empty = scores(
        Bleu(), [("Ja.", "Ja."), ("Hallo Welt.", "Hallo, Welt!"), (".", "Hallo Welt."), ("", "Ja.")]
    )
    assert sacrebleu.corpus_bleu(["Ja."], [["Ja."]]).score == 0 and exact == pytest.approx(1.0)
    unsmoothed = BLEU(smooth_method="none", effective_order=True).sentence_score("Hallo Welt.", ["Hallo, Welt!"])
    assert unsmoothed.score == 0 and punctuation is not None and 0.2 < punctuation < 0.3
    assert wrong is not None and 0.1 < wrong < 0.2
    assert empty == 0.0


def test_chrf_forgives_repetition_where_bleu_does_not() -> None:
    pair = [("Das ist gut. " * 10, "Das ist gut.")]
    forgiving, strict = scores(Chrf(), pair)[0], scores(Bleu(), pair)[0]
    assert forgiving is not None and strict is not None and forgiving > 3 * strict


@pytest.mark.parametrize("reward", REWARDS, ids=NAMES)
@given(text=TEXTS.filter(str.strip), others=st.lists(TEXTS, max_size=2))
def test_gold_gets_the_maximum(reward: Reward, text: str, others: list[str]) -> None:
    (score,) = reward.score(Batch.of([text], [example(text, *others)]))
    assert score == pytest.approx(reward.maximum, abs=1e-12) and reward.maximum == reward.range[1]


@pytest.mark.parametrize(
    ("codes", "name", "hypothesis", "reference"),
    [
        (("zh", "zh-CN", "zh_TW", "cmn", "yue"), "zh", "我喜欢红色的苹果", "我喜欢绿色的苹果"),
        (("ja", "jpn"), "ja-mecab", "彼は赤いリンゴを食べた。", "彼は緑のリンゴを食べた。"),
        (("th", "tha", "lo", "km", "my-MM"), "char", "ฉันชอบแอปเปิ้ล", "ฉันกินแอปเปิ้ล"),
        (("de", "en-US", "ar"), "13a", "Das ist rot.", "Das ist grün."),
    ],
)
def test_the_tokenizer_is_the_target_languages(
    codes: Sequence[str], name: str, hypothesis: str, reference: str
) -> None:
    if name == "ja-mecab":
        pytest.importorskip("MeCab")
    expected = sacrebleu.sentence_bleu(hypothesis, [reference], tokenize=name).score / 100
    for code in codes:
        assert tokenizer_of(code) == name
        assert Bleu().score(Batch.of([hypothesis], [example(reference, language=code)])) == [expected]


def test_corpus_scores_go_by_the_language_too() -> None:
    hypotheses, references = ["我喜欢红色的苹果", "他来"], ["我喜欢绿色的苹果", "他来了"]
    found = measure(Bleu(), hypotheses, [example(text, language="zh") for text in references])
    assert found.corpus == sacrebleu.corpus_bleu(hypotheses, [references], tokenize="zh").score


class Anything(Benchmark):
    name = "anything"

    def __init__(self, language: str) -> None:
        super().__init__()
        self.target_language = language

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        return [example("Ja.")]


@pytest.mark.parametrize(
    ("language", "remedy"), [("ja", r"pip install 'speechbench\[ja\]'"), ("ko", r"pip install 'sacrebleu\[ko\]'")]
)
def test_missing_tokenizer_is_told_before_training_with_the_remedy(
    language: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = importlib.import_module(f"sacrebleu.tokenizers.tokenizer_{language}_mecab")
    monkeypatch.setattr(tokenizer, "MeCab", None)
    with pytest.raises(MissingError, match=f"target language {language}.*{remedy}"):
        Bleu().check(Anything(language))


def test_tokenizer_that_does_not_load_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_sentencepiece(name: str, *rest: Any) -> Any:
        if name == "sentencepiece":
            raise ImportError("none")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_sentencepiece)
    with pytest.raises(MissingError, match="pip install 'sentencepiece'"):
        scores(Bleu("flores200"), [("Ja.", "Ja.")])


@pytest.mark.parametrize("failure", [OSError("no route to host"), SystemExit(1)])
def test_tokenizer_that_cannot_be_downloaded_says_where_to_put_it(
    failure: BaseException, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    pytest.importorskip("sentencepiece")
    import sacrebleu.tokenizers.tokenizer_spm as spm

    limits = []

    def fail(*_: Any, **__: Any) -> None:
        limits.append(socket.getdefaulttimeout())
        raise failure

    monkeypatch.setattr(spm, "SACREBLEU_DIR", str(tmp_path))
    monkeypatch.setattr(spm, "download_file", fail)
    with pytest.raises(MissingError, match=r"flores200 .*put it into .*models, .*or choose another tokenizer"):
        Bleu("flores200").signature()
    assert limits[0] is not None and limits[0] < 10 and socket.getdefaulttimeout() is None


def test_unknown_parameters_are_refused() -> None:
    with pytest.raises(UsageError, match=r"no such tokenizer; there are: .*13a"):
        Bleu(tokenize="14a")
    for order in (3, -1, True, "2"):
        with pytest.raises(UsageError, match=r"chrf\(word_order=.*word order is 0"):
            Chrf(word_order=order)  # type: ignore[arg-type]


def test_signature_is_sacrebleus_own_and_follows_the_language() -> None:
    reward = Bleu()
    assert "tok:by-language" in reward.signature()["metric"]  # as long as no benchmark says which
    reward.check(Anything("de"))
    reference, sentence = BLEU(), BLEU(effective_order=True)
    for metric in (reference, sentence):
        metric.corpus_score(["Ja."], [["Ja."]])
    assert f"nrefs:1|{reward.signature()['metric']}" == str(reference.get_signature())
    assert f"nrefs:1|{reward.signature()['reward']}" == str(sentence.get_signature())
    reward.check(Anything("zh-CN"))
    assert "tok:zh" in reward.signature()["metric"]
    chrf = CHRF(word_order=2)
    chrf.corpus_score(["Ja."], [["Ja."]])
    assert f"nrefs:1|{Chrf(2).signature()['metric']}" == str(chrf.get_signature())


def test_scorers_that_differ_have_different_signatures() -> None:
    specs = ["bleu", "bleu(tokenize=13a)", "bleu(tokenize=char)", "bleu(case=false)", "bleu(punctuation=false)"]
    specs += ["chrf", "chrf(word_order=2)", "chrf(case=false)", "chrf(punctuation=false)"]
    assert len({json.dumps(load_reward(spec).signature(), sort_keys=True) for spec in specs}) == len(specs)


def test_names_of_columns() -> None:
    rewards = (Bleu(), Bleu("char"), Bleu("char", case=False), Chrf(), Chrf(2), Chrf(2, punctuation=False))
    assert [r.display for r in rewards] == [
        "BLEU",
        "BLEU[char]",
        "BLEU[char, lc]",
        "chrF",
        "chrF++",
        "chrF++[no punct]",
    ]


@pytest.mark.parametrize("reward", REWARDS, ids=NAMES)
def test_example_without_reference_does_not_count(reward: Reward) -> None:
    batch = Batch.of(["Ja.", "Ja."], [example(), example("Ja.")])
    none, full = reward.score(batch)
    assert none is None and full == pytest.approx(1.0)
    statistics = reward.statistics(batch)
    assert not statistics[0].any() and statistics[1].any()


@pytest.mark.parametrize("reward", REWARDS, ids=NAMES)
def test_odd_texts_are_scored(reward: Reward) -> None:
    assert reward.score(Batch.of([], [])) == []
    assert reward.statistics(Batch.of([], [])).shape[0] == 0
    for reference in ODD:
        found = scores(reward, [(text, reference) for text in ODD])
        assert all(score is not None and 0 <= score <= 1 + 1e-12 for score in found)
        assert found[0] == found[1] == 0.0  # nothing was said
    endless = scores(reward, [("ab c" * 25_000, "ab c abc."), ("x" * 100_000, "ab c abc.")])
    assert endless[0] is not None and 0 < endless[0] < 0.1 and endless[1] == 0.0


@pytest.mark.parametrize("reward", REWARDS, ids=NAMES)
def test_score_depends_on_nothing_else_in_the_batch(reward: Reward) -> None:
    first, second = example("Der Bär schläft.", "Ein Bär schläft."), example("Der Hund bellt.")
    texts = ["Der Bär", "Der Hund", "Der Bär", "Ein Hund bellt laut.", "Der Bär"]
    owners = [first, first, first, second, first]
    together = reward.score(Batch.of(texts, owners))
    assert together == [reward.score(Batch.of([text], [owner]))[0] for text, owner in zip(texts, owners, strict=True)]


@pytest.mark.parametrize("reward", REWARDS, ids=NAMES)
def test_references_of_a_group_are_prepared_once(reward: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare, seen = type(reward)._prepared, []

    def watched(self: Any, prepared: Example) -> Any:
        seen.append(prepared)
        return prepare(self, prepared)

    monkeypatch.setattr(type(reward), "_prepared", watched)
    group, other = example("Ja ."), example("Nein .")
    reward.score(Batch.of(["a", "b", "c", "d"], [group, group, group, other]))
    assert len(seen) == 2 and seen[0] is group and seen[1] is other
