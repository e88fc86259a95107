"""The reward `comet`: COMET's regression models by our own torch code, its other models by unbabel-comet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from speechbench.benchmarks.base import Benchmark
from speechbench.benchmarks.mini.slots import refuse_outside_mini
from speechbench.errors import UsageError
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.comet_files import encoder_hash, find_checkpoint, find_encoder
from speechbench.rewards.encoding import name_of, sha256_of

if TYPE_CHECKING:
    from speechbench.rewards.comet_checkpoint import Checkpoint
    from speechbench.rewards.comet_library import LibraryScorer
    from speechbench.rewards.comet_model import Scorer

TINY = "tiny"
TINY_FOLDER = Path(__file__).with_name("comet_tiny")
_PLACES = ("pretrained_model", "train_data", "validation_data")  # hyper-parameters that differ between machines


class Comet(Reward):
    """COMET: how good a translation is, given its source and its reference, or one of them.

    Regression checkpoints, with or without reference, are scored by our own code; those of other classes, as
    CometKiwi (unified) and XCOMET, by unbabel-comet, which has to be installed for them. What an example needs,
    `several_references`, `extra` and `is_pure` are those of the checkpoint's class from when it is first read:
    `load_reward` reads it.

    The source is the gold transcript; the first reference counts. Scores are raw: good translations are near
    1 with wmt22-comet-da, but there is no bound. COMET is validated for translation only: on question
    answering it is one more similarity to the reference.

    Args:
        model: "tiny", the embedded checkpoint for the mini corpora; or the name of a model on the Hugging Face
            hub; or a folder in Unbabel's layout (hparams.yaml and checkpoints/*.ckpt); or a .ckpt file.
        batch_size: Texts in one forward of the encoder.

    Raises:
        UsageError: If the batch size is no whole number above 0.
    """

    family = "learned"
    range = (float("-inf"), float("inf"))
    several_references = "first"
    needs = frozenset({"reference", "source"})
    is_pure = True
    incidental = frozenset({"model"})  # the signature has the checkpoint's hash
    citation: ClassVar[str] = (
        "Rei et al. 2020, COMET: A Neural Framework for MT Evaluation; Rei et al. 2022, COMET-22: "
        "Unbabel-IST 2022 Submission for the Metrics Shared Task; CometKiwi: Rei et al. 2022, "
        "https://aclanthology.org/2022.wmt-1.60; XCOMET: Guerreiro et al. 2023, https://arxiv.org/abs/2310.10482"
    )

    def __init__(self, model: str = "Unbabel/wmt22-comet-da", batch_size: int = 64) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise UsageError(f"comet(batch_size={batch_size}): the batch_size is a whole number, at least 1")
        if not isinstance(model, str) or not model:
            raise UsageError(f"comet(model={model}): name a folder, a .ckpt file, or a model on the hub")
        self.model = model
        self.batch_size = batch_size
        self.display = "comet[tiny]" if model == TINY else f"COMET ({self._name})"

    @property
    def _name(self) -> str:
        """The model without the folders that lead to it: they differ between machines."""
        path = Path(self.model)
        return Path(name_of(str(path.parent.parent if path.suffix == ".ckpt" else path))).name

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint, downloaded if it has to be; from then on the attributes are those of its class.

        Raises:
            MissingError: If it is not on this machine and cannot be downloaded.
            SpeechbenchError: If it is broken.
            UsageError: If the folder does not say which file it is.
        """
        from speechbench.rewards.comet_checkpoint import OWN, read_checkpoint

        file = find_checkpoint(str(TINY_FOLDER) if self.model == TINY else self.model)
        hparams_file = file.parent.parent / "hparams.yaml"
        found = read_checkpoint(file, hparams_file if hparams_file.is_file() else None)
        names = {"src": "source", "ref": "reference"}
        self.needs = frozenset(names[segment] for segment in found.segments if segment in names)
        self.several_references = "first" if "reference" in self.needs else "none"
        if found.kind not in OWN:
            self.extra = "comet"
            self.is_pure = False  # unbabel-comet pads by what else is in the batch: the last bits depend on it
        return found

    @cached_property
    def _encoder(self) -> Path:
        return find_encoder(str(self.checkpoint.hparams["pretrained_model"]), self.checkpoint.path.parent.parent)

    @cached_property
    def _scorer(self) -> Scorer | LibraryScorer:
        from speechbench.rewards import comet_library, comet_model
        from speechbench.rewards.comet_checkpoint import OWN

        load = comet_model.load if self.checkpoint.kind in OWN else comet_library.load
        return load(self.checkpoint, self._encoder)

    def score(self, batch: Batch) -> list[float | None]:
        """COMET scores; `None` where the example lacks the source or the reference that the checkpoint looks at.

        Raises:
            MissingError: If the checkpoint or its encoder is not on this machine and cannot be downloaded, or
                unbabel-comet is needed and not installed.
            SpeechbenchError: If the checkpoint is broken.
            UsageError: If there is no such class of COMET models.
        """
        scores: list[float | None] = [None] * len(batch.hypotheses)
        if not scores:
            return scores
        segments = self.checkpoint.segments
        rows = [
            row
            for row, example in enumerate(batch.examples)
            if (example.source is not None or "src" not in segments) and (example.references or "ref" not in segments)
        ]
        if rows:
            found = self.score_texts(
                [batch.examples[row].source or "" for row in rows],
                [batch.hypotheses[row] for row in rows],
                [next(iter(batch.examples[row].references), "") for row in rows],
            )
            for row, score in zip(rows, found, strict=True):
                scores[row] = score
        return scores

    def score_texts(self, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        """COMET scores of bare texts: one source, hypothesis and reference for each score. Raises as `score` does.

        What the checkpoint does not look at may be any text.
        """
        return self._scorer.score(sources, hypotheses, references, self.batch_size)

    def signature(self) -> Mapping[str, Any]:
        """Name, version, checkpoint with its class and hashes, libraries and precision.

        Raises:
            MissingError, SpeechbenchError, UsageError: As `score`.
        """
        return {
            "name": "comet",
            "version": 2,
            "checkpoint": self._name,
            "class": self.checkpoint.kind,
            **self._hashes,
            "precision": "float32",
            **{library: version(library) for library in ("torch", "transformers", "tokenizers")},
            **self._of_library,
        }

    @cached_property
    def _hashes(self) -> Mapping[str, str]:
        """What the scores depend on beside code: of large files read once."""
        settings = {name: value for name, value in self.checkpoint.hparams.items() if name not in _PLACES}
        text = json.dumps(settings, sort_keys=True, default=str)
        return {
            "sha256": sha256_of([self.checkpoint.path]),
            "hparams": hashlib.sha256(text.encode()).hexdigest(),
            "encoder": encoder_hash(self._encoder),
        }

    @cached_property
    def _of_library(self) -> Mapping[str, Any]:
        """What the scores of other people's code depend on besides."""
        if not self.extra:
            return {}
        from speechbench.rewards.comet_library import known_classes

        known_classes(self.checkpoint)  # before its version: whoever lacks it is told what to install
        return {"unbabel-comet": version("unbabel-comet"), "batch_size": self.batch_size}

    def check(self, benchmark: Benchmark) -> None:
        """Refuses the embedded checkpoint outside the mini corpora.

        Raises:
            UsageError: On any other benchmark.
        """
        if self.model == TINY:
            refuse_outside_mini("comet[tiny]", benchmark)
