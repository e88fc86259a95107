"""Checkpoints that are whole or are not there, whatever moment a process ends at.

Writing a checkpoint takes many files, so its folder counts only once a marker stands in it: written last,
removed first.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from speechbench.errors import SpeechbenchError
from speechbench.run_files import replace

COMPLETE = "complete.json"  # the marker


def last_complete(folder: Path) -> Path | None:
    """The finished checkpoint with the highest step in a folder, or `None`."""
    finished = [marker.parent for marker in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return max(finished, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """After how many optimizer steps a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def mark_complete(checkpoint: Path, content: Any) -> None:
    """Writes the marker, now that all else stands in the folder."""
    replace(checkpoint / COMPLETE, json.dumps(content))


def keep_only(folder: Path, checkpoint: Path | None) -> None:
    """Deletes all checkpoints in a folder but one; what a killed process left half-written goes with them."""
    for other in folder.glob("checkpoint-*"):
        if other != checkpoint:
            (other / COMPLETE).unlink(missing_ok=True)  # first: nothing goes on from what is half deleted
            shutil.rmtree(other, ignore_errors=True)


def write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Writes a folder under another name and renames it: whole or not there. One of this name is replaced.

    Raises:
        SpeechbenchError: As `writing`.
    """
    fresh, old = (folder.with_name(f".{folder.name}.{kind}") for kind in ("tmp", "old"))
    for left_behind in (fresh, old):
        shutil.rmtree(left_behind, ignore_errors=True)
    with writing(folder, fresh):
        write(fresh)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def truncate_log(path: Path, step: int) -> list[dict[str, Any]]:
    """Drops the log's lines after a step, and a last line that was cut: they will be written again.

    Returns:
        The lines that stay.
    """
    kept: list[dict[str, Any]] = []
    if not path.exists():
        return kept
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue  # cut by a kill while it was written; its step comes again
        if line["step"] <= step:
            kept.append(line)
    with writing(path):
        replace(path, "".join(json.dumps(line) + "\n" for line in kept))
    return kept


@contextmanager
def writing(what: Path, folder: Path | None = None) -> Iterator[None]:
    """Turns the failure to write into one sentence.

    Args:
        what: What is written, for the message.
        folder: What is deleted when writing it failed, so that its room is free again.

    Raises:
        SpeechbenchError: If the disk is full, the place is not writable, or the like.
    """
    try:
        yield
    except Exception as error:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        reason = _reason(error)
        if reason is None:
            raise
        raise SpeechbenchError(
            f"{what} cannot be written: {reason}; make room there, or make it writable: "
            "the same command goes on from the last checkpoint"
        ) from error


def _reason(error: Exception) -> str | None:
    """What went wrong in writing, in words; `None` for what is no failure to write."""
    if isinstance(error, SpeechbenchError):
        return None  # already a sentence
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, SafetensorError) or "(os error " in str(error):  # tokenizers raises a bare Exception
        return str(error)
    if "inline_container" in str(error) or "PytorchStreamWriter" in str(error):  # torch.save, which hides the reason
        return "torch could not write all of it"
    return None
