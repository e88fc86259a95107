"""Corpus scores from summed statistics: equal to sacrebleu's own, one corpus or thousands at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from speechbench.aggregate import AGGREGATES, rate
from speechbench.benchmarks.base import Example
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.overlap import Bleu, Chrf
from speechbench.rewards.ter import Ter

WORDS = ["der", "die", "Äpfel", "rote", "hat", "the", "red", "apples", "don't", "Ja", ".", ",", "42"]
SENTENCES = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join) | st.text(max_size=20)


@st.composite
def corpora(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """Hypotheses, and for each as many references as for the others."""
    size, references = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    sentences = st.lists(SENTENCES, min_size=size, max_size=size)
    streams = [draw(sentences) for _ in range(references)]
    return draw(sentences), [list(row) for row in zip(*streams, strict=True)]


def statistics(reward: Reward, corpus: tuple[list[str], list[list[str]]]) -> npt.NDArray[np.float64]:
    hypotheses, references = corpus
    examples = [Example(str(i), None, "", tuple(rows), None, "en", "de") for i, rows in enumerate(references)]
    return reward.statistics(Batch.of(hypotheses, examples))


@given(corpora())
def test_bleu_equals_sacrebleu(corpus: tuple[list[str], list[list[str]]]) -> None:
    expected = BLEU(force=True).corpus_score(corpus[0], list(zip(*corpus[1], strict=True))).score
    assert AGGREGATES["bleu"](statistics(Bleu(), corpus).sum(axis=0)) == expected


@given(corpora(), st.sampled_from([0, 1, 2]))
def test_chrf_equals_sacrebleu(corpus: tuple[list[str], list[list[str]]], word_order: int) -> None:
    expected = CHRF(word_order=word_order).corpus_score(corpus[0], list(zip(*corpus[1], strict=True))).score
    assert AGGREGATES["chrf"](statistics(Chrf(word_order), corpus).sum(axis=0)) == expected


@given(corpora())
def test_rate_equals_sacrebleus_ter(corpus: tuple[list[str], list[list[str]]]) -> None:
    expected = TER().corpus_score(corpus[0], list(zip(*corpus[1], strict=True))).score
    assert AGGREGATES["rate"](statistics(Ter(), corpus).sum(axis=0)) == expected


def test_rate_without_any_reference_length_is_all_or_nothing() -> None:
    sums = np.array([[3.0, 0.0], [0.0, 0.0], [3.0, 2.0]])
    np.testing.assert_array_equal(AGGREGATES["rate"](sums), [100.0, 0.0, 150.0])
    np.testing.assert_array_equal(rate(sums, scale=1.0), [1.0, 0.0, 1.5])


@pytest.mark.parametrize("reward", [Bleu(), Chrf(), Chrf(2), Ter()], ids=["bleu", "chrf", "chrf++", "ter"])
def test_thousands_of_resamples_are_one_call(reward: Reward) -> None:
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, generator.integers(0, 9))) for _ in range(40)]
    segments = statistics(reward, (texts[:20], [[text] for text in texts[20:]]))
    counts = generator.multinomial(20, np.full(20, 1 / 20), size=(3, 500))  # how often each segment is drawn
    aggregate = AGGREGATES[reward.aggregate]
    together = aggregate(counts @ segments)
    assert together.shape == (3, 500)
    one_by_one = [[aggregate(row @ segments) for row in block] for block in counts]
    np.testing.assert_array_equal(together, one_by_one)


def test_mean_counts_only_what_applies() -> None:
    means = AGGREGATES["mean"](np.array([[150.0, 2.0], [0.0, 3.0], [0.0, 0.0]]))
    np.testing.assert_array_equal(means, [75.0, 0.0, np.nan])


def test_bleu_smooths_each_further_order_by_half() -> None:
    # All unigrams right, and none of the three higher orders: precisions 1, 1/(2*3), 1/(4*2), 1/(8*1).
    sums = np.array([4.0, 0, 0, 0, 4, 3, 2, 1, 4, 4])
    assert AGGREGATES["bleu"](sums) == pytest.approx(100 * (1 / 6 / 8 / 8) ** 0.25)


@pytest.mark.parametrize(("name", "columns"), [("mean", 3), ("rate", 3), ("bleu", 9), ("chrf", 15), ("chrf", 19)])
def test_wrong_number_of_statistics_is_refused(name: str, columns: int) -> None:
    with pytest.raises(ValueError, match=str(columns)):
        AGGREGATES[name](np.zeros(columns))
