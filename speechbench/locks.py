"""Who is at work in a folder: one process at a time, and the others can tell who.

The lock is the operating system's, so that it is free again whenever its holder is gone, however it went.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock, Timeout

_LOCK, _HOLDER = ".lock", ".holder.json"


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Holds a folder, which is made if need be, while the context lasts.

    Yields:
        Whether it is ours; if not, someone else holds it, and `holder` says who.

    Raises:
        OSError: If the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        content = {"process": os.getpid(), "host": socket.gethostname(), "since": since}
        (folder / _HOLDER).write_text(json.dumps(content))
        yield True
    finally:
        (folder / _HOLDER).unlink(missing_ok=True)
        lock.release()


def holder(folder: Path) -> str:
    """Who holds a folder, in words."""
    try:
        content = json.loads((folder / _HOLDER).read_text())
        return f"process {content['process']} on {content['host']}, since {content['since']}"
    except (OSError, ValueError, KeyError):
        return "another process"  # it has just begun, or just gone
