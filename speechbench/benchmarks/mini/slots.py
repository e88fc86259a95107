"""The metric `slots`: how much of the reference's meaning a text states, read off with the mini corpora's grammar."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Any

from speechbench.benchmarks.base import Benchmark
from speechbench.benchmarks.mini.grammar import VALUES
from speechbench.errors import UsageError
from speechbench.rewards.base import Batch, Reward

LANGUAGES = ("de", "en")


def fold(text: str) -> str:
    """A text without the differences that its meaning does not depend on: composed, case folded, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


@cache
def lexicon(language: str) -> Mapping[str, tuple[str, str]]:
    """The grammar's phrases in one language, folded, each with its slot and its value (the English form).

    Raises:
        UsageError: If the grammar has no such language.
    """
    base = re.split("[-_]", language.lower())[0]
    if base not in LANGUAGES:
        raise UsageError(f"slots reads German (de) and English (en) of the mini corpora, not {language!r}")
    return {
        fold(german if base == "de" else english): (slot, english)
        for slot, values in VALUES.items()
        for english, german in values.items()
    }


@cache
def phrases(language: str) -> re.Pattern[str]:
    """Matches the longest phrase of `lexicon(language)` that stands at a place in a folded text, as whole words.

    Raises:
        UsageError: If the grammar has no such language.
    """
    longest_first = sorted(lexicon(language), key=lambda phrase: (-len(phrase), phrase))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")


def parse(text: str, language: str) -> dict[str, frozenset[str]]:
    """Which values a text states.

    Args:
        text: Anything; upper and lower case are the same, and so are "ß" and "ss".
        language: Of the text: "de" or "en", with or without a region.

    Returns:
        For each slot that the text states its values in their English form. More than one value in a slot
        means that the text contradicts itself.

    Raises:
        UsageError: If the grammar has no such language.
    """
    known = lexicon(language)
    stated: dict[str, set[str]] = {}
    for match in phrases(language).finditer(fold(text)):
        slot, value = known[match.group()]
        stated.setdefault(slot, set()).add(value)
    return {slot: frozenset(values) for slot, values in stated.items()}


def agreement(hypothesis: str, reference: str, language: str) -> float | None:
    """Share of the reference's slots for which the hypothesis states the reference's value and no other.

    Args:
        hypothesis: The text to judge. Slots that it states beyond the reference's neither help nor harm.
        reference: What should have been said.
        language: Of both.

    Returns:
        From 0 to 1, or `None` if the reference states no slot.

    Raises:
        UsageError: If the grammar has no such language.
    """
    wanted = parse(reference, language)
    if not wanted:
        return None
    found = parse(hypothesis, language)
    return sum(found.get(slot) == values for slot, values in wanted.items()) / len(wanted)


def refuse_outside_mini(scorer: str, benchmark: Benchmark) -> None:
    """Keeps a scorer that knows only the mini corpora's grammar on them.

    Raises:
        UsageError: If the benchmark is none of the mini corpora.
    """
    if benchmark.comet_checkpoint != "tiny":
        raise UsageError(
            f"{scorer} knows only the grammar of covost2-mini and librisqa-mini: "
            f"take another scorer for {benchmark.name}"
        )


class Slots(Reward):
    """Share of the reference's meaning that the hypothesis states, from 0 to 1: see `agreement`.

    The first reference counts. Only for the mini corpora, whose grammar it reads.
    """

    display = "slots"
    family = "exact"
    maximum = 1.0
    several_references = "first"
    is_pure = True
    languages = frozenset(LANGUAGES)

    def score(self, batch: Batch) -> list[float | None]:
        """The agreement of each hypothesis with its reference; `None` where there is none that states a slot."""
        return [
            agreement(hypothesis, example.references[0], example.target_language) if example.references else None
            for hypothesis, example in zip(batch.hypotheses, batch.examples, strict=True)
        ]

    def signature(self) -> Mapping[str, Any]:
        """Name and version."""
        return {"name": "slots", "version": 1}

    def check(self, benchmark: Benchmark) -> None:
        """Refuses all but the mini corpora.

        Raises:
            UsageError: On any other benchmark.
        """
        refuse_outside_mini("slots", benchmark)
