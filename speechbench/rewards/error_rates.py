"""Rewards that count errors against the reference: word and character error rate, as jiwer has them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np

from speechbench.aggregate import Floats, rate
from speechbench.benchmarks.base import Example
from speechbench.errors import UsageError
from speechbench.languages import is_unspaced
from speechbench.rewards.by_language import ByLanguage
from speechbench.rewards.grouped import Counted, Prepared, Row
from speechbench.rewards.matching import Numbered
from speechbench.rewards.signatures import unicode_version
from speechbench.rewards.texts import Folding, column


class ErrorRate(Counted[Prepared]):
    """Errors over the length of the reference: 1 − rate, never below 0, as the reward, the true rate as the metric."""

    aggregate = "rate"
    lower_is_better = True

    def segments(self, scores: Sequence[float | None], statistics: Floats) -> list[float | None]:
        """The rate of each segment in per cent, above 100 where errors outnumber what the reference has."""
        rates = rate(statistics).tolist()
        return [None if score is None else value for score, value in zip(scores, rates, strict=True)]

    @property
    def _width(self) -> int:
        return 2

    def _units(self, statistics: Floats) -> Floats:
        return 1.0 - np.minimum(1.0, rate(statistics, scale=1.0))


class _EditRate(ErrorRate[Sequence[Numbered]]):
    """Words or characters to insert, delete or replace, over those of the reference."""

    citation: ClassVar[str] = "jiwer, https://github.com/jitsi/jiwer; Levenshtein 1966"
    _name: ClassVar[str]

    def __init__(self, case: bool = True, punctuation: bool = True) -> None:
        self._folding = Folding(self._name, case, punctuation)
        self.display = column(self._name.upper(), *self._folding.shown)

    def signature(self) -> Mapping[str, Any]:
        """Name, options and library versions."""
        return {
            "name": self._name,
            **self._folding.signature,
            **unicode_version(self._folding),
            "jiwer": version("jiwer"),
            "rapidfuzz": version("rapidfuzz"),
        }

    def _prepared(self, example: Example) -> Sequence[Numbered]:
        return [Numbered(self._units_of(self._folding(text))) for text in example.references]

    def _compared(self, hypothesis: str, prepared: Sequence[Numbered]) -> Row:
        from rapidfuzz.distance import Levenshtein

        units = self._units_of(self._folding(hypothesis))
        rows = [
            (float(Levenshtein.distance(reference.tokens, reference.other(units))), float(len(reference.tokens)))
            for reference in prepared
        ]
        return rows[int(np.argmin(rate(np.array(rows))))] if len(rows) > 1 else rows[0]

    @abstractmethod
    def _units_of(self, text: str) -> list[str]:
        """The words, or the characters."""


def without_words(reward: str, language: str, of: str) -> UsageError:
    """What to raise where a target language does not put spaces between words.

    Args:
        reward: Which counts words.
        language: Code of the language.
        of: Whose target language it is.
    """
    return UsageError(
        f"{reward} counts the words between spaces, and the target language of {of}, {language}, is written without: "
        "use cer"
    )


class Wer(ByLanguage, _EditRate):
    """Word error rate: errors per word of the reference; of several references, against that with the lowest rate.

    Words are what stands between spaces, as in jiwer, and as there case and punctuation count; speech recognition
    is mostly measured without: `wer(case=false, punctuation=false)`. Against an empty reference any word makes the
    rate 100%, and none makes it 0.

    Args:
        case: Whether upper and lower case differ.
        punctuation: Whether punctuation counts.

    Raises:
        UsageError: If one of them is neither true nor false.
    """

    _name: ClassVar[str] = "wer"

    def _check_language(self, language: str, of: str) -> None:
        if is_unspaced(language):
            raise without_words("wer", language, of)

    def _units_of(self, text: str) -> list[str]:
        from jiwer.transformations import wer_default

        (words,) = wer_default([text])
        return list(words)


class Cer(_EditRate):
    """Character error rate: errors per character of the reference; of several, against that with the lowest rate.

    Characters are Unicode's code points, spaces between words among them, as in jiwer, and as there case and
    punctuation count. Against an empty reference any character makes the rate 100%, and none makes it 0.

    Args:
        case: Whether upper and lower case differ.
        punctuation: Whether punctuation counts.

    Raises:
        UsageError: If one of them is neither true nor false.
    """

    _name: ClassVar[str] = "cer"

    def _units_of(self, text: str) -> list[str]:
        from jiwer.transformations import cer_default

        (characters,) = cer_default([text])
        return list(characters)
