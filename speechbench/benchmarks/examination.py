"""Recordings are read whole once, to know their hash, their length and what is broken; the next time it is known.

What was found is kept in the cache folder by the file's place, and holds as long as its size and time of change do.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import astuple
from pathlib import Path

from speechbench.benchmarks.audio import Audio, Examined
from speechbench.benchmarks.base import Progress
from speechbench.cache import cache_folder
from speechbench.errors import SpeechbenchError

_FILE = "recordings.sqlite3"
_VERSION = 2  # goes up when `Audio.examine` finds more, or otherwise, in the same bytes
_THREADS = 8  # reading and hashing both release the interpreter's lock
_CHUNK = 500  # recordings between two writes; older SQLite takes 999 keys in a query at most
_WAIT = 60.0  # seconds for other processes' writing
SETTLES = 2_000_000_000
"""Nanoseconds after which a file that changes has another time of change, on any filesystem."""
_COLUMNS = "sha256, seconds, rate, channels, defect"  # in the order of `Examined`
_TABLE = (
    "CREATE TABLE IF NOT EXISTS found (place TEXT PRIMARY KEY, size INTEGER, changed INTEGER, by TEXT, "
    "sha256 TEXT, seconds REAL, rate INTEGER, channels INTEGER, defect TEXT)"
)


Stamp = tuple[int, int]
"""A file's size in bytes and time of change in nanoseconds."""
ABSENT: Stamp = (0, 0)
"""Of what is not there."""


def settled(stamp: Stamp) -> bool:
    """Whether a file's time of change lies so far back that a later change shows in it."""
    return abs(time.time_ns() - stamp[1]) > SETTLES


def examine(audios: Sequence[Audio], progress: Progress | None = None, again: bool = False) -> list[Examined]:
    """What is known of recordings, each read only if it is not known yet.

    Args:
        audios: Any; one that stands several times is read once.
        progress: Called as `progress("reading recordings", done, total)` if there is something to read.
        again: Read all, whatever is known.

    Returns:
        For each recording what `Audio.examine` found, in order.

    Raises:
        SpeechbenchError: If what was found cannot be kept: the cache folder cannot be written.
    """
    found: dict[Audio, Examined] = {}
    distinct = list(dict.fromkeys(audios))
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(distinct), _CHUNK):
            some = distinct[start : start + _CHUNK]
            stamps = [stamp_of(audio) for audio in some]
            known = {} if again else _known(some, stamps)
            unread = [audio for audio in some if audio not in known]
            read = dict(zip(unread, pool.map(_examine, unread), strict=True))
            if read:
                _keep([(a, s, read[a]) for a, s in zip(some, stamps, strict=True) if a in read])
                if progress is not None:
                    progress("reading recordings", start + len(some), len(distinct))
            found.update(known)
            found.update(read)
    return [found[audio] for audio in audios]


def kind_of(examined: Examined) -> str:
    """How a recording that cannot be used is counted."""
    defect = examined.defect or ""
    kinds = {"is missing": "no recording", "is empty": "empty recording"}
    return next((kind for said, kind in kinds.items() if defect.startswith(said)), "broken recording")


def _examine(audio: Audio) -> Examined:
    return audio.examine()


def stamp_of(audio: Audio) -> Stamp:
    """`Audio.stamp`, or `ABSENT`."""
    try:
        return audio.stamp()
    except OSError:
        return ABSENT


def _place(audio: Audio) -> bytes:
    return str(audio.path.absolute()).encode("utf-8", "surrogatepass")  # of names that are no UTF-8


def _examiner() -> str:
    import soundfile

    return f"{_VERSION} {soundfile.__libsndfile_version__}"


def _known(audios: Sequence[Audio], stamps: Sequence[Stamp]) -> dict[Audio, Examined]:
    marks = ", ".join("?" * len(audios))
    query = f"SELECT place, size, changed, {_COLUMNS} FROM found WHERE by = ? AND place IN ({marks})"
    with _opened() as database:
        rows = {row[0]: row for row in database.execute(query, [_examiner(), *map(_place, audios)])}
    known: dict[Audio, Examined] = {}
    for audio, stamp in zip(audios, stamps, strict=True):
        row = rows.get(_place(audio))
        if row is not None and stamp == tuple(row[1:3]):
            known[audio] = Examined(*row[3:])
    return known


def _keep(found: Sequence[tuple[Audio, Stamp, Examined]]) -> None:
    rows = [
        (_place(audio), *stamp, _examiner(), *astuple(examined))
        for audio, stamp, examined in found
        if stamp != ABSENT and settled(stamp)
    ]
    with _opened() as database:
        database.executemany("INSERT OR REPLACE INTO found VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


@contextmanager
def _opened() -> Iterator[sqlite3.Connection]:
    """The file, opened anew each time, so that a forked process holds nothing of its parent's."""
    path = cache_folder() / _FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=_WAIT)) as database, database:
            database.execute(_TABLE)
            yield database
    except (sqlite3.Error, OSError) as error:
        raise SpeechbenchError(unwritable(path, error)) from None


def unwritable(path: Path, error: Exception) -> str:
    """What is said where a file of the cache folder cannot be used."""
    return (
        f"{path}, which keeps what was read of the data, cannot be read or written: {error}; mend or remove it, or set "
        "SPEECHBENCH_CACHE to another folder, and run the same command again"
    )
