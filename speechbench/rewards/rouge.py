"""ROUGE-1, ROUGE-2 and ROUGE-L: F1 of the n-grams, or of the longest common subsequence, as rouge-score has it."""

from __future__ import annotations

import unicodedata
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any, ClassVar

from speechbench.benchmarks.base import Example
from speechbench.errors import UsageError
from speechbench.languages import primary
from speechbench.rewards.base import Batch
from speechbench.rewards.by_language import ByLanguage
from speechbench.rewards.grouped import Grouped, Prepared, Row
from speechbench.rewards.matching import Ngram, Numbered, common, ngrams
from speechbench.rewards.texts import Folding, column

UNICODE, ROUGE155 = "unicode", "rouge155"
# Scripts without spaces between words. Signs that several scripts share, as the long mark of Japanese, count.
_UNSPACED_SCRIPTS = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
_LONGEST_UNSTEMMED = 3  # words this short are left alone, by rouge-score as by ROUGE-1.5.5


_ARGUMENTS = """Of several references the one with the highest F1 counts. Scores are rouge-score's to the last bit.

    Args:
        tokenizer: "unicode": words are runs of letters, marks and digits of any script, and in scripts without spaces
            between words each letter is one. "rouge155": the published one, by rouge-score: only a to z and 0 to 9
            count, so that "für" equals "fär". On English text without accents both give the same.
        stemmer: Strip the endings of English words (Porter's stemmer), as rouge-score's `use_stemmer`.
        case: Whether upper and lower case differ.
        punctuation: Whether each punctuation mark counts as a word.

    Raises:
        UsageError: If there is no such tokenizer, an option is neither true nor false, or it goes against the
            tokenizer or the stemmer.
"""


class _Rouge(ByLanguage, Grouped[Sequence[Prepared]]):
    """What the three have in common: tokens, and F1."""

    citation: ClassVar[str] = "Lin 2004, https://aclanthology.org/W04-1013; rouge-score"
    _name: ClassVar[str]
    _title: ClassVar[str]
    _libraries: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, tokenizer: str = UNICODE, stemmer: bool = False, case: bool = False, punctuation: bool = False
    ) -> None:
        self._folding = Folding(self._name, case, punctuation)
        if tokenizer not in (UNICODE, ROUGE155):
            raise UsageError(f"{self._name}(tokenizer={tokenizer}): the tokenizers are {UNICODE} and {ROUGE155}")
        if not isinstance(stemmer, bool):
            raise UsageError(f"{self._name}(stemmer={stemmer}): write true or false")
        if tokenizer == ROUGE155 and (case or punctuation):
            option = "case" if case else "punctuation"
            raise UsageError(
                f"{self._name}(tokenizer={ROUGE155}, {option}=true): that tokenizer knows neither case nor "
                f"punctuation; leave out {option}, or take tokenizer={UNICODE}"
            )
        if stemmer and case:
            raise UsageError(
                f"{self._name}(stemmer=true, case=true): the stemmer puts words into lower case; leave out one of them"
            )
        self.tokenizer, self.stemmer = tokenizer, stemmer
        self.display = column(
            self._title,
            tokenizer if tokenizer != UNICODE else None,
            "stemmed" if stemmer else None,
            "cased" if case else None,
            "punct" if punctuation else None,
        )

    def _check_language(self, language: str, of: str) -> None:
        if self.stemmer and primary(language) != "en":
            raise UsageError(
                f"{self._name}(stemmer=true): the stemmer is for English, and the target language of {of} is "
                f"{language}: leave out stemmer"
            )

    def score(self, batch: Batch) -> list[float | None]:
        """F1 of each hypothesis; `None` for an example without references."""
        return [None if row is None else row[0] for row in self._rows(batch)]

    def signature(self) -> Mapping[str, Any]:
        """Name, options, library versions and Unicode's."""
        libraries = ["rouge-score", *(["regex"] if self.tokenizer == UNICODE else []), *(["nltk"] * self.stemmer)]
        return {
            "name": self._name,
            "tokenizer": self.tokenizer,
            "stemmer": "porter" if self.stemmer else "none",
            **self._folding.signature,
            "unicode": unicodedata.unidata_version,
            **{library: version(library) for library in [*libraries, *self._libraries]},
        }

    def tokens(self, text: str) -> list[str]:
        """The words of a text, as they are compared."""
        if self.tokenizer == ROUGE155:
            from rouge_score.tokenize import tokenize

            return list(tokenize(text, self._porter))
        text = unicodedata.normalize("NFC", text)
        found = self._words(text if self._folding.case else text.lower())
        if self._porter is None:
            return found
        return [self._porter.stem(word) if len(word) > _LONGEST_UNSTEMMED else word for word in found]

    @cached_property
    def _words(self) -> Callable[[str], list[str]]:
        import regex

        scripts = "".join(rf"\p{{scx={script}}}" for script in _UNSPACED_SCRIPTS)
        single = rf"[[{scripts}]&&[\p{{L}}\p{{N}}]]"
        words = rf"{single}\p{{M}}*|[[\p{{L}}\p{{M}}\p{{N}}]--{single}]+"
        found: Callable[[str], list[str]] = regex.compile(
            rf"{words}|\p{{P}}" if self._folding.punctuation else words, regex.VERSION1
        ).findall
        return found

    @cached_property
    def _porter(self) -> Any:
        if not self.stemmer:
            return None
        from nltk.stem.porter import PorterStemmer

        return PorterStemmer()

    def _prepared(self, example: Example) -> Sequence[Prepared]:
        return [self._indexed(self.tokens(text)) for text in example.references]

    def _compared(self, hypothesis: str, prepared: Sequence[Prepared]) -> Row:
        from rouge_score.scoring import fmeasure

        tokens = self.tokens(hypothesis)
        scores = []
        for reference in prepared:
            both, found, wanted = self._matched(tokens, reference)
            scores.append(fmeasure(both / max(found, 1), both / max(wanted, 1)))
        return (float(max(scores)),)

    @abstractmethod
    def _indexed(self, tokens: list[str]) -> Prepared:
        """What tokens are matched against, of one reference."""

    @abstractmethod
    def _matched(self, tokens: list[str], reference: Prepared) -> tuple[int, int, int]:
        """How much of a hypothesis and a reference is common, and how much each has."""


