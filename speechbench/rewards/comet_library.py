"""COMET's other models, unified and XCOMET among them, scored by unbabel-comet itself."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.libraries import needed
from speechbench.rewards.comet_checkpoint import Checkpoint


class LibraryScorer:
    """A COMET model of unbabel-comet's own making, in float32 and evaluation mode.

    It is called as `predict` calls it, without the Lightning Trainer that `predict` builds each time.

    Args:
        model: unbabel-comet's, its weights in place.
        segments: What it looks at, as in `Checkpoint.segments`.
    """

    def __init__(self, model: Any, segments: Sequence[str]) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.float().eval().to(self.device)
        self.segments = tuple(segments)

    def score(
        self, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str], size: int
    ) -> list[float]:
        """COMET scores, one per hypothesis. What is the same in all that the model looks at is scored once.

        Args:
            sources: What was translated, one per hypothesis.
            hypotheses: What to score.
            references: What it should have been, one per hypothesis.
            size: Hypotheses in one forward.
        """
        columns = {"mt": hypotheses, "src": sources, "ref": references}
        asked = list(zip(*(columns[segment] for segment in self.segments), strict=True))
        # Of about one length: what is short is not padded to what is long.
        distinct = sorted(set(asked), key=lambda texts: (sum(map(len, texts)), texts))
        found: list[float] = []
        with torch.inference_mode():
            for start in range(0, len(distinct), size):
                rows = [dict(zip(self.segments, texts, strict=True)) for texts in distinct[start : start + size]]
                batch = self.model.transfer_batch_to_device(self.model.prepare_for_inference(rows), self.device, 0)
                found += self.model.predict_step(batch)["scores"].tolist()
        scores = dict(zip(distinct, found, strict=True))
        return [scores[texts] for texts in asked]


def known_classes(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """unbabel-comet's classes by the names that checkpoints call them.

    Raises:
        MissingError: If unbabel-comet is not installed, or not with what it needs.
    """
    what = (
        f"{checkpoint.path}, a COMET model of class {checkpoint.kind!r}, is scored by unbabel-comet, which cannot live "
        "beside transformers 5, and"
    )
    try:
        with _quiet():
            library = needed("comet.models", "comet", what)
    except ImportError as error:  # it is there, and does not fit what else is
        said = " ".join(str(error).split())
        raise MissingError(f"{what} cannot be imported ({said}): run `pip install 'speechbench[comet]'`") from error
    classes: Mapping[str, Any] = library.str2model
    return classes


def load(checkpoint: Checkpoint, encoder: Path) -> LibraryScorer:
    """Builds unbabel-comet's model and puts the weights in, all of them.

    Its own loader would take a checkpoint that lacks weights, and ask the hub for the encoder.

    Args:
        checkpoint: From `read_checkpoint`.
        encoder: Folder with the encoder's config.json and tokenizer; no weights are read from it.

    Raises:
        MissingError: If unbabel-comet is not installed.
        UsageError: If it knows no such class.
        SpeechbenchError: If the checkpoint does not fit the class.
    """
    classes = known_classes(checkpoint)
    if checkpoint.kind not in classes:
        raise UsageError(
            f"{checkpoint.path} is a COMET model of class {checkpoint.kind!r}, which unbabel-comet does not know: "
            f"name a checkpoint of class {', '.join(sorted(classes))}"
        )
    known = classes[checkpoint.kind]
    accepted = inspect.signature(known.__init__).parameters
    settings = {name: value for name, value in checkpoint.hparams.items() if name in accepted}
    settings |= {"pretrained_model": str(encoder), "load_pretrained_weights": False, "local_files_only": True}
    with _quiet():
        try:
            model = known(**settings)
        except Exception as error:  # whatever it raises for hyper-parameters that it cannot make a model of
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise SpeechbenchError(
                f"unbabel-comet cannot make a {checkpoint.kind} of {checkpoint.path} and the encoder in {encoder}: "
                f"{said}: get both again"
            ) from error
    # What `weights_for` lets be missing is nothing that is learned.
    model.load_state_dict(checkpoint.weights_for(model.state_dict()), strict=False)
    return LibraryScorer(model, checkpoint.segments)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what unbabel-comet, and what it imports, has to say while it is set up off the screen.

    Importing it sets up logging for the whole process: that is undone.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    for library in ("comet", "pytorch_lightning", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
