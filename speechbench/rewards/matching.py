"""What two texts have in common: n-grams of their tokens, and tokens as numbers for rapidfuzz."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

Tokens = Sequence[Hashable]
Ngram = tuple[Any, ...]


def ngrams(tokens: Tokens, order: int) -> Iterable[Ngram]:
    """All n-grams of one order, in the order of the text; a string's are those of its characters."""
    return zip(*(tokens[skipped:] for skipped in range(order)), strict=False)


def common(tokens: Tokens, order: int, counts: Mapping[Ngram, int]) -> int:
    """How many n-grams of a text are among others, each no more often than it is there.

    Args:
        tokens: The text.
        order: Length of the n-grams.
        counts: How often each n-gram is in the other text.
    """
    found = list(filter(counts.__contains__, ngrams(tokens, order)))
    if len(set(found)) == len(found):  # as for most sentences: no need to count
        return len(found)
    several = Counter(found)
    return sum(map(min, several.values(), map(counts.__getitem__, several)))


def commons(tokens: Tokens, counts: Sequence[Mapping[Ngram, int]]) -> list[int]:
    """`common` of each order from 1 on.

    Args:
        tokens: The text.
        counts: Of the other text, by order. What it has of one order, it has in parts of the orders below.
    """
    found = [0] * len(counts)
    for place, others in enumerate(counts):
        found[place] = common(tokens, place + 1, others)
        if not found[place]:
            break  # no longer n-gram is common either
    return found


def totals(length: int, orders: int) -> list[int]:
    """How many n-grams of each order from 1 on a text of so many tokens has."""
    return [max(0, length - skipped) for skipped in range(orders)]


class Numbered:
    """The tokens of a reference as numbers, so that tokens are compared themselves and not their hashes.

    Args:
        tokens: The reference.

    Attributes:
        tokens: Their numbers.
    """

    def __init__(self, tokens: Iterable[Hashable]) -> None:
        self._numbers: dict[Hashable, int] = {}
        self.tokens = [self._numbers.setdefault(token, len(self._numbers)) for token in tokens]

    def other(self, tokens: Iterable[Hashable]) -> list[int]:
        """Another text's tokens as numbers; those that the reference has not are all one, since none can match."""
        unknown = len(self._numbers)
        return [self._numbers.get(token, unknown) for token in tokens]
