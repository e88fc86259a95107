"""The reward `language`: whether the text is in the language that was asked for, by lingua."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from speechbench.errors import MissingError, UsageError
from speechbench.languages import primary
from speechbench.libraries import needed
from speechbench.rewards.base import Batch
from speechbench.rewards.by_language import ByLanguage
from speechbench.rewards.texts import column

if TYPE_CHECKING:
    from lingua import Language as Lingua
    from lingua import LanguageDetector

_EXTRA = "language"
_ALL = "all"
_COMMON = ("de", "en", "es", "fr", "ru", "zh")  # what models write that answer in the wrong language
_LONGEST = 2_000  # characters of a text that are looked at; a word of 100,000 letters takes lingua seconds
_DIGITS = 4
"""Decimal places that are kept. lingua adds up probabilities in an order that changes from call to call, so that the
last of a number's sixteen digits do, too; a score must not."""


class Language(ByLanguage):
    """The probability that the hypothesis is in the example's target language, among a set of languages.

    It knows nothing of what the right answer is: multiply it with a reward that does, as in `bleu * language`.
    Texts without letters score 0; of long ones the first 2,000 characters count. Short texts that many languages
    share score low even where they are right: "Ja." scores 0.59 between German and English, 0.26 among the languages
    of the default, 0.01 among all 75.

    Args:
        languages: Codes of the languages to choose from, with commas between ("de,en"): ISO 639-1 or 639-3; or
            "all" that lingua knows, which takes eight seconds and 900 MB once. By default the example's source and
            target language and the six that models most often slip into: German, English, Spanish, French,
            Russian, Chinese.
        accuracy: "high", or "low" for models that are smaller but misjudge short texts.

    Raises:
        UsageError: If lingua knows no such language, there are fewer than two, or the accuracy is neither.
        MissingError: If lingua is not installed.
    """

    family = "learned"
    needs: frozenset[str] = frozenset()
    several_references = "none"
    extra = _EXTRA
    is_pure = True
    citation: ClassVar[str] = "lingua, https://github.com/pemistahl/lingua-rs"

    def __init__(self, languages: str = "", accuracy: str = "high") -> None:
        if accuracy not in ("high", "low"):
            raise UsageError(f"language(accuracy={accuracy}): the accuracy is high or low")
        self.accuracy = accuracy
        self._chosen: tuple[str, ...] = ()  # ISO 639-1, sorted; empty for the default, or all
        self._all = languages == _ALL
        if languages and not self._all:
            codes = str(languages).replace(",", " ").split()
            self._chosen = tuple(
                sorted({_code(_language(code, f"language(languages='{languages}')")) for code in codes})
            )
            if len(self._chosen) < 2:
                raise UsageError(f"language(languages='{languages}'): name at least two languages to choose from")
        self.languages = frozenset(self._chosen)
        among = _ALL if self._all else ",".join(self._chosen)
        self.display = column("language", among, "" if accuracy == "high" else "low accuracy")

    def score(self, batch: Batch) -> list[float | None]:
        """lingua's confidence, to four decimal places.

        Raises:
            UsageError: If an example's target language is not one of those to choose from.
            MissingError: If lingua is not installed.
        """
        asked = [(example.source_language, example.target_language) for example in batch.examples]
        texts: dict[tuple[str, str], set[str]] = {}
        for pair, hypothesis in zip(asked, batch.hypotheses, strict=True):
            texts.setdefault(pair, set()).add(hypothesis)
        found: dict[tuple[tuple[str, str], str], float] = {}
        for (source, target), distinct in texts.items():
            language, ordered = self._target(target), sorted(distinct)
            detector = _detector(self._among(source, target), self.accuracy)
            cut = [text[:_LONGEST] for text in ordered]
            scores = detector.compute_language_confidence_in_parallel(cut, language)
            rounded = [round(score, _DIGITS) for score in scores]
            found.update({((source, target), text): score for text, score in zip(ordered, rounded, strict=True)})
        return [found[pair, hypothesis] for pair, hypothesis in zip(asked, batch.hypotheses, strict=True)]

    def signature(self) -> Mapping[str, Any]:
        """lingua's version, which brings its models, the languages to choose from and the accuracy."""
        _lingua()
        return {
            "name": "language",
            "version": 1,
            "lingua": version("lingua-language-detector"),
            "languages": _ALL if self._all else list(self._chosen) or ["source", "target", *_COMMON],
            "accuracy": self.accuracy,
            "digits": _DIGITS,
            "characters": _LONGEST,
        }

    def _among(self, source: str, target: str) -> tuple[str, ...]:
        """ISO 639-1 codes, sorted, of the languages to choose from; empty for all."""
        if self._chosen or self._all:
            return self._chosen
        known = _languages()
        own = {primary(source), primary(target)} & known.keys()
        return tuple(sorted({*own, *_COMMON}))

    def _check_language(self, language: str, of: str) -> None:
        self._target(language)

    def _target(self, code: str) -> Lingua:
        language = _language(code, "reward language")
        if self._chosen and _code(language) not in self._chosen:
            raise UsageError(
                f"reward language: the target language {code} is not one of {', '.join(self._chosen)}: "
                f"write language(languages='{','.join([*self._chosen, _code(language)])}')"
            )
        return language


def likeliest(texts: Sequence[str], language: str) -> list[str | None] | None:
    """Which language each text looks like, by lingua's small models.

    Args:
        texts: Their first 2,000 characters count.
        language: Code of the one that was asked for: the choice is among it and the six that models most often slip
            into.

    Returns:
        ISO 639-1 codes, `None` for a text that tells nothing; `None` where lingua is not installed or does not know the
        language.
    """
    try:
        known = _languages()
    except MissingError:
        return None
    if primary(language) not in known:
        return None
    detector = _detector(tuple(sorted({primary(language), *_COMMON})), "low")
    found = detector.detect_languages_in_parallel_of([text[:_LONGEST] for text in texts])
    return [None if its is None else _code(its) for its in found]


@cache
def _detector(codes: Sequence[str], accuracy: str) -> LanguageDetector:
    """A detector, whose models lingua shares among all of a process."""
    builder: Any = _lingua().LanguageDetectorBuilder
    known = _languages()
    builder = builder.from_languages(*(known[code] for code in codes)) if codes else builder.from_all_languages()
    detector: LanguageDetector = (builder.with_low_accuracy_mode() if accuracy == "low" else builder).build()
    return detector


def _lingua() -> ModuleType:
    return needed("lingua", _EXTRA, "reward language")


@cache
def _languages() -> Mapping[str, Lingua]:
    """lingua's languages by their codes of two letters, which all of them have."""
    return {_code(language): language for language in _lingua().Language.all()}


def _language(code: str, what: str) -> Lingua:
    known = _languages()
    if primary(code) not in known:
        there = ", ".join(sorted({_code(language) for language in known.values()}))
        raise UsageError(f"{what}: lingua knows no language {code!r}; there are: {there}")
    return known[primary(code)]


def _code(language: Lingua) -> str:
    return language.iso_code_639_1.name.lower()
