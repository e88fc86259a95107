"""What scorers that compare letters and words do to a text first, each time it is asked for in their parameters."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from speechbench.errors import UsageError


@dataclass(frozen=True)
class Folding:
    """Whether case and punctuation count.

    Attributes:
        reward: Name of the reward that is told, for errors.
        case: Whether they differ in upper and lower case.
        punctuation: Whether punctuation counts; without it, it is taken out and white space is brought to single
            spaces.

    Raises:
        UsageError: If one of them is neither true nor false.
    """

    reward: str
    case: bool
    punctuation: bool

    def __post_init__(self) -> None:
        for name in ("case", "punctuation"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise UsageError(f"{self.reward}({name}={value}): write true or false")

    def __call__(self, text: str) -> str:
        """The text as it is compared."""
        text = text if self.case else text.lower()
        return text if self.punctuation else without_punctuation(text)

    @property
    def signature(self) -> Mapping[str, str]:
        """As signatures say it: "case:mixed" or "case:lc" as sacrebleu has it, and "punct:yes" or "punct:no"."""
        return {"case": "mixed" if self.case else "lc", "punct": "yes" if self.punctuation else "no"}

    @property
    def shown(self) -> tuple[str, ...]:
        """For a column's name: "lc" and "no punct", where it is so."""
        return (*(() if self.case else ("lc",)), *(() if self.punctuation else ("no punct",)))


def without_punctuation(text: str) -> str:
    """The text without characters of Unicode's punctuation categories, its words joined by single spaces."""
    return " ".join("".join(c for c in text if not unicodedata.category(c).startswith("P")).split())


def column(name: str, *options: str | None) -> str:
    """What a column is called whose scorer was told something: "chrF[lc, no punct]"; what is empty is left out."""
    told = [option for option in options if option]
    return f"{name}[{', '.join(told)}]" if told else name
