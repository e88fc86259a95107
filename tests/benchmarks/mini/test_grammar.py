"""The mini corpora's grammar: what it can say, and that its splits share nothing."""

import re
from itertools import pairwise

import pytest

from speechbench.benchmarks.mini.grammar import (
    QUESTIONS,
    SLOTS,
    SPLIT_SIZES,
    VALUES,
    Meaning,
    answer_slots,
    count,
    meaning,
    split,
    vocabulary,
)

ANNA = Meaning(("Anna", "found", "two", "big", "apples", "behind the house", "on Monday"), False)


def test_a_meaning_is_said_in_english_and_german() -> None:
    assert ANNA.english() == "Anna found two big apples behind the house on Monday."
    assert ANNA.german() == "Anna hat am Montag hinter dem Haus zwei große Äpfel gefunden."
    fronted = Meaning(ANNA.slots, True)
    assert fronted.english() == "On Monday Anna found two big apples behind the house."
    assert fronted.german() == "Am Montag hat Anna hinter dem Haus zwei große Äpfel gefunden."


def test_questions_are_answered_in_full_sentences_that_name_their_slots() -> None:
    assert ANNA.question(0) == ("Who did it?", "It was Anna who found the apples.")
    assert ANNA.question(5) == ("How many apples were there?", "There were two big apples.")
    for index, (_, asked) in enumerate(QUESTIONS):
        question, answer = ANNA.question(index)
        values = dict(zip(SLOTS, ANNA.slots, strict=True))
        assert "{" not in question + answer
        assert asked in answer_slots(index)
        for slot in SLOTS:
            assert (values[slot].lower() in answer.lower()) == (slot in answer_slots(index))
        # A question that gave its answer away would be answered without listening.
        assert values[asked].lower() not in question.lower()


def test_numbers_and_meanings_correspond() -> None:
    numbers = [0, 1, 2, 3, 12_345, count() - 1]
    sentences = {meaning(number).english() for number in numbers}
    assert len(sentences) == len(numbers)
    assert meaning(0).slots == tuple(next(iter(VALUES[slot])) for slot in SLOTS)
    assert meaning(count() - 1) == Meaning(tuple(list(VALUES[slot])[-1] for slot in SLOTS), True)


def test_splits_are_disjoint_and_of_the_stated_sizes() -> None:
    sentences = {key: {m.english() for m in split(*key)} for key in SPLIT_SIZES}
    assert {key: len(found) for key, found in sentences.items()} == dict(SPLIT_SIZES)
    assert len(set().union(*sentences.values())) == sum(SPLIT_SIZES.values())
    assert len({m.german() for key in SPLIT_SIZES for m in split(*key)}) == sum(SPLIT_SIZES.values())
    with pytest.raises(KeyError):
        split("covost2-mini", "dev")


def test_every_split_knows_every_value() -> None:
    for key in SPLIT_SIZES:
        for position, slot in enumerate(SLOTS):
            assert {m.slots[position] for m in split(*key)} == set(VALUES[slot])


def test_vocabulary_is_what_sentences_are_made_of() -> None:
    for language, say in (("en", Meaning.english), ("de", Meaning.german)):
        words = {word for m in split("pretraining", "train") for word in re.findall(r"\w+", say(m).lower())}
        assert words - {"hat"} == vocabulary(language)


def test_splits_are_drawn_not_counted_off() -> None:
    times = [m.time_first for m in split("covost2-mini", "train")]
    changes = sum(a != b for a, b in pairwise(times))
    assert 0.4 < changes / len(times) < 0.6
