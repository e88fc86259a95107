"""WER and CER: jiwer's rates, the true one of a corpus among them."""

from __future__ import annotations

import json
from collections.abc import Callable

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import UsageError
from speechbench.rewards import Batch, Reward, load_reward, measure
from speechbench.rewards.error_rates import Cer, Wer
from speechbench.rewards.texts import Folding

WORDS = ["der", "die", "Der", "Äpfel", "rote,", "hat", "gezählt.", "a", "-"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join) | st.text(max_size=12)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS.filter(str.strip)), min_size=1, max_size=5)
RATES: list[tuple[Callable[..., Reward], Callable[..., float]]] = [(Wer, jiwer.wer), (Cer, jiwer.cer)]


def example(*references: str) -> Example:
    return Example("id", None, "", references, None, "en", "de")


@pytest.mark.parametrize(("make", "rate"), RATES)
@given(pairs=PAIRS)
def test_rates_equal_jiwers(
    make: Callable[..., Reward], rate: Callable[..., float], pairs: list[tuple[str, str]]
) -> None:
    hypotheses, references = [h for h, _ in pairs], [r for _, r in pairs]
    examples = [example(reference) for reference in references]
    found = measure(make(), hypotheses, examples)
    expected = [rate(reference, hypothesis) for hypothesis, reference in pairs]
    assert found.corpus == 100 * rate(references, hypotheses)
    assert found.segments == [100 * value for value in expected]
    assert make().score(Batch.of(hypotheses, examples)) == [1 - min(1.0, value) for value in expected]


@pytest.mark.parametrize(("make", "rate"), RATES)
@given(hypothesis=TEXTS, reference=TEXTS, case=st.booleans(), punctuation=st.booleans())
def test_options_are_a_folding_of_both_texts(
    make: Callable[..., Reward],
    rate: Callable[..., float],
    hypothesis: str,
    reference: str,
    case: bool,
    punctuation: bool,
) -> None:
    folded = Folding("test", case, punctuation)
    if folded(reference).strip():
        found = make(case=case, punctuation=punctuation).score(Batch.of([hypothesis], [example(reference)]))
        assert found == [1 - min(1.0, rate(folded(reference), folded(hypothesis)))]


def test_case_and_punctuation_change_the_score_the_name_and_the_signature() -> None:
    for name in ("wer", "cer"):
        rewards = [load_reward(f"{name}{options}") for options in ("", "(case=false)", "(punctuation=false)")]
        values = [reward.score(Batch.of(["ein haus so alt"], [example("Ein haus, so, alt")]))[0] for reward in rewards]
        assert len(set(values)) == 3
        assert [r.display for r in rewards] == [name.upper(), f"{name.upper()}[lc]", f"{name.upper()}[no punct]"]
        assert len({json.dumps(reward.signature(), sort_keys=True) for reward in rewards}) == 3
        with pytest.raises(UsageError, match=rf"{name}\(punctuation=no\): write true or false"):
            load_reward(f"{name}(punctuation=no)")


@pytest.mark.parametrize("make", [Wer, Cer])
@given(hypothesis=TEXTS, references=st.lists(TEXTS, min_size=2, max_size=3))
def test_of_several_references_the_one_that_fits_best_counts(
    make: Callable[..., Reward], hypothesis: str, references: list[str]
) -> None:
    alone = [make().score(Batch.of([hypothesis], [example(reference)]))[0] or 0.0 for reference in references]
    batch = Batch.of([hypothesis], [example(*references)])
    assert make().score(batch) == [max(alone)]


def test_the_corpus_rate_is_that_of_the_references_that_fit_best() -> None:
    found = measure(Wer(), ["eins zwei drei vier", "ja"], [example("null", "eins zwei drei"), example("ja", "ja ja")])
    assert found.statistics.tolist() == [[1.0, 3.0], [0.0, 1.0]]
    assert found.corpus == 25.0 and found.lower_is_better


@pytest.mark.parametrize("make", [Wer, Cer])
def test_an_empty_reference_is_all_or_nothing(make: Callable[..., Reward]) -> None:
    nothing = [example("")] * 3
    assert make().score(Batch.of(["", " ", "ab cd"], nothing)) == [1.0, 1.0, 0.0]
    assert measure(make(), ["", " ", "ab cd"], nothing).segments == [0.0, 0.0, 100.0]
    errors = measure(make(), ["a b", "c"], [example(""), example("c")])
    assert errors.corpus == 100 * (jiwer.wer if make is Wer else jiwer.cer)(["", "c"], ["a b", "c"])


@pytest.mark.parametrize("make", [Wer, Cer])
@given(text=TEXTS.filter(str.strip))
def test_gold_gets_the_maximum(make: Callable[..., Reward], text: str) -> None:
    assert make().score(Batch.of([text], [example("und", text)])) == [make().maximum]


@pytest.mark.parametrize(("make", "rate"), RATES)
def test_odd_texts_are_scored(make: Callable[..., Reward], rate: Callable[..., float]) -> None:
    assert make().score(Batch.of([], [])) == []
    assert make().score(Batch.of(["Ja.", "Ja."], [example(), example("Ja.")])) == [None, 1.0]
    assert measure(make(), ["Ja.", "Nein"], [example(), example("Ja.")]).segments[0] is None
    reference = "ا ب été 👩‍👩‍👧"
    for text in ("", " \n", "👩‍👩‍👧 ا", "e\u0301te\u0301", "ab c" * 25_000, "x" * 100_000):
        assert make().score(Batch.of([text], [example(reference)])) == [1 - min(1.0, rate(reference, text))]
    assert measure(make(), ["ab c" * 25_000], [example("ab c")]).corpus > 1000


class Anything(Benchmark):
    name = "anything"

    def __init__(self, language: str) -> None:
        super().__init__()
        self.target_language = language

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        return [example("Ja.")]


@pytest.mark.parametrize("language", ["zh-CN", "ja", "th", "lo", "km", "my", "yue"])
def test_words_are_not_counted_where_none_are_told_apart(language: str) -> None:
    with pytest.raises(UsageError, match=rf"anything, {language}, is written without: use cer"):
        Wer().check(Anything(language))
    Cer().check(Anything(language))
    Wer().check(Anything("ko"))
