"""What comet[tiny] learns from: texts of the pretraining split, degraded in known ways, and what each is worth."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from speechbench.benchmarks.mini.grammar import QUESTIONS, SLOTS, VALUES, Meaning, answer_slots, split, vocabulary
from speechbench.benchmarks.mini.slots import agreement, fold, lexicon, phrases

_HELD_OUT = 500  # meanings of the pretraining split that are kept for measuring


def meanings(part: str) -> tuple[Meaning, ...]:
    """The pretraining split's meanings: those to train on ("train") or those to measure on ("held out")."""
    everything = split("pretraining", "train")
    return everything[:-_HELD_OUT] if part == "train" else everything[-_HELD_OUT:]


@dataclass(frozen=True)
class Item:
    """A source with its reference.

    Attributes:
        meaning: What both say.
        question: Index of the question that the reference answers; `None` where it translates.
    """

    meaning: Meaning
    question: int | None

    @property
    def source(self) -> str:
        """The English sentence."""
        return self.meaning.english()

    @property
    def reference(self) -> str:
        """The German translation, or the English answer."""
        return self.meaning.german() if self.question is None else self.meaning.question(self.question)[1]

    @property
    def language(self) -> str:
        """Of the reference."""
        return "de" if self.question is None else "en"

    @property
    def slots(self) -> tuple[str, ...]:
        """Which slots the reference states."""
        return SLOTS if self.question is None else answer_slots(self.question)


def draw_item(meaning: Meaning, rng: random.Random) -> Item:
    """A translation or, as often, the answer to some question."""
    return Item(meaning, None if rng.random() < 0.5 else rng.randrange(len(QUESTIONS)))


def worth(hypothesis: str, item: Item) -> float:
    """How much of the reference's meaning a hypothesis keeps, in readable form: comet[tiny]'s target.

    The share of slots kept (`slots.agreement`), times two penalties read off the two texts' skeletons, which
    have the name of a slot in the place of each of its phrases: with n the reference's length, m the
    hypothesis' and c that of their longest common subsequence, √(c/n) for what is missing or out of order
    and n/max(n, m) for what is superfluous or repeated.

    Args:
        hypothesis: Any text.
        item: Its source and reference.

    Returns:
        From 0 (nothing; also for the source copied) to 1 (the reference).
    """
    if fold(hypothesis).strip(" .") == fold(item.source).strip(" ."):
        return 0.0
    kept = agreement(hypothesis, item.reference, item.language) or 0.0
    found, wanted = _skeleton(hypothesis, item.language), _skeleton(item.reference, item.language)
    common = _common_length(found, wanted)
    return float(kept * (common / len(wanted)) ** 0.5 * len(wanted) / max(len(wanted), len(found)))


def _skeleton(text: str, language: str) -> list[str]:
    known = lexicon(language)
    tagged = phrases(language).sub(lambda match: f"<{known[match.group()][0]}>", fold(text))
    return tagged.replace(".", " ").split()


def _common_length(left: list[str], right: list[str]) -> int:
    lengths = [0] * (len(right) + 1)
    for word in left:
        diagonal = 0
        for column, other in enumerate(right, start=1):
            above = lengths[column]
            lengths[column] = diagonal + 1 if word == other else max(above, lengths[column - 1])
            diagonal = above
    return lengths[-1]


def degrade(item: Item, rng: random.Random) -> tuple[str, str]:
    """One hypothesis for an item.

    Returns:
        How it was degraded (a key of `DEGRADATIONS`), and its text.
    """
    kind = rng.choices(list(_SHARES), weights=list(_SHARES.values()))[0]
    if kind in _ON_TOP and rng.random() < 0.4:
        wrong = _with_other_values(item, rng, rng.choice((1, 1, 2, 3)))
        return kind, DEGRADATIONS[kind](wrong, rng)
    return kind, DEGRADATIONS[kind](item, rng)


def _with_other_values(item: Item, rng: random.Random, slots: int) -> Item:
    values = dict(zip(SLOTS, item.meaning.slots, strict=True))
    for slot in rng.sample(item.slots, min(slots, len(item.slots))):
        values[slot] = rng.choice([value for value in VALUES[slot] if value != values[slot]])
    return replace(item, meaning=Meaning(tuple(values.values()), item.meaning.time_first))


def _wrong_slots(item: Item, rng: random.Random) -> str:
    return _with_other_values(item, rng, rng.choice((1, 1, 1, 2, 2, 3, 4, 7))).reference


def _in_language(slot: str, value: str, language: str) -> str:
    return VALUES[slot][value] if language == "de" else value


def _phrase(slot: str, item: Item, language: str) -> str:
    return _in_language(slot, item.meaning.slots[SLOTS.index(slot)], language)


def _exchange(text: str, phrase: str, other: str) -> str:
    return re.sub(rf"\b{re.escape(phrase)}\b", other, text, count=1, flags=re.IGNORECASE)


def _missing(item: Item, rng: random.Random) -> str:
    text = item.reference
    filler = "etwas" if item.language == "de" else "something"
    for slot in rng.sample(item.slots, rng.choice((1, 1, 2, min(4, len(item.slots))))):
        text = _exchange(text, _phrase(slot, item, item.language), rng.choice(("", "", filler)))
    return " ".join(text.split())


