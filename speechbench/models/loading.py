"""From a model's spec, run folder or checkpoint folder to the model."""

from __future__ import annotations

from pathlib import Path

import torch

from speechbench.errors import UsageError
from speechbench.models.base import SpeechModel
from speechbench.registry import MODELS
from speechbench.specs import Spec, parse


def checkpoint_of(folder: Path) -> Path:
    """The checkpoint that a folder stands for: of a run folder its trained model, otherwise itself.

    Raises:
        UsageError: If it is a run folder without a trained model.
    """
    if not (folder / "run.json").is_file():
        return folder
    final = folder / "checkpoints" / "final"
    if not final.is_dir():
        raise UsageError(f"run {folder} has no trained model: it is unfinished, or a base run, which trains nothing")
    return final


def load_model(spec: str | Spec) -> SpeechModel:
    """Loads a model, onto the GPU where there is one.

    Args:
        spec: A registered name with parameters (`tiny`, `granite-speech(checkpoint=owner/model)`), a run
            folder, or a checkpoint folder; a folder takes parameters too: `runs/a/b(train=projector)`.

    Raises:
        UsageError: If there is no such model or folder, or it takes no such parameter.
        SpeechbenchError: If the folder holds no complete model.
        MissingError: If a hub checkpoint cannot be had.
    """
    parsed = spec if isinstance(spec, Spec) else parse(spec)
    name = str(parsed)
    folder = Path(parsed.name).expanduser()
    if folder.is_dir():
        parsed = Spec("granite-speech", {**parsed.parameters, "checkpoint": str(checkpoint_of(folder))})
    model = parsed.build(MODELS.get(parsed.name), "model")
    if not isinstance(model, SpeechModel):
        raise UsageError(f"model {name}: {parsed.name} is no speechbench.models.SpeechModel")
    model.name = name
    return model.to("cuda") if torch.cuda.is_available() else model
