"""The files of an index: a folder of SQLite databases, of which the newest counts.

An edition is never replaced: who still reads the one before is not disturbed, and no journal that a killed process
left behind is taken for that of another file.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from speechbench.benchmarks.examination import unwritable
from speechbench.errors import SpeechbenchError

_EDITION = "rows-{:06}.sqlite3"
_UNFINISHED = "unfinished.sqlite3"
_KEPT = 2  # editions: the newest, and the one that running work may still read;
_KEPT_SECONDS = 6 * 3600.0  # and any that was written so lately, as by several processes at once
_UNUSED = 90 * 24 * 3600.0  # seconds after which what nobody has opened is removed
_WAIT = 60.0  # seconds for other processes' writing


class DamagedError(SpeechbenchError):
    """A file of the cache folder is no database, or not a whole one."""


class Database:
    """An SQLite file that is there. Threads share a connection; a forked process opens one of its own.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: dict[int, tuple[sqlite3.Connection, threading.Lock]] = {}  # by process

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_held": {}}

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of an answer.

        Raises:
            DamagedError: If the file is no whole database.
            SpeechbenchError: If it cannot be read.
        """
        with self._naming():
            connection, lock = self._connection()
            with lock:
                return connection.execute(statement, parameters).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of what is done within, or none of it, after waiting for other processes' transactions.

        Raises:
            DamagedError: If the file is no whole database.
            SpeechbenchError: If it cannot be written.
        """
        with self._naming():
            connection, lock = self._connection()
            with lock, connection:
                connection.execute("BEGIN IMMEDIATE")
                yield connection

    def close(self) -> None:
        """Lets go of the file; it is opened again when something is asked for."""
        held = self._held.pop(os.getpid(), None)
        if held is not None:
            held[0].close()

    def _connection(self) -> tuple[sqlite3.Connection, threading.Lock]:
        held = self._held.get(os.getpid())
        if held is None:
            place = f"{self.path.absolute().as_uri()}?mode=rw"  # else a missing file would be made
            connection = sqlite3.connect(place, uri=True, timeout=_WAIT, check_same_thread=False)
            held = self._held.setdefault(os.getpid(), (connection, threading.Lock()))
        return held

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if not self.path.is_file():
                raise SpeechbenchError(
                    f"{self.path} is gone, as when the data has changed and was read anew: run the same command again"
                ) from None
            # SQLite's other errors have classes of their own
            kind = DamagedError if type(error) is sqlite3.DatabaseError else SpeechbenchError
            raise kind(unwritable(self.path, error)) from None


def newest(folder: Path) -> Path | None:
    """The edition that counts, which is marked as used now; `None` where there is none."""
    editions = _editions(folder)
    if not editions:
        return None
    with suppress(OSError):
        os.utime(folder)
    return editions[-1]


def remove_unused(folders: Path) -> None:
    """Removes indexes that nobody has opened for three months: of data that is gone, or of another version."""
    for folder in folders.iterdir():
        with suppress(OSError):
            editions = _editions(folder)
            # who may not write here leaves a mark by reading alone
            used = [folder.stat().st_mtime, *(edition.stat().st_atime for edition in editions)]
            if editions and time.time() - max(used) > _UNUSED:
                shutil.rmtree(folder)


@contextmanager
def new_edition(folder: Path) -> Iterator[tuple[Path, sqlite3.Connection]]:
    """A file to be filled, which is there afterwards as the newest; nothing is if that fails.

    Args:
        folder: Made if need be. Whoever calls holds it (`locks.waited`).

    Yields:
        Where it will be, and a connection to write with.

    Raises:
        SpeechbenchError: If it cannot be written.
    """
    before = _editions(folder)
    number = 1 + max((int(path.stem.rpartition("-")[2]) for path in before), default=0)
    path, unfinished = folder / _EDITION.format(number), folder / _UNFINISHED
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished.unlink(missing_ok=True)  # of a process that was killed
        with closing(sqlite3.connect(unfinished)) as database:
            database.executescript("PRAGMA page_size=16384; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")
            with database:
                yield path, database
        descriptor = os.open(unfinished, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(unfinished, path)
    except (sqlite3.Error, OSError) as error:
        raise SpeechbenchError(unwritable(path, error)) from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    for old in before[: 1 - _KEPT]:
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                old.unlink()
                old.with_name(f"{old.name}-journal").unlink(missing_ok=True)


def _editions(folder: Path) -> list[Path]:
    found = [path for path in folder.glob(_EDITION.replace("{:06}", "*")) if path.stem.rpartition("-")[2].isdecimal()]
    return sorted(found, key=lambda path: int(path.stem.rpartition("-")[2]))
