"""The closed language of the mini corpora: sentences, their German, and questions about them.

A meaning is one value for each of seven slots and a word order. From it follow, with no randomness,
an English sentence (what is spoken), its German translation, and for each kind of question an English
answer. Sentences of all splits of both corpora are drawn together without replacement, so that no
sentence is ever in two splits.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from types import MappingProxyType

SLOTS: tuple[str, ...] = ("subject", "verb", "number", "adjective", "object", "place", "time")

# slot -> English value -> German value. Every subject is singular and every object plural, so that
# German needs neither agreement nor case beyond what stands here.
VALUES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "subject": {
            "Anna": "Anna",
            "Peter": "Peter",
            "the teacher": "der Lehrer",
            "the doctor": "die Ärztin",
            "my brother": "mein Bruder",
            "my sister": "meine Schwester",
            "the farmer": "der Bauer",
            "the girl": "das Mädchen",
            "our neighbor": "unser Nachbar",
            "the baker": "der Bäcker",
            "the student": "der Student",
            "your uncle": "dein Onkel",
        },
        "verb": {
            "bought": "gekauft",
            "sold": "verkauft",
            "found": "gefunden",
            "lost": "verloren",
            "painted": "gemalt",
            "washed": "gewaschen",
            "counted": "gezählt",
            "brought": "gebracht",
            "hid": "versteckt",
            "forgot": "vergessen",
        },
        "number": {
            "two": "zwei",
            "three": "drei",
            "four": "vier",
            "five": "fünf",
            "six": "sechs",
            "seven": "sieben",
            "eight": "acht",
            "nine": "neun",
        },
        "adjective": {
            "red": "rote",
            "blue": "blaue",
            "green": "grüne",
            "small": "kleine",
            "big": "große",
            "old": "alte",
            "new": "neue",
            "heavy": "schwere",
        },
        "object": {
            "apples": "Äpfel",
            "books": "Bücher",
            "chairs": "Stühle",
            "letters": "Briefe",
            "keys": "Schlüssel",
            "bottles": "Flaschen",
            "flowers": "Blumen",
            "shirts": "Hemden",
            "boxes": "Kisten",
            "clocks": "Uhren",
            "lamps": "Lampen",
            "pictures": "Bilder",
        },
        "place": {
            "in the garden": "im Garten",
            "at the market": "auf dem Markt",
            "in the kitchen": "in der Küche",
            "at the station": "am Bahnhof",
            "behind the house": "hinter dem Haus",
            "in the school": "in der Schule",
            "near the river": "am Fluss",
            "on the bridge": "auf der Brücke",
            "in the church": "in der Kirche",
            "under the tree": "unter dem Baum",
        },
        "time": {
            "yesterday": "gestern",
            "today": "heute",
            "on Monday": "am Montag",
            "on Friday": "am Freitag",
            "last week": "letzte Woche",
            "in the evening": "am Abend",
            "at noon": "mittags",
            "after dinner": "nach dem Essen",
        },
    }
)

# (question, slot asked for): the first of each pair gives nothing away, the second names the object or the subject.
QUESTIONS: tuple[tuple[str, str], ...] = (
    ("Who did it?", "subject"),
    ("Who had the {object}?", "subject"),
    ("What happened?", "object"),
    ("What did {subject} do?", "object"),
    ("How many things were there?", "number"),
    ("How many {object} were there?", "number"),
    ("What did the things look like?", "adjective"),
    ("What did the {object} look like?", "adjective"),
    ("Where did it happen?", "place"),
    ("Where was {subject}?", "place"),
    ("When did it happen?", "time"),
    ("When did {subject} do it?", "time"),
)

_ANSWERS: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "subject": ("It was {subject} who {verb} the {object}.", ("subject", "verb", "object")),
        "object": (
            "{subject} {verb} {number} {adjective} {object}.",
            ("subject", "verb", "number", "adjective", "object"),
        ),
        "number": ("There were {number} {adjective} {object}.", ("number", "adjective", "object")),
        "adjective": ("The {number} {object} were {adjective}.", ("number", "object", "adjective")),
        "place": ("{subject} {verb} the {object} {place}.", ("subject", "verb", "object", "place")),
        "time": ("{subject} was {place} {time}.", ("subject", "place", "time")),
    }
)

# How many sentences each split of each corpus has. "pretraining" is what the embedded base model and
# comet[tiny] are built from; it is never part of a benchmark.
SPLIT_SIZES: Mapping[tuple[str, str], int] = MappingProxyType(
    {
        ("pretraining", "train"): 5000,
        ("covost2-mini", "train"): 2000,
        ("covost2-mini", "validation"): 200,
        ("covost2-mini", "test"): 300,
        ("librisqa-mini", "train"): 2000,
        ("librisqa-mini", "validation"): 200,
        ("librisqa-mini", "test"): 300,
    }
)

_SEED = 20250916  # of the draw below; another seed is another corpus


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


@dataclass(frozen=True)
class Meaning:
    """One value for each slot (its English form) and the word order.

    Attributes:
        slots: The seven English values, in the order of `SLOTS`.
        time_first: Whether the sentence opens with the time.
    """

    slots: tuple[str, ...]
    time_first: bool

    def english(self) -> str:
        """The English sentence, as it is spoken and written."""
        subject, verb, number, adjective, thing, place, time = self.slots
        body = f"{subject} {verb} {number} {adjective} {thing} {place}"
        return _capitalise(f"{time} {body}." if self.time_first else f"{body} {time}.")

    def german(self) -> str:
        """The German translation: perfect tense, participle last, verb second."""
        subject, verb, number, adjective, thing, place, time = (
            VALUES[slot][value] for slot, value in zip(SLOTS, self.slots, strict=True)
        )
        rest = f"{number} {adjective} {thing} {verb}."
        opening = f"{time} hat {subject}" if self.time_first else f"{subject} hat {time}"
        return _capitalise(f"{opening} {place} {rest}")

    def question(self, index: int) -> tuple[str, str]:
        """One of `QUESTIONS` about this meaning, with its full-sentence answer."""
        template, asked = QUESTIONS[index]
        values = dict(zip(SLOTS, self.slots, strict=True))
        return template.format(**values), _capitalise(_ANSWERS[asked][0].format(**values))


def answer_slots(index: int) -> tuple[str, ...]:
    """The slots that the answer to question `index` names."""
    return _ANSWERS[QUESTIONS[index][1]][1]


def meaning(number: int) -> Meaning:
    """The meaning with this number, from 0 up to `count() - 1`."""
    number, order = divmod(number, 2)
    chosen = []
    for slot in reversed(SLOTS):
        values = tuple(VALUES[slot])
        number, which = divmod(number, len(values))
        chosen.append(values[which])
    return Meaning(tuple(reversed(chosen)), bool(order))


def count() -> int:
    """How many different sentences the grammar has."""
    return 2 * prod(len(VALUES[slot]) for slot in SLOTS)


@cache
def split(corpus: str, name: str) -> tuple[Meaning, ...]:
    """The meanings of one split, disjoint from those of every other split of every corpus.

    Args:
        corpus: "pretraining", "covost2-mini" or "librisqa-mini".
        name: "train", "validation" or "test".

    Raises:
        KeyError: If there is no such split.
    """
    numbers = random.Random(_SEED).sample(range(count()), sum(SPLIT_SIZES.values()))
    start = 0
    for key, size in SPLIT_SIZES.items():
        if key == (corpus, name):
            return tuple(meaning(number) for number in numbers[start : start + size])
        start += size
    raise KeyError((corpus, name))


def vocabulary(language: str) -> frozenset[str]:
    """The words of the grammar's values in one language ("en" or "de"), lower case."""
    phrases = (
        phrase for values in VALUES.values() for pair in values.items() for phrase in pair[language == "de" :][:1]
    )
    return frozenset(word.lower() for phrase in phrases for word in phrase.split())
