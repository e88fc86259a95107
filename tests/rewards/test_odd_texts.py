"""Every scorer that needs no checkpoint of its own on texts that nobody expects: a finite score in its range, soon."""

from __future__ import annotations

import math
import unicodedata

import pytest

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import SpeechbenchError
from speechbench.rewards import Batch, Reward, checked_scores, load_reward, measure
from speechbench.rewards.measure import scores_of

SPECS = [
    "binary",
    "binary(mode=contains)",
    "bleu",
    "bleu(case=false, punctuation=false)",
    "bleu(tokenize=char)",
    "cer",
    "chrf",
    "chrf(word_order=2)",
    "comet",
    "constant",
    "language",
    "length",
    "meteor(synonyms=false)",
    "random",
    "rouge1",
    "rouge2",
    "rougeL",
    "rougeL(tokenizer=rouge155)",
    "shuffled(bleu)",
    "slots",
    "ter",
    "wer",
    "0.5*bleu + 0.5*wer",
    "bleu*language",
]
REFERENCE = "Der Hund schläft, und die Katze geht."
TEXTS = {
    "empty": "",
    "white space": " \t\n\u00a0\u3000",
    "a full stop": ".",
    "emoji": "🙂👩‍👩‍👧‍👦🇩🇪",
    "combining characters": unicodedata.normalize("NFD", "schläft") + "\u0301" * 50,
    "right to left": "הכלב ישן. القطة تمشي.",
    "control characters": "a\x00b\u200b\ufeff\u202ec",
    "one long word": "x" * 100_000,
    "many words": ("Hund Katze " * 9_091)[:100_000],
    "many different words": " ".join(map(str, range(20_000)))[:100_000],
}


class Corpus(Benchmark):
    """Stands for covost2-mini, where comet means the embedded checkpoint."""

    name = "covost2-mini"
    target_language = "de"
    comet_checkpoint = "tiny"

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        return []


def example(*references: str, source: str | None = "The dog sleeps, and the cat walks.", name: str = "1") -> Example:
    return Example(name, None, "", references, source, "en", "de")


EXAMPLES = [example(REFERENCE), example("Ein Haus.", source="A house.", name="2")]


@pytest.fixture(scope="module", params=SPECS)
def reward(request: pytest.FixtureRequest) -> Reward:
    loaded = load_reward(request.param, Corpus())
    loaded.prepare(EXAMPLES)
    return loaded


def test_no_hypotheses_no_scores(reward: Reward) -> None:
    assert reward.score(Batch.of([], [])) == [] == checked_scores(reward, Batch.of([], []))


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_odd_hypothesis_has_a_score(reward: Reward, text: str) -> None:
    (score,) = scores_of(reward, Batch.of([text], EXAMPLES[:1]))
    low, high = reward.range
    assert score is None or low - 1e-9 <= score <= high + 1e-9
    if score is not None and "shuffled" not in reward.display:  # which has no partner in a corpus of one
        measured = measure(reward, [text], EXAMPLES[:1])
        assert math.isfinite(measured.corpus)


@pytest.mark.parametrize("text", [TEXTS[name] for name in ("emoji", "combining characters", "right to left")])
def test_odd_reference_scores_itself_best(reward: Reward, text: str) -> None:
    if reward.maximum is None:
        return
    text += " all right"  # ROUGE counts words, and that of 2004 only those of a to z and digits
    (score,) = scores_of(reward, Batch.of([text], [example(text)]))
    assert score is None or score == pytest.approx(reward.maximum)


@pytest.mark.parametrize("reference", ["", " ", "."])
def test_empty_references_are_no_failure(reward: Reward, reference: str) -> None:
    for text in ("", "Hund"):
        scores_of(reward, Batch.of([text], [example(reference, name=EXAMPLES[0].id)]))


def test_missing_references_are_no_zero(reward: Reward) -> None:
    if "shuffled" in reward.display:  # what counts there is whether the partner has one
        return
    (score,) = scores_of(reward, Batch.of(["Hund"], [example()]))
    assert (score is None) == ("reference" in reward.needs)


def test_missing_source_is_no_zero() -> None:
    comet = load_reward("comet", Corpus())
    with pytest.raises(SpeechbenchError, match=r"no score to any of .* which has no source"):
        checked_scores(comet, Batch.of(["Hund"], [example(REFERENCE, source=None)]))


def test_score_does_not_depend_on_what_was_scored_before(reward: Reward) -> None:
    """To the last bit: so a training that was killed goes on as if it had not been."""
    texts = ["Der Hund schläft.", REFERENCE, "Katze", ""]
    batch = Batch.of(texts, [EXAMPLES[0]] * 4)
    first = scores_of(reward, batch)
    scores_of(reward, Batch.of(["Ein Haus steht am See und wartet."], EXAMPLES[1:]))
    assert scores_of(reward, batch) == first
