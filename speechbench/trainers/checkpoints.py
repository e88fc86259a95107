"""Which checkpoint to go on from: the last one whose writing was finished."""

from __future__ import annotations

import json
import os
from pathlib import Path

COMPLETE = "complete.json"  # written into a checkpoint's folder when all else stands there


def last_complete(folder: Path) -> Path | None:
    """The finished checkpoint with the highest step in a folder, or `None`."""
    finished = [marker.parent for marker in folder.glob(f"checkpoint-*/{COMPLETE}") if _is_json(marker)]
    return max(finished, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except ValueError:
        return False
    return True


def truncate_log(path: Path, step: int) -> None:
    """Drops the log's lines after a step, and a last line that was cut: they will be written again."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:
            continue  # cut by a kill while it was written; its step comes again
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(kept))
    os.replace(temporary, path)
