"""Checkpoints of what was trained alone: an adapter, other parts that learnt, and which base they belong to.

Such a folder holds no weight of the frozen language model. Its `config.json` says which model it is of, as that of
any checkpoint; `speechbench.json` says which base it begins with; a base may itself be such a folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from speechbench.errors import SpeechbenchError, UsageError
from speechbench.hub import resolve
from speechbench.models.checkpoint import ADAPTER_CONFIG, MEND, fingerprint_of, read_json
from speechbench.models.reading import PROMPTING
from speechbench.models.weightless import FILES, is_weightless

PARTS_FILE = "parts.safetensors"
MODES = ("keep", "train", "merge")


@dataclass(frozen=True)
class Base:
    """What an adapter was trained on.

    Attributes:
        checkpoint: Hub name, or absolute path of a folder.
        revision: Commit on the hub; `None` of a folder.
        fingerprint: Hash of the files that decide its outputs.
        adapter: What became of the adapter that it came with: "keep", "merge", or `None` for left out, where there was
            none or the trained one took its place.
    """

    checkpoint: str
    revision: str | None
    fingerprint: str
    adapter: str | None = None

    def __str__(self) -> str:
        """As errors name it."""
        of = "" if self.adapter is None else f", its adapter {'kept' if self.adapter == 'keep' else 'merged'}"
        return f"{self.checkpoint} ({self.fingerprint[:12]}{of})"


def base_of(folder: Path) -> Base | None:
    """The base that a folder's adapter belongs to; `None` for a whole checkpoint.

    Raises:
        SpeechbenchError: If what the folder says of it is broken.
    """
    path = folder / PROMPTING
    found = read_json(path).get("base") if path.is_file() else None
    if found is None:
        return None
    try:
        base = Base(**found)
    except TypeError as error:
        raise SpeechbenchError(f"{path}: its 'base' is broken: {error}; {MEND}") from error
    if not (isinstance(base.checkpoint, str) and base.adapter in ("keep", "merge", None)):
        raise SpeechbenchError(f"{path}: its 'base' is broken; {MEND}")
    return base


def described(base: Base | None) -> str:
    """What a folder with this base holds, for messages."""
    return "whole weights" if base is None else f"an adapter of {base}"


def mode_of(folder: Path, asked: str | None, is_new: bool, train: str) -> str | None:
    """What is done with the adapter that a checkpoint comes with; `None` where there is none.

    Args:
        folder: Of the checkpoint.
        asked: "keep", "train" or "merge"; `None` to go on with the training of one that was trained here, and to keep
            a shipped one.
        is_new: Whether a new adapter is added.
        train: Which parts learn, joined by "+".

    Raises:
        SpeechbenchError: If the adapter that a folder was saved with is gone.
        UsageError: If it is nothing of these, there is no adapter, or what is asked for contradicts itself.
    """
    if asked is not None and asked not in MODES:
        raise UsageError(f"adapter={asked!r}: choose one of {', '.join(MODES)}")
    base, learns = base_of(folder), "language_model" in train.split("+")
    if is_new and not learns:
        raise UsageError(f"LoRA is of the language model, which train={train} freezes: add +language_model, or leave "
                         "lora_rank out")  # fmt: skip
    if not (folder / ADAPTER_CONFIG).is_file():
        if base is not None:
            raise SpeechbenchError(f"{folder} lacks its adapter: it holds no {ADAPTER_CONFIG}; {MEND}")
        if asked is not None:
            raise UsageError(f"adapter={asked}: {folder} comes with no adapter; leave it out")
        return None
    mode = asked or ("keep" if base is None or not learns else "train")
    if mode == "train" and is_new:
        raise UsageError(
            f"{folder} comes with an adapter that learns, so a new one cannot: add adapter=merge or adapter=keep to "
            "lora_rank, or leave lora_rank out"
        )
    if mode == "train" and not learns:
        raise UsageError(f"adapter=train: train={train} freezes the language model; add +language_model")
    return mode


def record(checkpoint: str, folder: Path, mode: str | None, learning: Sequence[str]) -> tuple[Base, list[str]]:
    """What is written of a model with an adapter that learns: its base, and beside the adapter which parts.

    Args:
        checkpoint: As the user named it.
        folder: Where it is.
        mode: What was done with its own adapter.
        learning: The parts that learn.
    """
    parts = [part for part in learning if part != "language_model"]
    earlier = base_of(folder)
    if mode == "train" and earlier is not None:  # what learns takes the place of what the folder holds
        return earlier, sorted({*parts, *parts_in(folder)})
    is_folder = Path(checkpoint).expanduser().is_dir()
    name, commit = (str(folder.resolve()), None) if is_folder else (checkpoint, folder.name)
    base = Base(name, commit, fingerprint_of(folder), None if mode == "train" else mode)
    return base, sorted(parts)


def fingerprint(folder: Path, rendered_prompt: str) -> str:
    """Hash of everything that the outputs of a folder's model depend on, its base included."""
    own, base = fingerprint_of(folder, rendered_prompt), base_of(folder)
    if base is None:
        return own
    return hashlib.sha256(f"{own} {base.fingerprint} {base.adapter}".encode()).hexdigest()


def found(base: Base, folder: Path) -> Path:
    """The base's own folder, which must be what it was.

    Args:
        base: To be found.
        folder: Whose base it is.

    Raises:
        SpeechbenchError: If it is gone or was changed.
    """
    where = f"put it there, or write where it is into {folder / PROMPTING}"
    try:
        there = resolve(base.checkpoint, base.revision, FILES if is_weightless() else None)
    except UsageError as error:
        raise SpeechbenchError(
            f"{folder} holds an adapter of {base.checkpoint}, which is not there: {where}"
        ) from error
    if not is_weightless() and fingerprint_of(there) != base.fingerprint:
        raise SpeechbenchError(
            f"{folder} holds an adapter of {base.checkpoint} as it was, and the model there is another one now: {where}"
        )
    return there


def write_parts(folder: Path, parts: Mapping[str, nn.Module]) -> None:
    """Writes the weights of whole parts."""
    state = {
        f"{name}.{key}": tensor.cpu().contiguous()
        for name, part in parts.items()
        for key, tensor in part.state_dict().items()
    }
    save_file(state, folder / PARTS_FILE, metadata={"format": "pt"})


def parts_in(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The weights of each part that a folder holds.

    Raises:
        SpeechbenchError: If they cannot be read.
    """
    path = folder / PARTS_FILE
    try:
        saved = load_file(path)
    except Exception as error:  # safetensors' own has no base but this
        raise SpeechbenchError(f"{path} is missing, cut off or broken; {MEND}") from error
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in saved.items():
        part, _, rest = key.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    return parts


def read_parts(folder: Path, parts: Mapping[str, nn.Module]) -> list[str]:
    """Gives parts the weights that a folder holds, strictly; those of float32 are not rounded.

    Returns:
        Which parts.

    Raises:
        SpeechbenchError: If they cannot be read, or are of another model.
    """
    saved = parts_in(folder)
    for name, state in saved.items():
        try:
            if any(tensor.dtype == torch.float32 for tensor in state.values()):
                parts[name].float()
            parts[name].load_state_dict(state)
        except (KeyError, RuntimeError) as error:
            raise SpeechbenchError(f"{folder / PARTS_FILE}: its {name} is of another model; {MEND}") from error
    return list(saved)
