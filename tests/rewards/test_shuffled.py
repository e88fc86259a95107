"""The control `shuffled(REWARD)`: nothing of the own example counts, and the partner is always the same."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.rewards import Batch, Reward, checked_scores, load_reward, measure
from speechbench.rewards.overlap import Bleu
from speechbench.rewards.shuffled import Shuffled, partners

REFERENCES = [
    "Der Zug nach Bremen hat heute leider Verspätung.",
    "Meine Schwester kauft morgen zwei rote Äpfel.",
    "Wir treffen uns um acht Uhr vor dem Museum.",
    "Im Winter schneit es hier fast jede Woche.",
]


def example(number: int, reference: str, language: str = "de", source: str | None = "") -> Example:
    source = f"source {number}" if source == "" else source
    return Example(
        f"e{number}", None, f"instruction {number}", (reference,), source, "en", language,
        speaker=f"speaker {number}", columns={"extra": f"extra {number}"},
    )  # fmt: skip


EXAMPLES = [example(number, reference) for number, reference in enumerate(REFERENCES)]


class Mini(Benchmark):
    name = "mini"
    comet_checkpoint = "tiny"

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        return EXAMPLES


class Spy(Reward):
    """Keeps what it is shown."""

    display = "spy"
    needs = frozenset({"reference", "logprobs"})

    def __init__(self) -> None:
        self.prepared: list[Example] = []
        self.batches: list[Batch] = []

    def prepare(self, examples: Sequence[Example]) -> None:
        self.prepared += examples

    def score(self, batch: Batch) -> list[float | None]:
        self.batches.append(batch)
        return [float(len(hypothesis)) for hypothesis in batch.hypotheses]


def test_own_reference_scores_low_and_the_partners_is_perfect() -> None:
    reward = load_reward("shuffled(bleu)")
    reward.prepare(EXAMPLES)
    partner = partners(EXAMPLES)["e0"]
    assert partner is EXAMPLES[2]
    own, other = checked_scores(reward, Batch.of([REFERENCES[0], partner.references[0]], [EXAMPLES[0]] * 2))
    assert own is not None and own < 0.1
    assert own == pytest.approx(sacrebleu.sentence_bleu(REFERENCES[0], [REFERENCES[2]]).score / 100)
    assert other == pytest.approx(1.0)


def test_nothing_of_the_own_example_reaches_the_inner_reward() -> None:
    spy = Spy()
    reward = Shuffled(spy)
    reward.prepare(EXAMPLES)
    batch = Batch(["a", "bb", "ccc"], [EXAMPLES[1]] * 3, [7, 8, 9], logprobs=[-1.0, -2.0, -3.0])
    assert reward.score(batch) == [1.0, 2.0, 3.0]
    (seen,) = spy.batches
    assert (seen.hypotheses, seen.seeds, seen.logprobs) == (["a", "bb", "ccc"], [7, 8, 9], [-1.0, -2.0, -3.0])
    assert all(shown is EXAMPLES[3] for shown in seen.examples)  # one object: COMET encodes it once per group
    assert spy.prepared == EXAMPLES


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["de", "tr"]), st.sampled_from("xyz")), max_size=30))
def test_partner_is_the_next_other_example_from_half_way_on(rows: list[tuple[str, str, str]]) -> None:
    examples = [example(number, *row) for number, row in enumerate(rows)]
    found = partners(examples)
    assert found.keys() == {e.id for e in examples}
    for own in examples:
        group = [e for e in examples if e.target_language == own.target_language]
        start = group.index(own) + len(group) // 2
        turned = [group[(start + step) % len(group)] for step in range(len(group))]
        others = [e for e in turned if e.references != own.references and e.source != own.source]
        assert found[own.id] is (others[0] if others else None)


def test_references_that_differ_in_case_or_punctuation_do_not_differ() -> None:
    items = [example(0, "Ja."), example(1, "ja"), example(2, "Nein.")]
    assert partners(items)["e0"] is partners(items)["e1"] is items[2]


def test_source_that_is_not_known_hinders_nothing() -> None:
    items = [example(0, "Ja.", source=None), example(1, "Nein.", source=None)]
    assert partners(items) == {"e0": items[1], "e1": items[0]}


def test_one_common_answer_does_not_make_the_search_quadratic() -> None:
    items = [example(number, "yes") for number in range(100_000)] + [example(100_000, "no")]
    found = partners(items)
    assert found["e100000"] is not None and all(found[e.id] is items[-1] for e in items[:-1])
    assert set(partners(items[:-1]).values()) == {None}


def test_partner_depends_on_neither_batch_nor_order_of_scoring() -> None:
    reward = load_reward("shuffled(chrf(word_order=2))")
    reward.prepare(EXAMPLES)
    together = reward.score(Batch.of(REFERENCES, EXAMPLES))
    rows = random.Random(0).sample(range(4), 4)
    apart = [reward.score(Batch.of([REFERENCES[row]], [EXAMPLES[row]]))[0] for row in rows]
    assert apart == [together[row] for row in rows]


def test_measuring_elsewhere_leaves_the_training_examples_known() -> None:
    reward = load_reward("shuffled(bleu)")
    reward.prepare(EXAMPLES)
    before = reward.score(Batch.of(REFERENCES, EXAMPLES))
    measure(reward, ["Ja.", "Nein."], [example(10, "Ja."), example(11, "Nein.")])
    assert reward.score(Batch.of(REFERENCES, EXAMPLES)) == before


def test_as_a_metric_it_is_the_inner_metric_on_exchanged_references() -> None:
    alone = example(4, "Güle güle.", language="tr")
    hypotheses = [REFERENCES[2], "Ja.", REFERENCES[0], REFERENCES[1], "Güle güle."]
    result = measure(load_reward("shuffled(bleu)"), hypotheses, [*EXAMPLES, alone])
    swapped = [REFERENCES[2], REFERENCES[3], REFERENCES[0], REFERENCES[1]]
    assert result.corpus == pytest.approx(sacrebleu.corpus_bleu(hypotheses[:4], [swapped]).score)
    assert result.segments[4] is None and not result.statistics[4].any()
    assert result.segments[0] == result.segments[3] == pytest.approx(100.0)
    assert (result.name, result.display, result.aggregate) == ("shuffled(bleu)", "shuffled(BLEU)", "bleu")


def test_inner_metric_of_plain_scores_is_asked_once() -> None:
    spy = Spy()
    spy.needs = frozenset()
    result = measure(Shuffled(spy), ["a", "bb", "ccc", ""], EXAMPLES)
    assert len(spy.batches) == 1
    np.testing.assert_array_equal(result.statistics, [[100, 1], [200, 1], [300, 1], [0, 1]])


def test_inner_reward_says_what_it_is() -> None:
    inner = Bleu()
    reward = Shuffled(inner)
    for name in ("range", "scale", "needs", "languages", "extra", "aggregate"):
        assert getattr(reward, name) == getattr(inner, name)
    assert reward.family == "control"
    assert reward.signature()["reward"] == inner.signature()
    assert load_reward("shuffled(bleu)").signature() != load_reward("shuffled(bleu(tokenize=char))").signature()
    with pytest.raises(UsageError, match="needs the log-probabilities"):
        measure(Shuffled(Spy()), ["a"], EXAMPLES[:1])


def test_comet_is_the_benchmarks_own() -> None:
    reward = load_reward("shuffled(comet)", Mini())
    assert str(reward.spec) == "shuffled(comet(model=tiny))"
    assert reward.display == "shuffled(comet[tiny])"
    assert reward.signature()["reward"] == load_reward("comet", Mini()).signature()
    other = Mini()
    other.comet_checkpoint = "Unbabel/wmt22-comet-da"
    with pytest.raises(UsageError, match=r"comet\[tiny\] knows only the grammar"):
        load_reward("shuffled(comet(model=tiny))", other)


SEEN = """
def seen(completions, prompts, extra, id, source, reference, wanted="", **others):
    return [float(wanted in " ".join(row)) for row in zip(prompts, extra, id, source, reference)]
