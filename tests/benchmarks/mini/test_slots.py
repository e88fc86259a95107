"""The metric `slots`, and the parser behind it."""

from types import SimpleNamespace

import pytest

from speechbench.benchmarks.base import Example
from speechbench.benchmarks.mini.grammar import QUESTIONS, SLOTS, VALUES, answer_slots, split
from speechbench.benchmarks.mini.slots import Slots, agreement, parse
from speechbench.errors import UsageError
from speechbench.rewards.base import Batch

MEANINGS = split("pretraining", "train")[:200]
GERMAN = "Anna hat am Montag hinter dem Haus zwei große Äpfel gefunden."


def example(reference: str, language: str = "de") -> Example:
    return Example("e", None, "", (reference,), None, "en", language)


def test_parse_reads_back_what_the_grammar_wrote() -> None:
    for meaning in MEANINGS:
        stated = {slot: frozenset({value}) for slot, value in zip(SLOTS, meaning.slots, strict=True)}
        assert parse(meaning.english(), "en") == stated
        assert parse(meaning.german(), "de-DE") == stated
        for index in range(len(QUESTIONS)):
            answer = parse(meaning.question(index)[1], "en")
            assert answer == {slot: stated[slot] for slot in answer_slots(index)}


def test_parse_ignores_case_and_the_form_of_umlauts_but_keeps_whole_words() -> None:
    assert parse("DIE ÄRZTIN, zwei GROSSE  äpfel", "de") == {
        "subject": frozenset({"the doctor"}),
        "number": frozenset({"two"}),
        "adjective": frozenset({"big"}),
        "object": frozenset({"apples"}),
    }
    assert parse("Bu\u0308cher", "de") == {"object": frozenset({"books"})}
    assert parse("zweifel boldly renewed", "de") == {} == parse("zweifel boldly renewed", "en")
    assert parse("am", "de") == {}


def test_agreement_counts_the_references_slots() -> None:
    assert agreement(GERMAN, GERMAN, "de") == 1.0
    assert agreement(GERMAN.replace("zwei", "drei"), GERMAN, "de") == pytest.approx(6 / 7)
    assert agreement(GERMAN.replace("zwei", "zwei drei"), GERMAN, "de") == pytest.approx(6 / 7)
    assert agreement("", GERMAN, "de") == 0.0
    assert agreement("Zwei schwere Bücher im Garten.", "Zwei Bücher.", "de") == 1.0
    assert agreement("Zwei Bücher.", "Guten Tag.", "de") is None


def test_slots_scores_by_each_examples_language_and_abstains_where_nothing_is_stated() -> None:
    batch = Batch.of(
        ["The two apples.", "Zwei Birnen.", "Zwei Äpfel."],
        [example("There were two red apples.", "en"), example("Zwei Äpfel."), example("Hallo!")],
    )
    scores = Slots().score(batch)
    assert scores == [pytest.approx(2 / 3), 0.5, None]
    assert Slots().statistics(batch)[:, 1].tolist() == [1.0, 1.0, 0.0]


def test_slots_refuses_what_the_grammar_does_not_know() -> None:
    Slots().check(SimpleNamespace(name="covost2-mini", comet_checkpoint="tiny"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="covost2 "):
        Slots().check(SimpleNamespace(name="covost2 (dir=x)", comet_checkpoint="other"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'fr'"):
        parse("deux pommes", "fr")


def test_no_phrase_means_two_things() -> None:
    for german in (False, True):
        phrases = [(v if german else k).casefold() for values in VALUES.values() for k, v in values.items()]
        assert len(phrases) == len(set(phrases))
