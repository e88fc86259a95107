"""The reward `ter`: translation edit rate, by sacrebleu's account of Tercom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from speechbench.benchmarks.base import Example
from speechbench.languages import CHINESE, is_unspaced, primary
from speechbench.rewards.by_language import ByLanguage
from speechbench.rewards.error_rates import ErrorRate, without_words
from speechbench.rewards.grouped import Row
from speechbench.rewards.signatures import sacrebleu_signature, unicode_version
from speechbench.rewards.texts import Folding, column

if TYPE_CHECKING:
    from sacrebleu.metrics.ter import TER

_SPLIT = CHINESE | {"ja"}  # languages whose characters Tercom takes for words
_SHORT = 24  # longest reference that sacrebleu's beam, 25 cells to each side of the diagonal, holds all of
_FEW = 23  # edits that cannot lead out of the beam, however long the reference


class Ter(ByLanguage, ErrorRate[tuple["TER", Sequence[list[str]]]]):
    """Translation edit rate: words to insert, delete, replace, and phrases to shift, per word of the reference.

    Edits and scores are sacrebleu's: with several references, the fewest edits over the mean length. Words are what
    stands between spaces; in Chinese and Japanese Tercom's normalisation takes characters apart.

    Args:
        case: Whether upper and lower case differ.
        punctuation: Whether Tercom's punctuation marks count.

    Raises:
        UsageError: If one of them is neither true nor false.
    """

    several_references = "pooled"
    citation: ClassVar[str] = "Snover et al. 2006, https://aclanthology.org/2006.amta-papers.25; sacrebleu: Post 2018"

    def __init__(self, case: bool = False, punctuation: bool = True) -> None:
        self._folding = Folding("ter", case, punctuation)
        self.display = column("TER", "cased" if case else None, None if punctuation else "no punct")
        self._metrics: dict[bool, TER] = {}

    def _check_language(self, language: str, of: str) -> None:
        if is_unspaced(language) and not _is_split(language):
            raise without_words("ter", language, of)

    def signature(self) -> Mapping[str, Any]:
        """sacrebleu's own signature, which is the same for the reward and for the metric.

        "split" lists the languages whose characters count as words.
        """
        import sacrebleu

        told = {"norm": "by-language", "asian": "by-language"} if self._language is None else {}
        return {
            "name": "ter",
            "sacrebleu": sacrebleu.__version__,
            "metric": sacrebleu_signature(self._metric(self._language or ""), **told),
            "split": sorted(_SPLIT),
            **unicode_version(self._folding),
        }

    def _prepared(self, example: Example) -> tuple[TER, Sequence[list[str]]]:
        metric = self._metric(example.target_language)
        lines = [metric._preprocess_segment(text) for text in example.references]
        return metric, metric._extract_reference_info(lines)["ref_words"]

    def _compared(self, hypothesis: str, prepared: tuple[TER, Sequence[list[str]]]) -> Row:
        metric, references = prepared
        words = metric._preprocess_segment(hypothesis).split()
        fewest = min(edits(words, reference) for reference in references)
        return fewest, sum(len(reference) for reference in references) / len(references)

    def _metric(self, language: str) -> TER:
        split = _is_split(language)
        if split not in self._metrics:
            from sacrebleu.metrics.ter import TER

            self._metrics[split] = TER(
                normalized=split,
                asian_support=split,
                case_sensitive=self._folding.case,
                no_punct=not self._folding.punctuation,
            )
        return self._metrics[split]


def _is_split(language: str) -> bool:
    return primary(language) in _SPLIT


def edits(hypothesis: Sequence[str], reference: Sequence[str]) -> int:
    """How many edits TER counts between two texts, as sacrebleu's `translation_edit_rate`, sooner.

    sacrebleu tries up to a thousand shifts and measures each with its beam search in Python. Where the beam can cut
    nothing off, its distance is Levenshtein's, and rapidfuzz has that.

    Args:
        hypothesis: Its words.
        reference: Its words.
    """
    from sacrebleu.metrics import lib_ter

    if not reference:
        return len(hypothesis)
    letters: dict[str, str] = {}  # a letter for each word, so that rapidfuzz compares them and not their hashes
    wanted, words = ([letters.setdefault(word, chr(len(letters))) for word in text] for text in (reference, hypothesis))
    distance = _Distance(wanted)
    shifts = tried = 0
    while True:
        gain, shifted, tried = lib_ter._shift(words, wanted, distance, tried)
        if tried >= lib_ter._MAX_SHIFT_CANDIDATES or gain <= 0:
            break
        shifts, words = shifts + 1, shifted
    return shifts + distance(words)[0]


class _Distance:
    """sacrebleu's edit distance to a reference, found with or without its beam search.

    Args:
        reference: A letter for each word.
    """

    def __init__(self, reference: list[str]) -> None:
        from sacrebleu.metrics.lib_ter import BeamEditDistance

        self.beam = BeamEditDistance(reference)
        self.reference = "".join(reference)

    def __call__(self, words: list[str]) -> _Found:
        return _Found(self, words)


class _Found:
    """The pair (distance, trace) that sacrebleu's search returns; who asks for the first alone waits for no trace."""

    def __init__(self, distance: _Distance, words: list[str]) -> None:
        self._distance = distance
        self._words = words

    def __iter__(self) -> Iterator[Any]:
        return iter(self._distance.beam(self._words))

    def __getitem__(self, place: Literal[0]) -> int:
        from rapidfuzz.distance import Levenshtein

        reference = self._distance.reference
        found = Levenshtein.distance("".join(self._words), reference)
        if found <= _FEW or len(reference) <= _SHORT:
            return found
        return self._distance.beam(self._words)[place]
