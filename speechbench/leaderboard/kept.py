"""Boards that were computed before, kept by what they were computed from: nothing is lost where they go."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from speechbench import __version__
from speechbench.cache import cache_folder
from speechbench.leaderboard.table import Board
from speechbench.run_files import replace_bytes
from speechbench.run_now import NOW

_BOARDS = 64
"""That are kept; the ones not asked for longest go first."""

_READER, _WRITER = msgspec.msgpack.Decoder(list[Board]), msgspec.msgpack.Encoder()


def key_of(folders: Iterable[Path], asked: Sequence[object]) -> str:
    """What boards depend on: the files of run folders by size and times, this code, and what was asked for."""
    hashed = hashlib.sha256(repr((__version__, *asked)).encode())
    code = Path(__file__).parent
    for folder in (code.parent, code.parent / "rewards", code, code / "render", *folders):
        hashed.update(os.path.realpath(folder).encode("utf-8", "replace"))
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda its: its.name):
                if entry.is_file() and entry.name != NOW and not entry.name.endswith((".lock", ".tmp")):
                    status = entry.stat()
                    times = f"{status.st_mtime_ns}\0{status.st_ctime_ns}"  # the latter of rights and renames
                    told = f"{entry.name}\0{status.st_ino}\0{status.st_size}\0{times}\0"
                    hashed.update(told.encode("utf-8", "replace"))
    return hashed.hexdigest()


def kept(key: str) -> list[Board] | None:
    """The boards of a key; `None` where none are kept."""
    path = _folder() / key
    try:
        boards = _READER.decode(path.read_bytes())
    except (OSError, ValueError):
        return None
    with suppress(OSError):
        os.utime(path)
    return boards


def keep(key: str, boards: Sequence[Board]) -> None:
    """Keeps boards; where they cannot be written, they are not, nor where something could not be read: it may soon."""
    if any(board.broken for board in boards):
        return
    folder = _folder()
    with suppress(OSError, ValueError, OverflowError, TypeError):  # names that are no text, numbers without end
        replace_bytes(folder / key, _WRITER.encode(list(boards)))
        found = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in found[_BOARDS:]:
            path.unlink(missing_ok=True)


def _folder() -> Path:
    return cache_folder() / "boards"
