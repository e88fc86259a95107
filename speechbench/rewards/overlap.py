"""Rewards that count the n-grams a hypothesis shares with the references: BLEU and chrF, as sacrebleu has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from speechbench.aggregate import BLEU_ORDER, CHRF_CHARACTER_ORDER, Floats, bleu, chrf
from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import UsageError
from speechbench.rewards.bleu_tokenizer import BY_LANGUAGE, OTHER, UNSPACED, bleu_with, tokenizer_of
from speechbench.rewards.by_language import ByLanguage
from speechbench.rewards.grouped import Counted, Row
from speechbench.rewards.matching import Ngram, Tokens, commons, ngrams, totals
from speechbench.rewards.signatures import sacrebleu_signature, unicode_version
from speechbench.rewards.texts import Folding, column

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF


@dataclass(frozen=True)
class _References:
    """What a hypothesis's n-grams are compared with: one reference, or for BLEU all of them together.

    Attributes:
        counts: How often each n-gram is there, by order.
        lengths: Of each reference, in tokens.
    """

    counts: Sequence[Mapping[Ngram, int]]
    lengths: Sequence[int]

    @classmethod
    def of(cls, texts: Sequence[Tokens], orders: int) -> _References:
        """Of one or more tokenised references; an n-gram counts as often as in the one that has most of it."""
        counts = [reduce(or_, [Counter(ngrams(tokens, order)) for tokens in texts]) for order in range(1, orders + 1)]
        return cls(counts, [len(tokens) for tokens in texts])


class Bleu(ByLanguage, Counted[tuple["BLEU", _References]]):
    """BLEU. As a reward the sentence's, with effective order; as a metric the corpus's, without.

    Effective order and exponential smoothing matter for single sentences: without them the exact match of a
    sentence of fewer than four words scores 0. Scores are sacrebleu's to the last bit, and so that of an exact match
    may be some 1e-16 above 1.

    Args:
        tokenize: One of sacrebleu's tokenizers. By default that of the target language: zh for Chinese, ja-mecab for
            Japanese, ko-mecab for Korean, char for Thai, Lao, Khmer and Burmese, 13a for all others.
        case: Whether upper and lower case differ.
        punctuation: Whether punctuation counts; without it, it is taken out before the text is tokenised.

    Raises:
        UsageError: If sacrebleu has no such tokenizer, or an option is neither true nor false.
    """

    aggregate = "bleu"
    several_references = "pooled"
    citation: ClassVar[str] = "Papineni et al. 2002, https://aclanthology.org/P02-1040; sacrebleu: Post 2018"

    def __init__(self, tokenize: str | None = None, case: bool = True, punctuation: bool = True) -> None:
        self.tokenize = tokenize
        self._folding = Folding("bleu", case, punctuation)
        self.display = column("BLEU", tokenize, *self._folding.shown)
        self._metrics: dict[str, BLEU] = {}
        if tokenize is not None:
            from sacrebleu.metrics.bleu import BLEU

            if tokenize not in BLEU.TOKENIZERS:
                raise UsageError(
                    f"bleu(tokenize={tokenize}): sacrebleu has no such tokenizer; "
                    f"there are: {', '.join(sorted(BLEU.TOKENIZERS))}"
                )

    def check(self, benchmark: Benchmark) -> None:
        """Makes sure that the tokenizer of the target language is there; from then on the signature names it.

        Raises:
            MissingError: If it needs a package or a model that is not on this machine.
        """
        super().check(benchmark)
        self._metric(self._language or "")  # a tokenizer that was named is every language's

    def signature(self) -> Mapping[str, Any]:
        """sacrebleu's own signatures: "metric" of the corpus score, "reward" of the sentence score.

        Where the tokenizer goes by the language of each example, "tokenizers" says how.
        """
        import sacrebleu

        metric = self._metric(self._language or "")
        told: dict[str, Any] = {}
        if self.tokenize is None and self._language is None:
            told["tok"] = "by-language"
        if not self._folding.punctuation:
            told["punct"] = False
        signature: dict[str, Any] = {
            "name": "bleu",
            "sacrebleu": sacrebleu.__version__,
            "metric": sacrebleu_signature(metric, eff=False, **told),
            "reward": sacrebleu_signature(metric, eff=True, **told),
            **unicode_version(self._folding),
        }
        if self.tokenize is None:
            signature["tokenizers"] = {**BY_LANGUAGE, "unspaced": UNSPACED, "other": OTHER}
        return signature

    def _check_language(self, language: str, of: str) -> None:
        self._metric(language)

    def _prepared(self, example: Example) -> tuple[BLEU, _References]:
        metric = self._metric(example.target_language)
        return metric, _References.of([self._tokens(text, metric) for text in example.references], BLEU_ORDER)

    def _compared(self, hypothesis: str, prepared: tuple[BLEU, _References]) -> Row:
        metric, references = prepared
        tokens = self._tokens(hypothesis, metric)
        size = len(tokens)
        closest = min(references.lengths, key=lambda length: (abs(length - size), length))
        return (*commons(tokens, references.counts), *totals(size, BLEU_ORDER), size, closest)

    def _tokens(self, text: str, metric: BLEU) -> list[str]:
        return metric._preprocess_segment(self._folding(text)).split()

    @property
    def _width(self) -> int:
        return 2 * BLEU_ORDER + 2

    def _units(self, statistics: Floats) -> Floats:
        return bleu(statistics, effective_order=True) / 100.0

    def _metric(self, language: str) -> BLEU:
        tokenizer = self.tokenize or tokenizer_of(language)
        if tokenizer not in self._metrics:
            self._metrics[tokenizer] = bleu_with(tokenizer, not self._folding.case, language)
        return self._metrics[tokenizer]


class Chrf(Counted[Sequence[tuple[_References, _References]]]):
    """chrF: F-score of character n-grams, beta 2; with several references the one that fits best.

    Beta 2 counts recall above precision, so a hypothesis that repeats itself loses little by it. Scores are
    sacrebleu's to the last bit.

    Args:
        word_order: Longest word n-gram counted too: 0 for chrF, 2 for chrF++.
        case: Whether upper and lower case differ.
        punctuation: Whether punctuation counts; without it, it is taken out of the text first.

    Raises:
        UsageError: If the word order is not 0, 1 or 2, or an option is neither true nor false.
    """

    aggregate = "chrf"
    citation: ClassVar[str] = "Popović 2015, https://aclanthology.org/W15-3049; chrF++: Popović 2017"

    def __init__(self, word_order: int = 0, case: bool = True, punctuation: bool = True) -> None:
        if type(word_order) is not int or word_order not in (0, 1, 2):
            raise UsageError(f"chrf(word_order={word_order}): the word order is 0 (chrF), 1 or 2 (chrF++)")
        self.word_order = word_order
        self._folding = Folding("chrf", case, punctuation)
        self.display = column("chrF" + "+" * word_order, *self._folding.shown)

    def signature(self) -> Mapping[str, Any]:
        """sacrebleu's own signature, which is the same for the reward and for the metric."""
        import sacrebleu

        told = {} if self._folding.punctuation else {"punct": False}
        return {
            "name": "chrf",
            "sacrebleu": sacrebleu.__version__,
            "metric": sacrebleu_signature(self._metric, **told),
            **unicode_version(self._folding),
        }

    def _prepared(self, example: Example) -> Sequence[tuple[_References, _References]]:
        texts = [self._tokens(text) for text in example.references]
        return [
            (_References.of([characters], CHRF_CHARACTER_ORDER), _References.of([words], self.word_order))
            for characters, words in texts
        ]

    def _compared(self, hypothesis: str, prepared: Sequence[tuple[_References, _References]]) -> Row:
        characters, words = self._tokens(hypothesis)
        rows = [(*_triples(characters, by_character), *_triples(words, by_word)) for by_character, by_word in prepared]
        return rows[int(np.argmax(chrf(np.array(rows))))] if len(rows) > 1 else rows[0]

    def _tokens(self, text: str) -> tuple[str, list[str]]:
        """The characters but for white space, and the words, punctuation apart, where they count."""
        text = self._metric._preprocess_segment(self._folding(text))
        return "".join(text.split()), self._metric._remove_punctuation(text) if self.word_order else []

    @property
    def _width(self) -> int:
        return 3 * (CHRF_CHARACTER_ORDER + self.word_order)

    def _units(self, statistics: Floats) -> Floats:
        return chrf(statistics) / 100.0

    @cached_property
    def _metric(self) -> CHRF:
        from sacrebleu.metrics.chrf import CHRF

        return CHRF(word_order=self.word_order, lowercase=not self._folding.case)


def _triples(tokens: Tokens, reference: _References) -> Iterator[int]:
    """For each order [n-grams of hypothesis, of reference, in both]; none of the hypothesis where it has none."""
    orders = len(reference.counts)
    found, wanted = totals(len(tokens), orders), totals(reference.lengths[0], orders)
    for hypothesis, there, both in zip(found, wanted, commons(tokens, reference.counts), strict=True):
        yield from (hypothesis if there else 0, there, both)
