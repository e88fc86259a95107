"""The reward `bertscore`: BERTScore on any encoder, scored by our own torch code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from speechbench.benchmarks.base import Benchmark
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.hub import fetch
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.bertscore_defaults import KNOWN, LANGUAGES, baseline_of, default_model, layer_of
from speechbench.rewards.encoding import files_of, name_of, sha256_of
from speechbench.rewards.texts import column

if TYPE_CHECKING:
    from speechbench.rewards.bertscore_model import Matcher

# What a score depends on, and all that is fetched from the hub.
_CONFIGURATION = (
    "config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "bpe.codes",
    "*.model",
)
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")  # in transformers' order of preference


class _Encoder:
    """One layer of an encoder, read when it is needed.

    Args:
        model: Name on the hub, or folder.
        layer: Whose output is compared.
    """

    def __init__(self, model: str, layer: int) -> None:
        self.model = model
        self.layer = layer

    @property
    def name(self) -> str:
        """The encoder without the folders that lead to it: they differ between machines."""
        return name_of(self.model)

    @cached_property
    def folder(self) -> Path:
        """Where it lies on this machine, downloaded if it has to be."""
        folder = Path(self.model).expanduser()
        if folder.is_dir():
            return folder
        return fetch(self.model, (*_CONFIGURATION, *_WEIGHTS), lambda found: bool(files_of(found, _WEIGHTS)))

    @cached_property
    def sha256(self) -> str:
        """Of all files that its vectors depend on."""
        weights = files_of(self.folder, _WEIGHTS)
        if not weights:
            raise SpeechbenchError(
                f"bertscore: {self.folder} holds no weights ({' or '.join(_WEIGHTS)}): name a folder with an encoder "
                "as transformers saves it"
            )
        read = [file for file in weights if file.suffix == weights[0].suffix]  # another kind may lie beside it
        return sha256_of([*files_of(self.folder, _CONFIGURATION), *read])

    @cached_property
    def matcher(self) -> Matcher:
        """Loaded."""
        from speechbench.rewards.bertscore_model import load

        return load(self.folder, self.layer)


@dataclass(frozen=True)
class _Choice:
    """What one target language is scored by: an encoder, and the baseline, 0 for none."""

    encoder: _Encoder
    baseline: float


class BertScore(Reward):
    """BERTScore: the F that comes of matching each word of one text to the most alike in the other, in context.

    Values do not compare across encoders, so not across languages either, and cover a narrow range: unrelated
    sentences score about 0.83 in English, 0.61 in German. Rescaled, they score about 0 (and worse ones less).
    An empty hypothesis or reference scores 0 before rescaling, as in bert-score. There are no idf weights: they
    would make a score depend on which other examples there are.

    Args:
        model: Name on the hub or folder of an encoder; by default bert-score's of the target language: roberta-large
            for English, others for Chinese and Turkish, multilingual BERT for those of its languages that are left.
        layer: Whose output is compared, 0 for the embeddings; by default bert-score's for this encoder.
        rescale: Whether the score is rescaled to (F - b) / (1 - b) with a baseline b.
        baseline: That b; by default bert-score's for the encoder, layer and target language.
        batch_size: Texts in one forward of the encoder. A text is cut to the tokens that the encoder takes, or to
            2,048 where it has no end.

    Raises:
        UsageError: If a value is out of range, or a layer or a baseline has no default.
    """

    family = "embedding"
    maximum = 1.0
    is_pure = True
    incidental = frozenset({"model"})  # not batch_size: padding moves the last bits
    citation: ClassVar[str] = (
        "Zhang et al. 2020, BERTScore: Evaluating Text Generation with BERT, https://arxiv.org/abs/1904.09675; "
        "defaults of bert-score 0.3.13"
    )

    def __init__(
        self,
        model: str | None = None,
        layer: int | None = None,
        rescale: bool = False,
        baseline: float | None = None,
        batch_size: int = 64,
    ) -> None:
        self.model = None if model is None else str(model)
        self.layer = layer
        self.rescale = rescale
        self.baseline = baseline
        self.batch_size = batch_size
        self._check_values()
        self._language: str | None = None
        self._choices: dict[str, _Choice] = {}  # by language
        self._encoders: dict[str, _Encoder] = {}  # by name or folder
        self.languages = LANGUAGES if model is None else frozenset()
        if rescale:
            published = [b for entry in KNOWN.values() for b in entry.baselines.values()]
            highest = max(published) if baseline is None else baseline
            self.range = (-highest / (1 - highest), 1.0)
        self.display = column(
            "BERTScore",
            None if self.model is None else self._encoder(self.model).name,
            None if layer is None else f"layer {layer}",
            ("rescaled" if baseline is None else f"baseline {baseline:g}") if rescale else None,
        )

    def _check_values(self) -> None:
        """Refuses what does not depend on the target language."""
        for name, value, least in (("layer", self.layer, 0), ("batch_size", self.batch_size, 1)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise UsageError(f"bertscore({name}={value}): write a whole number, {least} or more")
        if not isinstance(self.rescale, bool):
            raise UsageError(f"bertscore(rescale={self.rescale}): write true or false")
        if self.baseline is not None:
            number = isinstance(self.baseline, (int, float)) and not isinstance(self.baseline, bool)
            if not number or not 0 < self.baseline < 1:
                raise UsageError(f"bertscore(baseline={self.baseline}): the baseline is a number between 0 and 1")
            if not self.rescale:
                raise UsageError(
                    f"bertscore(baseline={self.baseline}): a baseline is what to rescale by: add rescale=true, "
                    "or leave it out"
                )

    def score(self, batch: Batch) -> list[float | None]:
        """F, rescaled if asked for, of the reference that gives the highest; `None` where there is none.

        Raises:
            MissingError: If the encoder is not on this machine and cannot be downloaded.
            SpeechbenchError: If its folder holds something else.
            UsageError: If a target language has no default encoder, or no baseline to rescale by.
        """
        rows: dict[_Choice, list[int]] = {}
        for row, example in enumerate(batch.examples):
            if example.references:
                rows.setdefault(self._choice(example.target_language), []).append(row)
        scores: list[float | None] = [None] * len(batch.hypotheses)
        for choice, chosen in rows.items():
            pairs = [(row, reference) for row in chosen for reference in batch.examples[row].references]
            found = choice.encoder.matcher.f_scores(
                [batch.hypotheses[row] for row, _ in pairs], [reference for _, reference in pairs], self.batch_size
            )
            best: dict[int, float] = {}
            for (row, _), score in zip(pairs, found, strict=True):
                best[row] = max(score, best.get(row, score))
            for row, score in best.items():
                scores[row] = (score - choice.baseline) / (1 - choice.baseline)
        return scores

    def check(self, benchmark: Benchmark) -> None:
        """From here on the signature names the encoder of this benchmark's target language.

        Raises:
            UsageError: If that has no default encoder, or no baseline to rescale by.
        """
        self._choice(benchmark.target_language)
        self._language = benchmark.target_language

    def signature(self) -> Mapping[str, Any]:
        """Name, version, parameters, encoder with the SHA-256 of its files, libraries and precision.

        Without a named encoder or a benchmark, the encoder is the default of each example's target language.

        Raises:
            MissingError: If the encoder is not on this machine and cannot be downloaded.
            SpeechbenchError: If its folder holds something else.
        """
        encoder, baseline = None, self.baseline
        if self._language is not None:
            choice = self._choice(self._language)
            encoder, baseline = choice.encoder, choice.baseline or None
        elif self.model is not None:
            encoder = self._encoder(self.model)
        return {
            "name": "bertscore",
            "version": 1,
            "model": "by target language" if encoder is None else encoder.name,
            "sha256": "" if encoder is None else encoder.sha256,
            "layer": self.layer if encoder is None else encoder.layer,
            "rescale": self.rescale,
            "baseline": baseline,
            "precision": "float32",
            **{library: version(library) for library in ("torch", "transformers", "tokenizers")},
        }

    def _choice(self, language: str) -> _Choice:
        if language not in self._choices:
            encoder = self._encoder(self.model or KNOWN[default_model(language)].hub)
            baseline = self.baseline or 0.0
            if self.rescale and not baseline:
                published = baseline_of(encoder.model, encoder.layer, language)
                if published is None:
                    raise UsageError(
                        f"bertscore(rescale=true): no baseline is published for {encoder.name} at layer "
                        f"{encoder.layer} with the target language {language!r}: give one, as in "
                        "bertscore(rescale=true, baseline=0.83), or leave rescale out"
                    )
                baseline = published
            self._choices[language] = _Choice(encoder, baseline)
        return self._choices[language]

    def _encoder(self, model: str) -> _Encoder:
        if model not in self._encoders:
            layer = self.layer if self.layer is not None else layer_of(model)
            if layer is None:
                raise UsageError(
                    f"bertscore(model={model}): no layer is known for this encoder: say which to compare, as in "
                    f"bertscore(model={model}, layer=9); there are defaults for {', '.join(KNOWN)}"
                )
            self._encoders[model] = _Encoder(model, layer)
        return self._encoders[model]