"""


def test_function_in_a_file_gets_the_partners_columns_and_an_edit_is_a_new_reward(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SEEN)
    own, partner = (load_reward(f"shuffled({file}:seen(wanted='{wanted}'))") for wanted in ("extra 0", "extra 2"))
    for reward in (own, partner):
        reward.prepare(EXAMPLES)
    batch = Batch.of(["x"], EXAMPLES[:1])
    assert own.score(batch) == [0.0] and partner.score(batch) == [1.0]
    before = load_reward(f"shuffled({file}:seen)").signature()
    file.write_text(file.read_text() + "# edited\n")
    assert load_reward(f"shuffled({file}:seen)").signature() != before


@pytest.mark.parametrize(
    "spec", ["shuffled", "shuffled()", "shuffled(bleu, chrf)", "shuffled(reward=bleu)", "shuffled(3)"]
)
def test_it_takes_one_reward(spec: str) -> None:
    with pytest.raises(UsageError, match=r"it takes one other reward, as in shuffled\(bleu\)"):
        load_reward(spec)


def test_what_is_inside_is_checked_as_outside() -> None:
    with pytest.raises(UsageError, match="unknown reward 'bloo': did you mean 'bleu'"):
        load_reward("shuffled(bloo)")
    with pytest.raises(UsageError, match=r"reward chrf\(x=1\): .*'x'"):
        load_reward("shuffled(chrf(x=1))")
    with pytest.raises(UsageError, match="shuffled already"):
        load_reward("shuffled(shuffled(bleu))")


def test_example_that_was_not_prepared_is_named() -> None:
    reward = load_reward("shuffled(bleu)")
    reward.prepare(EXAMPLES[:2])
    with pytest.raises(UsageError, match=r"reward shuffled\(BLEU\) has no partner for example 'e2': call its prepare"):
        checked_scores(reward, Batch.of(REFERENCES, EXAMPLES))


def test_no_partner_for_anyone() -> None:
    with pytest.raises(SpeechbenchError, match=r"reward shuffled\(bleu\) does not apply here: .* 'e0'"):
        measure(load_reward("shuffled(bleu)"), ["Ja."], EXAMPLES[:1])


def test_failure_of_the_inner_reward_names_what_it_was_shown() -> None:
    class Broken(Spy):
        def score(self, batch: Batch) -> list[float | None]:
            return [float("nan")] * len(batch.hypotheses)

    reward = Shuffled(Broken())
    reward.prepare(EXAMPLES)
    with pytest.raises(SpeechbenchError, match=r"reward spy returned nan, .* for example 'e2' with the hypothesis 'Ja"):
        checked_scores(reward, Batch.of(["Ja."], EXAMPLES[:1]))


def test_several_hypotheses_of_one_example_count_it_once() -> None:
    items = [EXAMPLES[0]] * 3 + [EXAMPLES[1]] + [dataclasses.replace(EXAMPLES[2])] * 2
    assert partners(items) == partners([EXAMPLES[0], EXAMPLES[1], EXAMPLES[2]])
