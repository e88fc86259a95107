"""Reading COMET checkpoints from disk, without running any code that they may hold."""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechbench.errors import SpeechbenchError

REGRESSION = "regression_metric"
REFERENCELESS = "referenceless_regression_metric"

# What unbabel-comet's constructor assumes where a checkpoint does not say.
DEFAULTS: Mapping[str, Any] = {
    "class_identifier": REGRESSION,
    "encoder_model": "XLM-RoBERTa",
    "pretrained_model": "xlm-roberta-large",
    "pool": "avg",
    "layer": "mix",
    "layer_transformation": "softmax",
    "layer_norm": True,
    "hidden_sizes": (3072, 1024),
    "activations": "Tanh",
    "final_activation": None,
}
# By class, for those that our own code scores; for the others unbabel-comet's constructors know.
_DEFAULTS_OF: Mapping[str, Mapping[str, Any]] = {
    REGRESSION: DEFAULTS,
    REFERENCELESS: {**DEFAULTS, "hidden_sizes": (2048, 1024)},
}
OWN = frozenset(_DEFAULTS_OF)

# Where a checkpoint of a class looks; of a unified model its hyper-parameters say.
_SEGMENTS: Mapping[str, tuple[str, ...]] = {REFERENCELESS: ("mt", "src")}
_ALL_SEGMENTS = ("mt", "src", "ref")

# In checkpoints but of no use at inference: masks of layer dropout, the encoder's own pooler, the weights of the
# losses, and the position numbers that older transformers stored.
_UNUSED = (
    "layerwise_attention.dropout_",
    "encoder.model.pooler.",
    "encoder.model.embeddings.position_ids",
    "sentloss.",
    "wordloss.",
)

# Classes that Lightning's checkpoints name beside the weights. Each is read as an empty stand-in.
_LIGHTNING_CLASSES = (
    ("pytorch_lightning.utilities.parsing", "AttributeDict"),
    ("lightning.pytorch.utilities.parsing", "AttributeDict"),
    ("lightning_fabric.utilities.data", "AttributeDict"),
    ("lightning.fabric.utilities.data", "AttributeDict"),
    ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"),
    ("lightning.pytorch.callbacks.model_checkpoint", "ModelCheckpoint"),
    ("pytorch_lightning.callbacks.early_stopping", "EarlyStopping"),
    ("lightning.pytorch.callbacks.early_stopping", "EarlyStopping"),
)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read from disk.

    Attributes:
        path: The .ckpt file.
        hparams: Hyper-parameters under unbabel-comet's names; of the classes in `OWN` with defaults filled in.
        weights: Name to tensor, in the precision they are stored in; read from the file when they are used.
    """

    path: Path
    hparams: Mapping[str, Any]
    weights: Mapping[str, Tensor]

    @property
    def kind(self) -> str:
        """unbabel-comet's name of the model's class."""
        return str(self.hparams["class_identifier"])

    @property
    def segments(self) -> tuple[str, ...]:
        """What the model looks at: "mt" (the hypothesis), and "src" (the source) or "ref" (the reference) or both."""
        if self.kind == "unified_metric":
            return tuple(self.hparams.get("input_segments") or _ALL_SEGMENTS)
        return _SEGMENTS.get(self.kind, _ALL_SEGMENTS)

    def weights_for(self, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a model, all of them.

        Args:
            expected: The model's `state_dict`.

        Raises:
            SpeechbenchError: If a weight is missing, unknown or of another shape.
        """
        found = {
            name: weight for name, weight in self.weights.items() if name in expected or not name.startswith(_UNUSED)
        }
        misfits = [f"{name} is missing" for name in expected if name not in found and not name.startswith(_UNUSED)]
        misfits += [f"{name} is not part of the model" for name in found if name not in expected]
        misfits += [
            f"{name} has shape {tuple(weight.shape)} instead of {tuple(expected[name].shape)}"
            for name, weight in found.items()
            if name in expected and weight.shape != expected[name].shape
        ]
        if misfits:
            more = f" and {len(misfits) - 8} more" if len(misfits) > 8 else ""
            raise SpeechbenchError(
                f"{self.path} does not fit its hyper-parameters: {'; '.join(misfits[:8])}{more}: get the checkpoint "
                "again, whole"
            )
        return found


def read_checkpoint(path: Path, hparams_file: Path | None) -> Checkpoint:
    """Reads a .ckpt file.

    The file's own hyper-parameters count; hparams.yaml decides the class, and marks with
    `layer_transformation: sparsemax_patch` checkpoints that say sparsemax but were trained with softmax
    (https://github.com/Unbabel/COMET/issues/195).

    Args:
        path: The .ckpt file, a dictionary with "state_dict" and, without hparams.yaml, "hyper_parameters".
        hparams_file: The checkpoint's hparams.yaml, if it has one.

    Raises:
        SpeechbenchError: If a file is no such thing.
    """
    beside = _read_hparams(hparams_file) if hparams_file else {}
    stand_ins: list[Any] = [_stand_in(module, name) for module, name in _LIGHTNING_CLASSES]
    try:
        with torch.serialization.safe_globals(stand_ins):
            # Mapped where the format allows it: what a scorer needs to know of itself is not its gigabytes.
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # whatever the file at fault makes the unpickler stumble over
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise SpeechbenchError(
            f"{path} cannot be read as a checkpoint of weights only: {said}: get it again, or name another"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), Mapping):
        raise SpeechbenchError(f"{path} is no COMET checkpoint: it has no state_dict; name another")
    inside = content.get("hyper_parameters") or {}
    if not isinstance(inside, Mapping):
        raise SpeechbenchError(f"{path} is no COMET checkpoint: its hyper_parameters have no names; name another")
    if not inside and not beside:
        raise SpeechbenchError(f"{path} names no hyper-parameters: put its hparams.yaml into {path.parent.parent}")
    kind = beside.get("class_identifier") or inside.get("class_identifier") or REGRESSION
    if not isinstance(kind, str):
        raise SpeechbenchError(f"{path}: its class_identifier {kind!r} is no name; get its hparams.yaml again")
    hparams = {**_DEFAULTS_OF.get(kind, {}), **beside, **inside, "class_identifier": kind}
    if beside.get("layer_transformation") == "sparsemax_patch":
        hparams["layer_transformation"] = "softmax"
    return Checkpoint(path, hparams, content["state_dict"])


def _read_hparams(file: Path) -> dict[str, Any]:
    import yaml  # type: ignore[import-untyped, unused-ignore]

    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise SpeechbenchError(f"{file} is no YAML: {said}: get it again from where the checkpoint is") from error
    if not isinstance(found, dict):
        raise SpeechbenchError(f"{file} holds no hyper-parameters, name: value: get it again")
    return found


def _stand_in(module: str, name: str) -> type:
    """A class of that name whose instances are plain dictionaries, which torch agrees to fill."""
    return type(name, (), {"__module__": module, "__new__": lambda _cls, *entries: OrderedDict(*entries)})