class _RougeN(_Rouge[tuple[Mapping[Ngram, int], int]]):
    _order: ClassVar[int]

    def _indexed(self, tokens: list[str]) -> tuple[Mapping[Ngram, int], int]:
        counts = Counter(ngrams(tokens, self._order))
        return counts, sum(counts.values())

    def _matched(self, tokens: list[str], reference: tuple[Mapping[Ngram, int], int]) -> tuple[int, int, int]:
        counts, wanted = reference
        return common(tokens, self._order, counts), max(0, len(tokens) - self._order + 1), wanted


class Rouge1(_RougeN):
    __doc__ = f"ROUGE-1: F1 of the words that hypothesis and reference share.\n\n    {_ARGUMENTS}"
    _name, _title, _order = "rouge1", "ROUGE-1", 1


class Rouge2(_RougeN):
    __doc__ = f"""ROUGE-2: F1 of the pairs of neighbouring words that hypothesis and reference share.

    A reference of one word has no pair, and scores 0 whatever is said.

    {_ARGUMENTS}"""
    _name, _title, _order = "rouge2", "ROUGE-2", 2


class RougeL(_Rouge[Numbered]):
    __doc__ = f"""ROUGE-L: F1 of the longest sequence of words that both have, in order but with gaps.

    Of the text as a whole, line breaks or not: rouge-score's "rougeL", not its "rougeLsum".

    {_ARGUMENTS}"""
    _name, _title, _libraries = "rougeL", "ROUGE-L", ("rapidfuzz",)

    def _indexed(self, tokens: list[str]) -> Numbered:
        return Numbered(tokens)

    def _matched(self, tokens: list[str], reference: Numbered) -> tuple[int, int, int]:
        from rapidfuzz.distance import LCSseq

        both = LCSseq.similarity(reference.tokens, reference.other(tokens))
        return both, len(tokens), len(reference.tokens)