def _added(item: Item, rng: random.Random) -> str:
    words = item.reference.split()
    for _ in range(rng.choice((1, 1, 2))):
        slot = rng.choice(SLOTS)
        words.insert(rng.randrange(len(words)), _in_language(slot, rng.choice(list(VALUES[slot])), item.language))
    return " ".join(words)


def _reordered(item: Item, rng: random.Random) -> str:
    if item.question is None and rng.random() < 0.3:
        return replace(item.meaning, time_first=not item.meaning.time_first).german()
    words = item.reference.rstrip(".").split()
    if rng.random() < 0.3:
        rng.shuffle(words)
        return " ".join(words) + "."
    for _ in range(rng.choice((1, 1, 2))):
        start = rng.randrange(len(words))
        moved = words[start : start + rng.choice((1, 2, 3))]
        del words[start : start + len(moved)]
        place = rng.randrange(len(words) + 1)
        words[place:place] = moved
    return " ".join(words) + "."


def _wrong_language(item: Item, rng: random.Random) -> str:
    """The whole in the other language (not the source itself), or some of the phrases in it."""
    if rng.random() < 0.6:
        if item.question is not None:
            return item.meaning.german()
        return rng.choice(
            (item.meaning.question(rng.randrange(len(QUESTIONS)))[1], _with_other_values(item, rng, 1).source)
        )
    text = item.reference
    other = "en" if item.language == "de" else "de"
    for slot in rng.sample(item.slots, rng.randint(1, len(item.slots))):
        text = _exchange(text, _phrase(slot, item, item.language), _phrase(slot, item, other))
    return text


def _repeated(item: Item, rng: random.Random) -> str:
    words = item.reference.split()
    if rng.random() < 0.25:
        return " ".join(words * rng.choice((2, 2, 3, 5)))
    start = rng.randrange(len(words))
    length = rng.choice((1, 1, 2, 3))
    return " ".join(
        words[: start + length] + words[start : start + length] * rng.choice((1, 1, 2, 4)) + words[start + length :]
    )


def _truncated(item: Item, rng: random.Random) -> str:
    if rng.random() < 0.3:
        return item.reference[: rng.randrange(1, len(item.reference) - 1)]
    words = item.reference.split()
    return " ".join(words[: rng.randrange(1, len(words))])


def _misspelt(item: Item, rng: random.Random) -> str:
    """Letters lost, added or exchanged, or the head of a word with the tail of another, as models of pieces write."""
    words = item.reference.rstrip(".").split()
    for place in rng.sample(range(len(words)), min(len(words), rng.choice((1, 1, 2, 3)))):
        word = words[place]
        cut = rng.randrange(len(word))
        letter = rng.choice("abcdefghiklmnoprstuwz")
        other = rng.choice(sorted(vocabulary(item.language)))
        words[place] = rng.choice(
            (
                word[:cut] + word[cut + 1 :] + ("" if len(word) > 1 else letter),
                word[:cut] + letter + word[cut:],
                word[:cut] + letter + word[cut + 1 :],
                word[: len(word) // 2] + other[len(other) // 2 :],
            )
        )
    return " ".join(words) + "."


def _unrelated(item: Item, rng: random.Random) -> str:
    """Another sentence, the answer to another question, or words at random."""
    draw = rng.random()
    if draw < 0.25:
        return " ".join(rng.choices(sorted(vocabulary(item.language)), k=rng.randint(1, 14)))
    if draw < 0.5 and item.question is not None:
        return item.meaning.question(rng.randrange(len(QUESTIONS)))[1]
    return replace(item, meaning=rng.choice(meanings("train"))).reference


DEGRADATIONS: Mapping[str, Callable[[Item, random.Random], str]] = MappingProxyType(
    {
        "intact": lambda item, rng: item.reference if rng.random() < 0.8 else item.reference.rstrip("."),
        "wrong slots": _wrong_slots,
        "missing": _missing,
        "added": _added,
        "reordered": _reordered,
        "wrong language": _wrong_language,
        "empty": lambda _item, rng: rng.choice(("", "", ".", "...")),
        "copied source": lambda item, rng: item.source if rng.random() < 0.7 else item.source.rstrip(".").upper(),
        "repeated": _repeated,
        "truncated": _truncated,
        "misspelt": _misspelt,
        "unrelated": _unrelated,
    }
)

_SHARES: Mapping[str, float] = MappingProxyType(
    {
        "intact": 0.12,
        "wrong slots": 0.30,
        "missing": 0.08,
        "added": 0.06,
        "reordered": 0.07,
        "wrong language": 0.06,
        "empty": 0.01,
        "copied source": 0.04,
        "repeated": 0.06,
        "truncated": 0.06,
        "misspelt": 0.08,
        "unrelated": 0.06,
    }
)
_ON_TOP = frozenset(
    {"missing", "added", "reordered", "repeated", "truncated", "misspelt"}
)  # of other values, sometimes
