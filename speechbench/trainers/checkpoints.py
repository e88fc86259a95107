"""Checkpoints that are whole or are not there, whatever moment a process ends at.

Writing a checkpoint takes many files, so its folder counts only once a marker stands in it: written last,
removed first.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from speechbench.errors import writing
from speechbench.run_files import replace

COMPLETE = "complete.json"  # the marker
CHECKPOINT, BEST = "checkpoint", "best"  # what folders are called, before the step


def last_complete(folder: Path) -> Path | None:
    """The finished checkpoint with the highest step in a folder, or `None`."""
    return max(_finished(folder), key=step_of, default=None)


def _finished(folder: Path) -> list[Path]:
    found = [marker.parent for marker in folder.glob(f"{CHECKPOINT}-*/{COMPLETE}")]
    return [path for path in found if path.name.rpartition("-")[2].isdecimal()]  # and not someone's copy


def markers(folder: Path) -> list[dict[str, Any]]:
    """What the markers of the finished checkpoints in a folder hold."""
    return [json.loads((path / COMPLETE).read_text(encoding="utf-8")) for path in _finished(folder)]


def step_of(checkpoint: Path) -> int:
    """After how many optimizer steps a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def mark_complete(checkpoint: Path, content: Any) -> None:
    """Writes the marker, now that all else stands in the folder."""
    replace(checkpoint / COMPLETE, json.dumps(content))


def keep_only(folder: Path, *kept: Path | None, kind: str = CHECKPOINT) -> None:
    """Deletes all checkpoints in a folder but some; what a killed process left half-written goes with them.

    Args:
        folder: Where they are.
        kept: Which stay; `None` is none.
        kind: What their names begin with, before the step.
    """
    for other in folder.glob(f"{kind}-*"):
        if other not in kept:
            (other / COMPLETE).unlink(missing_ok=True)  # first: nothing goes on from what is half deleted
            shutil.rmtree(other, ignore_errors=True)


class Kept:
    """Which checkpoints of a training stay: the newest, and the one before it until a step from the newest went well.

    Where a step ruins the weights, the loss of the next one tells: until then the newest is not known to be good, and
    where that loss is not finite it counts no more, so that whoever goes on does so from the one before it.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._is_good = folder, False

    def begin(self) -> None:
        """Deletes what a killed process left half-written."""
        keep_only(self._folder, *_finished(self._folder))

    def written(self) -> None:
        """There is a new one."""
        self._is_good = False

    def newest_is_good(self) -> None:
        """Deletes all but the newest, if it was not known before that it is good."""
        if not self._is_good:
            self._is_good = True
            keep_only(self._folder, last_complete(self._folder))

    def diverged(self, step: int) -> tuple[Path | None, Path | None]:
        """The weights after `step` steps gave no finite value: a checkpoint that holds them counts no more.

        For any of several processes, since the one that sees it may be alone in that, while the others wait for its
        gradients: only the marker goes. The folder goes when the training begins again.

        Returns:
            The newest checkpoint that counts, from which a step went well, and the one that does not any more; `None`
            where there is none.
        """
        ruined = self._folder / f"{CHECKPOINT}-{step}"
        is_there = (ruined / COMPLETE).exists()
        (ruined / COMPLETE).unlink(missing_ok=True)
        return last_complete(self._folder), ruined if is_there else None


def write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Writes a folder under another name and renames it: whole or not there. One of this name is replaced.

    Raises:
        SpeechbenchError: If it cannot be written; what is half written is then removed.
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

    Raises:
        SpeechbenchError: If it cannot be written.
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
