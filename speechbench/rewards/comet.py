"""The reward `comet`: COMET's regression models, scored by our own torch code."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from speechbench.benchmarks.base import Benchmark
from speechbench.benchmarks.mini.slots import refuse_outside_mini
from speechbench.errors import MissingError, UsageError
from speechbench.hub import fetch
from speechbench.rewards.base import Batch, Reward

if TYPE_CHECKING:
    from speechbench.rewards.comet_model import Scorer

TINY = "tiny"
TINY_FOLDER = Path(__file__).with_name("comet_tiny")
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "sentencepiece.model")


class Comet(Reward):
    """COMET with a regression checkpoint: how good a translation is, given its source and its reference.

    The source is the gold transcript; the first reference counts. Scores are raw: good translations are near
    1 with wmt22-comet-da, but there is no bound. COMET is validated for translation only: on question
    answering it is one more similarity to the reference.

    Args:
        model: "tiny", the embedded checkpoint for the mini corpora; or the name of a model on the Hugging Face
            hub; or a folder in Unbabel's layout (hparams.yaml and checkpoints/*.ckpt); or a .ckpt file.
        batch_size: Texts in one forward of the encoder.
    """

    family: ClassVar[str] = "learned"
    range = (float("-inf"), float("inf"))
    needs = frozenset({"reference", "source"})
    citation: ClassVar[str] = (
        "Rei et al. 2020, COMET: A Neural Framework for MT Evaluation; Rei et al. 2022, COMET-22: "
        "Unbabel-IST 2022 Submission for the Metrics Shared Task"
    )

    def __init__(self, model: str = "Unbabel/wmt22-comet-da", batch_size: int = 64) -> None:
        if batch_size < 1:
            raise UsageError(f"comet: batch_size is {batch_size}, it must be at least 1")
        self.model = model
        self.batch_size = batch_size
        self.display = "comet[tiny]" if model == TINY else f"COMET ({self._name})"

    @property
    def _name(self) -> str:
        """The model without the folders that lead to it: they differ between machines."""
        path = Path(self.model)
        return (path.absolute().parent.parent if path.suffix == ".ckpt" else path).name

    @cached_property
    def checkpoint(self) -> Path:
        """The .ckpt file, downloaded if it has to be.

        Raises:
            MissingError: If it is not on this machine and cannot be downloaded.
            UsageError: If the folder does not say which file it is.
        """
        return _find_checkpoint(self.model)

    @cached_property
    def _scorer(self) -> Scorer:
        from speechbench.rewards.comet_checkpoint import read_checkpoint
        from speechbench.rewards.comet_model import load

        hparams_file = self.checkpoint.parent.parent / "hparams.yaml"
        content = read_checkpoint(self.checkpoint, hparams_file if hparams_file.is_file() else None)
        return load(content, _find_encoder(str(content.hparams["pretrained_model"]), self.checkpoint.parent.parent))

    def score(self, batch: Batch) -> list[float | None]:
        """COMET scores; `None` where the example has no source.

        Raises:
            MissingError: If the checkpoint or its encoder is not on this machine and cannot be downloaded.
            SpeechbenchError: If the checkpoint is broken.
            UsageError: If it is not a regression model.
        """
        scores: list[float | None] = [None] * len(batch.hypotheses)
        rows = [row for row, example in enumerate(batch.examples) if example.source is not None]
        if rows:
            found = self.score_texts(
                [str(batch.examples[row].source) for row in rows],
                [batch.hypotheses[row] for row in rows],
                [batch.examples[row].references[0] for row in rows],
            )
            for row, score in zip(rows, found, strict=True):
                scores[row] = score
        return scores

    def score_texts(self, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        """COMET scores of bare texts: one source, hypothesis and reference for each score. Raises as `score` does."""
        return self._scorer.score(sources, hypotheses, references, self.batch_size)

    def signature(self) -> Mapping[str, Any]:
        """Name, version, checkpoint with its SHA-256, libraries and precision."""
        return {
            "name": "comet",
            "version": 1,
            "checkpoint": self._name,
            "sha256": self._sha256,
            "precision": "float32",
            "torch": version("torch"),
            "transformers": version("transformers"),
        }

    @cached_property
    def _sha256(self) -> str:
        digest = hashlib.sha256()
        with self.checkpoint.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    def check(self, benchmark: Benchmark) -> None:
        """Refuses the embedded checkpoint outside the mini corpora.

        Raises:
            UsageError: On any other benchmark.
        """
        if self.model == TINY:
            refuse_outside_mini("comet[tiny]", benchmark)


def _find_checkpoint(model: str) -> Path:
    path = TINY_FOLDER if model == TINY else Path(model)
    if path.suffix == ".ckpt":
        if not path.is_file():
            raise MissingError(
                f"comet: there is no checkpoint {path}: run `hf download Unbabel/wmt22-comet-da` for one"
            )
        return path
    if not path.is_dir():
        path = fetch(model, ("hparams.yaml", "checkpoints/*.ckpt"), lambda folder: bool(_checkpoints(folder)))
    found = _checkpoints(path)
    usual = [file for file in found if file.name == "model.ckpt"] or found
    if len(usual) != 1:
        raise UsageError(
            f"comet: {path}/checkpoints holds {len(found)} .ckpt files where one is wanted: "
            "name the file itself, comet(model=path/to/file.ckpt)"
        )
    return usual[0]


def _checkpoints(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("*.ckpt"))


def _find_encoder(name: str, root: Path) -> Path:
    """The folder with the encoder's configuration and tokenizer: beside the checkpoint, at a path, or of the hub."""
    for folder in (root / name, root / "encoder", Path(name)):
        if _is_encoder(folder):
            return folder
    return fetch(name, ("config.json", "tokenizer_config.json", "special_tokens_map.json", *_TOKENIZERS), _is_encoder)


def _is_encoder(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any((folder / file).is_file() for file in _TOKENIZERS)
