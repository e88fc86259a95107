"""How an index comes about, and how it is known that it would be the same if it were built again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from speechbench.benchmarks.base import SPLITS, Problem
from speechbench.benchmarks.examination import SETTLES
from speechbench.benchmarks.index import FIELDS, SCHEMA, Index, Row, first_position
from speechbench.benchmarks.index_file import new_edition, newest, remove_unused
from speechbench.errors import SpeechbenchError, sentence_of


def current(folder: Path, identity: str, but: Path | None = None) -> Index | None:
    """The newest index of a folder, if it `is_current`.

    Args:
        folder: Which may be missing.
        identity: As it was built with.
        but: A file that is not to be used.
    """
    path = newest(folder)
    if path is None or path == but:
        return None
    index = Index(path)
    return index if is_current(index, identity) else None


def is_current(index: Index, identity: str, is_ours: bool = False) -> bool:
    """Whether an index is there, was built with this identity, and the files that it was read from are as they were.

    Args:
        index: Any.
        identity: As `build` got it.
        is_ours: Whether this process works with it already. Else an index is not believed whose files were written
            just before they were read: a change soon after may not show in their times.
    """
    with suppress(SpeechbenchError, ValueError, OSError):
        if index.path.is_file() and index.fact("identity") == identity:
            sources = json.loads(index.fact("sources") or "")
            return all((was_still or is_ours) and _stamp(Path(path)) == stamp for path, stamp, was_still in sources)
    return False


def build(
    folder: Path, identity: str, rows: Iterable[Row], rest: Callable[[], tuple[Sequence[Path], Sequence[Problem]]]
) -> Index:
    """Writes an index into a folder that this process holds (`locks.waited`).

    Args:
        folder: Made if need be.
        identity: What the rows depend on beside their files.
        rows: In the order of each split.
        rest: Called when all rows are read: the files and folders that they came from, and what was wrong.

    Raises:
        SpeechbenchError: If it cannot be written, or what is read cannot be read.
    """
    began = time.time_ns()
    with new_edition(folder) as (path, database):
        database.executescript(SCHEMA)
        counts = dict.fromkeys(SPLITS, 0)
        insert = f"INSERT INTO rows (position, {FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        try:
            database.executemany(insert, _numbered(rows, counts))
            sources, problems = rest()
        except UnicodeEncodeError as error:
            raise SpeechbenchError(f"{_shown(error.object)!r} is no UTF-8: give it another name") from None
        except OSError as error:  # not of the index: SQLite's are others
            raise SpeechbenchError(sentence_of(error) or str(error)) from error
        noted = [(_shown(p.where), _shown(p.what), p.kind) for p in problems]
        database.executemany("INSERT INTO problems VALUES (?, ?, ?)", noted)
        stamps = [(str(source), _stamp(source)) for source in sources]
        facts = {
            "identity": identity,
            "changes": "0",
            "counts": json.dumps(counts),
            "sources": json.dumps([(source, stamp, _was_still(stamp, began)) for source, stamp in stamps]),
        }
        database.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
    remove_unused(folder.parent)
    return Index(path)


def _numbered(rows: Iterable[Row], counts: dict[str, int]) -> Iterator[tuple[Any, ...]]:
    firsts = {split: first_position(split) for split in SPLITS}
    for row in rows:
        split = row[0]
        yield (firsts[split] + counts[split], *row[1:])
        counts[split] += 1


def _stamp(path: Path) -> list[int]:
    """Size and times of a file or folder: that of its content's change, and the one that nobody can set."""
    try:
        found = path.stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _was_still(stamp: Sequence[int], began: int) -> bool:
    """Whether a file was as it is now since before it was read: a change since then would show in its times."""
    earliest, latest = began - SETTLES, time.time_ns() + SETTLES
    return not any(earliest <= at <= latest for at in stamp[1:])


def _shown(text: str) -> str:
    """A text that may hold halves of surrogate pairs, as names of files do that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
