"""The reward `metricx`: MetricX's regression checkpoints, loaded into transformers' own mT5."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from speechbench.errors import SpeechbenchError, UsageError
from speechbench.hub import fetch, resolve
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.encoding import files_of, name_of, sha256_of

if TYPE_CHECKING:
    from speechbench.rewards.metricx_model import Scorer

WORST = 25.0  # MQM errors, to which the score is cut
_LONGEST = {23: 1024, 24: 1536}  # tokens, as published
_FORMS = {
    (23, False): "candidate: {hypothesis} reference: {reference}",
    (23, True): "candidate: {hypothesis} source: {source}",
    (24, False): "source: {source} candidate: {hypothesis} reference: {reference}",
    (24, True): "source: {source} candidate: {hypothesis}",
}
_OF_MODEL = ("config.json", "*.safetensors", "*.bin", "*.index.json")
_OF_TOKENIZER = ("config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "spiece.model")


class MetricX(Reward):
    """MetricX: how many errors a translation has, from 0 to 25, as a regression model on mT5 judges it.

    As a reward 1 - error / 25; as a metric the error itself, lower is better. MetricX-24 looks at the source and,
    unless it is told not to, the reference; MetricX-23 at the reference, and its own reference-free checkpoints
    ("qe") at the source. The first reference counts. Each hypothesis is encoded together with what it is compared
    with, so that a group shares no work; what is the same is scored once.

    Args:
        model: Name of a MetricX checkpoint on the Hugging Face hub, or a folder.
        tokenizer: Where the tokenizer is: mT5's, by hub name or folder.
        version: 24 or 23, the year, which decides how the texts are put together; by default what the model's
            name says.
        reference_free: Whether the reference is left out; by default only for 23's "qe" checkpoints, which know none.
        batch_size: Hypotheses in one forward of the encoder.
        max_length: Longer inputs are cut to so many tokens, the end token counted; by default as published, 1536
            for 24 and 1024 for 23.

    Raises:
        UsageError: If a parameter is none of these, or the model's name does not tell the version.
    """

    family = "learned"
    range = (0.0, 1.0)
    scale = WORST
    lower_is_better = True
    several_references = "first"
    is_pure = True
    incidental = frozenset({"model", "tokenizer"})  # the signature has the checkpoint's hash
    citation: ClassVar[str] = (
        "Juraska et al. 2023, https://aclanthology.org/2023.wmt-1.63; MetricX-24: Juraska et al. 2024, "
        "https://aclanthology.org/2024.wmt-1.35"
    )

    def __init__(
        self,
        model: str = "google/metricx-24-hybrid-large-v2p6",
        tokenizer: str = "google/mt5-xl",
        version: int | None = None,
        reference_free: bool | None = None,
        batch_size: int = 16,
        max_length: int | None = None,
    ) -> None:
        for name, text in (("model", model), ("tokenizer", tokenizer)):
            if not isinstance(text, str) or not text:
                raise UsageError(f"metricx({name}={text}): name a folder, or a checkpoint on the hub")
        for name, number, least in (("batch_size", batch_size, 1), ("max_length", max_length, 2)):
            if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < least):
                raise UsageError(f"metricx({name}={number}): the {name} is a whole number, at least {least}")
        if reference_free is not None and not isinstance(reference_free, bool):
            raise UsageError(f"metricx(reference_free={reference_free}): write true or false")
        # The last that the path says: folders above may be named after other checkpoints.
        said = max(re.finditer(r"metricx-(23|24)(-qe)?", model.lower()), key=re.Match.start, default=None)
        if version is None and said is None:
            raise UsageError(
                f"metricx(model={model}): the name does not tell which MetricX it is: add version=24 or version=23"
            )
        self.version = int(said[1]) if version is None and said is not None else version
        if self.version not in _LONGEST:
            raise UsageError(f"metricx(version={version}): the version is 24 or 23, as the model's year")
        knows_no_reference = bool(said and said[1] == "23" and said[2])
        self.reference_free = knows_no_reference if reference_free is None else reference_free
        if knows_no_reference and not self.reference_free:
            raise UsageError(
                f"metricx(model={model}, reference_free=false): this checkpoint knows no reference: leave "
                "reference_free out, or name the checkpoint without qe"
            )
        self.model, self.tokenizer, self.batch_size = model, tokenizer, batch_size
        self.max_length = max_length or _LONGEST[self.version]
        self.display = f"MetricX ({Path(name_of(model)).name}{', no reference' if self.reference_free else ''})"
        self._form = _FORMS[self.version, self.reference_free]
        names = ("source", "reference")
        self.needs = frozenset(name for name in names if f"{{{name}}}" in self._form)
        self.several_references = "none" if self.reference_free else "first"
        # Who measures asks for scores and then for statistics: they are one piece of work.
        self._last: tuple[Batch, list[float | None]] | None = None

    def score(self, batch: Batch) -> list[float | None]:
        """1 - error / 25; `None` where the example lacks the source or the reference that is looked at.

        Raises:
            MissingError: If the checkpoint or the tokenizer is not on this machine and cannot be downloaded.
            UsageError: If there is no such folder.
            SpeechbenchError: If it is no MetricX checkpoint, or a broken one.
        """
        return [None if error is None else 1.0 - error / WORST for error in self._errors(batch)]

    def score_texts(self, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        """Errors, 0 to 25, of bare texts; what is not looked at may be any text. Raises as `score` does."""
        texts = [
            self._form.format(source=source, hypothesis=hypothesis, reference=reference)
            for source, hypothesis, reference in zip(sources, hypotheses, references, strict=True)
        ]
        return self._scorer.score(texts, self.batch_size) if texts else []

    def statistics(self, batch: Batch) -> npt.NDArray[np.float64]:
        """[error, 1] per segment, zeros where there is none: shape [segment, 2]. Raises as `score` does."""
        return np.array([(0.0, 0.0) if error is None else (error, 1.0) for error in self._errors(batch)]).reshape(-1, 2)

    def segments(self, scores: Sequence[float | None], statistics: npt.NDArray[np.float64]) -> list[float | None]:
        """The error of each segment, 0 to 25."""
        errors = statistics[:, 0].tolist()
        return [None if score is None else error for score, error in zip(scores, errors, strict=True)]

    def signature(self) -> Mapping[str, Any]:
        """Name, version, how texts are put together, hashes of checkpoint and tokenizer, libraries and precision.

        Raises:
            MissingError, UsageError: As `score`.
        """
        return {
            "name": "metricx",
            "version": 1,
            "checkpoint": Path(name_of(self.model)).name,
            "input": self._form,
            "max_length": self.max_length,
            **self._hashes,
            "precision": "float32",
            **{library: installed(library) for library in ("torch", "transformers", "tokenizers")},
        }

    @cached_property
    def _hashes(self) -> Mapping[str, str]:
        weights = files_of(self._folder, ("*.safetensors", "*.bin"))
        if not weights:
            raise SpeechbenchError(f"metricx: {self._folder} holds no weights: get the checkpoint again, whole")
        return {
            "sha256": sha256_of(files_of(self._folder, _OF_MODEL)),
            "tokenizer": sha256_of(files_of(self._tokenizer_folder, _OF_TOKENIZER)),
        }

    @cached_property
    def _folder(self) -> Path:
        return resolve(self.model)

    @cached_property
    def _tokenizer_folder(self) -> Path:
        folder = Path(self.tokenizer).expanduser()
        return folder if folder.is_dir() else fetch(self.tokenizer, _OF_TOKENIZER, has_tokenizer)

    @cached_property
    def _scorer(self) -> Scorer:
        from speechbench.rewards.metricx_model import load

        return load(self._folder, self._tokenizer_folder, self.max_length)

    def _errors(self, batch: Batch) -> list[float | None]:
        if self._last is not None and self._last[0] is batch:
            return self._last[1]
        rows = [
            row
            for row, example in enumerate(batch.examples)
            if (example.source is not None or "source" not in self.needs)
            and (example.references or "reference" not in self.needs)
        ]
        found = self.score_texts(
            [batch.examples[row].source or "" for row in rows],
            [batch.hypotheses[row] for row in rows],
            [next(iter(batch.examples[row].references), "") for row in rows],
        )
        errors: list[float | None] = [None] * len(batch.hypotheses)
        for row, error in zip(rows, found, strict=True):
            errors[row] = error
        self._last = batch, errors
        return errors


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds mT5's tokenizer, in either of its forms."""
    return any((folder / name).is_file() for name in ("tokenizer.json", "spiece.model"))
