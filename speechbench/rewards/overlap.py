"""Rewards that count what the hypothesis shares with the references: BLEU and chrF, by sacrebleu."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from speechbench.benchmarks.base import Benchmark
from speechbench.errors import MissingError, UsageError
from speechbench.rewards.base import Batch, Reward

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

_TOKENIZERS = {"zh": "zh", "zho": "zh", "ja": "ja-mecab", "jpn": "ja-mecab"}  # language to sacrebleu's tokenizer
_DEFAULT_TOKENIZER = "13a"


class _Overlap(Reward):
    """What BLEU and chrF share: sacrebleu's counts, kept per segment.

    sacrebleu has no public way to the counts of chrF, nor to use one reference for many hypotheses, so this
    calls the steps that its own `sentence_score` is made of; the tests hold the two equal.
    """

    family: ClassVar[str] = "overlap"

    def score(self, batch: Batch) -> list[float | None]:
        """sacrebleu's sentence score over 100; `None` for an example without a reference."""
        metrics = [self._metric(example.target_language) for example in batch.examples]
        return [
            None if counts is None else float(metric._compute_score_from_stats(counts).score) / 100.0
            for metric, counts in zip(metrics, self._counts(batch), strict=True)
        ]

    def statistics(self, batch: Batch) -> npt.NDArray[np.float64]:
        """Counts whose sum over segments gives the corpus score; all zero where there is no reference.

        Returns:
            Shape [segment, statistic], in the order that `aggregate` says.
        """
        width = len(self._columns())
        counts = [[0] * width if counts is None else counts for counts in self._counts(batch)]
        return np.array(counts, dtype=np.float64).reshape(-1, width)[:, self._columns()]

    def check(self, benchmark: Benchmark) -> None:
        """Makes sure that the tokenizer of the benchmark's target language is there.

        Raises:
            MissingError: If it needs a package that is not installed.
        """
        self._metric(benchmark.target_language)

    def _counts(self, batch: Batch) -> list[list[int] | None]:
        """sacrebleu's sufficient statistics; a reference is tokenised once however many hypotheses it has."""
        references: dict[int, Mapping[str, Any] | None] = {}
        counts: list[list[int] | None] = []
        for hypothesis, example in zip(batch.hypotheses, batch.examples, strict=True):
            metric = self._metric(example.target_language)
            if id(example) not in references:
                lines = [metric._preprocess_segment(reference) for reference in example.references]
                references[id(example)] = metric._extract_reference_info(lines) if lines else None
            reference = references[id(example)]
            hypothesis = metric._preprocess_segment(hypothesis)
            counts.append(
                None if reference is None else metric._compute_segment_statistics(hypothesis, dict(reference))
            )
        return counts

    @abstractmethod
    def _metric(self, language: str) -> Metric:
        """sacrebleu's sentence-level metric for a target language, the same object each time."""

    @abstractmethod
    def _columns(self) -> list[int]:
        """Where in sacrebleu's statistics each of ours stands."""


