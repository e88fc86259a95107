"""Reading COMET checkpoints from disk, without running any code that they may hold."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechbench.errors import SpeechbenchError, UsageError

# What unbabel-comet's constructor assumes where a checkpoint does not say.
DEFAULTS: Mapping[str, Any] = {
    "class_identifier": "regression_metric",
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
        hparams: Hyper-parameters under unbabel-comet's names, defaults filled in.
        weights: Name to tensor, in the precision they are stored in.
    """

    path: Path
    hparams: Mapping[str, Any]
    weights: Mapping[str, Tensor]


def read_checkpoint(path: Path, hparams_file: Path | None) -> Checkpoint:
    """Reads a .ckpt file.

    The file's own hyper-parameters count; hparams.yaml decides the class, and marks with
    `layer_transformation: sparsemax_patch` checkpoints that say sparsemax but were trained with softmax
    (https://github.com/Unbabel/COMET/issues/195).

    Args:
        path: The .ckpt file, a dictionary with "state_dict" and, without hparams.yaml, "hyper_parameters".
        hparams_file: The checkpoint's hparams.yaml, if it has one.

    Raises:
        SpeechbenchError: If the file is no such checkpoint.
        UsageError: If it is a COMET model of another class.
    """
    import yaml  # type: ignore[import-untyped, unused-ignore]

    beside = (yaml.safe_load(hparams_file.read_text(encoding="utf-8")) or {}) if hparams_file else {}
    # Before the weights, which may take minutes to read.
    _refuse_other_classes(beside.get("class_identifier", "regression_metric"), path)
    stand_ins: list[Any] = [_stand_in(module, name) for module, name in _LIGHTNING_CLASSES]
    try:
        with torch.serialization.safe_globals(stand_ins):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise SpeechbenchError(f"{path} cannot be read as a checkpoint of weights only: {error}") from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise SpeechbenchError(f"{path} is no COMET checkpoint: it has no state_dict")
    inside = content.get("hyper_parameters", {})
    if not inside and not beside:
        raise SpeechbenchError(f"{path} names no hyper-parameters: put its hparams.yaml into {path.parent.parent}")
    hparams = {**DEFAULTS, **beside, **inside}
    hparams["class_identifier"] = beside.get("class_identifier") or hparams["class_identifier"]
    _refuse_other_classes(hparams["class_identifier"], path)
    if beside.get("layer_transformation") == "sparsemax_patch":
        hparams["layer_transformation"] = "softmax"
    return Checkpoint(path, hparams, content["state_dict"])


def _stand_in(module: str, name: str) -> type:
    """A class of that name whose instances are plain dictionaries, which torch agrees to fill."""
    return type(name, (), {"__module__": module, "__new__": lambda _cls, *entries: OrderedDict(*entries)})


def _refuse_other_classes(found: str, path: Path) -> None:
    if found != "regression_metric":
        raise UsageError(
            f"{path} is a COMET model of class {found!r}: comet scores regression_metric checkpoints so far, "
            "unified and XCOMET models come through later work"
        )
