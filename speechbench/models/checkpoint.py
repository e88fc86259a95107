"""A checkpoint's folder, looked at before transformers reads it.

transformers takes a folder without a config for a model of its default size, and says of most broken files
something that names neither the file nor the fix.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from speechbench.errors import SpeechbenchError
from speechbench.hub import UNREAD
from speechbench.models.weightless import is_weightless

CONFIG = "config.json"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MEND = "copy, download or train it again"
_INDEX = "model.safetensors.index.json"
_SHOWN = 3
# Files of a checkpoint that decide its outputs. Decoding, the rest of the prompting, and features where the folder says
# nothing of them are our own.
_DECISIVE = (
    CONFIG, ADAPTER_CONFIG, "*.safetensors", "*.safetensors.index.json", "chat_template*",
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges*", "tekken.json",
    "preprocessor_config.json", "processor_config.json",
)  # fmt: skip


def check_checkpoint(folder: Path, model_types: Sequence[str]) -> None:
    """Refuses what is no whole checkpoint of an architecture, by its config and its weights' headers.

    Args:
        folder: Of the checkpoint.
        model_types: What its config may say that it is.

    Raises:
        SpeechbenchError: If the config or a file of weights is missing, broken or of something else.
    """
    check_config(folder, model_types)
    index = folder / _INDEX
    names = _indexed(index) if index.is_file() else []
    files = [folder / name for name in names] or _files(folder, ["*.safetensors"])
    if all(file.name == ADAPTER_WEIGHTS for file in files):
        raise SpeechbenchError(f"{folder} lacks its weights: it holds no *.safetensors file; {MEND}")
    for file in files:
        if not file.is_file():
            raise SpeechbenchError(f"{folder} lacks weights: {file.name}, named by {_INDEX}, is not there; {MEND}")
        try:
            with safe_open(file, "pt"):
                pass
        except SafetensorError as error:
            said = str(error).removeprefix("Error while deserializing header: ")
            raise SpeechbenchError(f"{file} is cut off or broken: {said}; {MEND}") from error


def _indexed(path: Path) -> list[str]:
    """Names of the files among which an index says that the weights are shared out."""
    places = read_json(path).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise SpeechbenchError(f"{path}: its 'weight_map' does not say which file holds each weight; {MEND}")
    return sorted(set(places.values()))


def _files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """A checkpoint's files of these names that are read, each once."""
    found = {file for pattern in patterns for file in folder.glob(pattern) if file.is_file()}
    return sorted(file for file in found if not any(fnmatch(file.name, unread) for unread in UNREAD))


def check_config(folder: Path, model_types: Sequence[str]) -> None:
    """Refuses a folder whose config is of something else.

    Raises:
        SpeechbenchError: If it is, or is missing or broken.
    """
    found = model_type_of(folder)
    if found not in model_types:
        raise SpeechbenchError(
            f"{folder / CONFIG} is of a {found or 'nameless'} model, and no {model_types[0]} model: name another folder"
        )


def model_type_of(folder: Path) -> str | None:
    """What a checkpoint's config says that it is.

    Raises:
        SpeechbenchError: If there is no config, or it is broken.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise SpeechbenchError(
            f"{folder} holds no model: it has no {CONFIG}; name a folder that a model was saved to, or a finished run"
        )
    found = read_json(path).get("model_type")
    return found if isinstance(found, str) else None


def check_weights(folder: Path, report: dict[str, Any]) -> None:
    """Refuses a model of which transformers had to make up weights.

    Args:
        folder: Of the checkpoint.
        report: transformers' loading info.

    Raises:
        SpeechbenchError: If weights are missing or of another shape; the message names the first.
    """
    mismatched = [key if isinstance(key, str) else key[0] for key in report["mismatched_keys"]]  # 5 adds the shapes
    lacking = [*report["missing_keys"], *mismatched]
    if lacking:
        others = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
        names = ", ".join(sorted(lacking)[:_SHOWN])
        raise SpeechbenchError(f"{folder} lacks weights that its {CONFIG} asks for: {names}{others}; {MEND}")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from one of a checkpoint's files, which unlike those of a run folder have no schema of ours.

    Raises:
        SpeechbenchError: If it is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SpeechbenchError(f"{path} is no JSON: {error}; {MEND}") from error
    if not isinstance(content, dict):
        raise SpeechbenchError(f"{path} holds no JSON object; {MEND}")
    return content


def fingerprint_of(folder: Path, rendered_prompt: str = "") -> str:
    """Hash of everything that a model's outputs depend on: config, weights, tokenizer, rendered prompt.

    Empty where models are made without their weights.
    """
    if is_weightless():
        return ""
    digest = hashlib.sha256(rendered_prompt.encode())
    for file in _files(folder, _DECISIVE):
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        for block in blocks(file):
            digest.update(block)
    return digest.hexdigest()


def blocks(file: Path) -> Iterator[bytes]:
    """A file's content in pieces: weights need not fit into memory once more to be hashed."""
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            yield block