class Bleu(_Overlap):
    """BLEU. As a reward the sentence's, with effective order; as a metric the corpus's, without.

    Effective order and exponential smoothing matter for single sentences: without them the exact match of a
    sentence of fewer than four words scores 0 (Papineni et al. 2002; sacrebleu: Post 2018).

    Args:
        tokenize: One of sacrebleu's tokenizers; by default 13a, for Chinese zh and for Japanese ja-mecab.

    Raises:
        UsageError: If sacrebleu has no such tokenizer.
    """

    aggregate = "bleu"
    citation: ClassVar[str] = "Papineni et al. 2002, https://aclanthology.org/P02-1040; sacrebleu: Post 2018"

    def __init__(self, tokenize: str | None = None) -> None:
        self.tokenize = tokenize
        self.display = f"BLEU[{tokenize}]" if tokenize else "BLEU"
        self._metrics: dict[str, Metric] = {}
        self._language = ""
        if tokenize is not None:
            from sacrebleu.metrics.bleu import BLEU

            if tokenize not in BLEU.TOKENIZERS:
                raise UsageError(
                    f"bleu(tokenize={tokenize}): sacrebleu has no such tokenizer; "
                    f"there are: {', '.join(sorted(BLEU.TOKENIZERS))}"
                )

    def check(self, benchmark: Benchmark) -> None:
        """As for any overlap reward; from then on the signature names the tokenizer of this benchmark's language."""
        super().check(benchmark)
        self._language = benchmark.target_language

    def signature(self) -> Mapping[str, Any]:
        """sacrebleu's own signatures: "metric" of the corpus score, "reward" of the sentence score."""
        import sacrebleu
        from sacrebleu.metrics.bleu import BLEU

        tokenizer = self._tokenizer(self._language)
        return {
            "name": "bleu",
            "sacrebleu": sacrebleu.__version__,
            "metric": _signature(BLEU(tokenize=tokenizer)),
            "reward": _signature(BLEU(tokenize=tokenizer, effective_order=True)),
        }

    def _tokenizer(self, language: str) -> str:
        return self.tokenize or _TOKENIZERS.get(_primary(language), _DEFAULT_TOKENIZER)

    def _metric(self, language: str) -> Metric:
        tokenizer = self._tokenizer(language)
        if tokenizer not in self._metrics:
            from sacrebleu.metrics.bleu import BLEU

            try:
                self._metrics[tokenizer] = BLEU(tokenize=tokenizer, effective_order=True)
            except (ImportError, RuntimeError, OSError) as error:
                raise MissingError(_how_to_mend(tokenizer, language, error)) from error
        return self._metrics[tokenizer]

    def _columns(self) -> list[int]:
        return [*range(2, 10), 0, 1]  # sacrebleu's own order: both lengths first


class Chrf(_Overlap):
    """chrF: F-score of character n-grams, beta 2; with several references the one that fits best.

    Beta 2 counts recall above precision, so a hypothesis that repeats itself loses little by it.

    Args:
        word_order: Longest word n-gram counted too: 0 for chrF, 2 for chrF++.

    Raises:
        UsageError: If the word order is not 0, 1 or 2.
    """

    aggregate = "chrf"
    citation: ClassVar[str] = "Popović 2015, https://aclanthology.org/W15-3049; chrF++: Popović 2017"

    def __init__(self, word_order: int = 0) -> None:
        if word_order not in (0, 1, 2):
            raise UsageError(f"chrf(word_order={word_order}): the word order is 0 (chrF), 1 or 2 (chrF++)")
        self.word_order = int(word_order)
        self.display = "chrF" + "+" * self.word_order
        self._chrf: Metric | None = None

    def signature(self) -> Mapping[str, Any]:
        """sacrebleu's own signature, which is the same for the reward and for the metric."""
        import sacrebleu

        return {"name": "chrf", "sacrebleu": sacrebleu.__version__, "metric": _signature(self._metric(""))}

    def _metric(self, language: str) -> Metric:
        if self._chrf is None:
            from sacrebleu.metrics.chrf import CHRF

            self._chrf = CHRF(word_order=self.word_order)
        return self._chrf

    def _columns(self) -> list[int]:
        return list(range(3 * (6 + self.word_order)))


def _signature(metric: Metric) -> str:
    """sacrebleu's signature string without the number of references, which is the benchmark's, not the scorer's."""
    metric.num_refs = -1
    signature = metric.get_signature()
    signature.update("nrefs", None)
    return signature.format()


def _primary(language: str) -> str:
    """The language of a code with region: zh of zh-CN."""
    return language.replace("_", "-").split("-")[0].lower()


def _how_to_mend(tokenizer: str, language: str, error: Exception) -> str:
    scorer = f"BLEU with the tokenizer {tokenizer}" + (f" (target language {language})" if language else "")
    other = "or choose another tokenizer, as in bleu(tokenize=char)"
    package = {"ja-mecab": "sacrebleu[ja]", "ko-mecab": "sacrebleu[ko]"}.get(tokenizer)
    if package is None and isinstance(error, ImportError):
        package = "sentencepiece"
    if package is None:
        return f"{scorer} cannot be set up ({error}): mend that, {other}"
    return f"{scorer} needs a package that is not installed: run `pip install '{package}'`, {other}"
