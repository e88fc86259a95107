"""Rewards that ask whether the hypothesis is right as a whole."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from speechbench.errors import UsageError
from speechbench.rewards.base import Batch, Reward


class Binary(Reward):
    """1 if the hypothesis equals any of the references, else 0.

    Args:
        normalize: Compare after Unicode normalisation (NFKC), case folding, and without punctuation and
            repeated white space.

    Raises:
        UsageError: If `normalize` is neither true nor false.
    """

    def __init__(self, normalize: bool = True) -> None:
        if not isinstance(normalize, bool):
            raise UsageError(f"binary(normalize={normalize}): write true or false")
        self.normalize = normalize
        self.display = "binary" if normalize else "binary[verbatim]"

    def score(self, batch: Batch) -> list[float | None]:
        """1 or 0; `None` for an example without a reference."""
        return [
            self._matches(hypothesis, example.references) if example.references else None
            for hypothesis, example in zip(batch.hypotheses, batch.examples, strict=True)
        ]

    def signature(self) -> Mapping[str, Any]:
        """Unicode's version matters to what is a letter and what is punctuation."""
        return {"name": "binary", "normalize": self.normalize, "unicode": unicodedata.unidata_version}

    def _matches(self, hypothesis: str, references: tuple[str, ...]) -> float:
        if not self.normalize:
            return float(hypothesis in references)
        return float(normalized(hypothesis) in {normalized(reference) for reference in references})


def normalized(text: str) -> str:
    """The text in lower case without punctuation; one that is nothing but punctuation stays as it is."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    words = "".join(c for c in folded if not unicodedata.category(c).startswith("P")).split()
    return " ".join(words or folded.split())
