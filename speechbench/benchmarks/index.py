"""A benchmark's rows in one SQLite file: read once from the data set's own files, found again in no time.

What was read of the recordings is added to it, and the fingerprints of examples whose recordings are all known.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from speechbench.benchmarks.audio import Examined
from speechbench.benchmarks.base import SPLITS, Problem
from speechbench.benchmarks.examination import Stamp, settled
from speechbench.benchmarks.index_file import Database
from speechbench.errors import SpeechbenchError

_SPLIT = 40  # a row's position is the number of its split, shifted by so many bits, and its number in it
_AT_ONCE = 1000  # rows fetched by one query
_NAMED = 500  # positions named in one query: older SQLite takes 999
SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE fingerprints (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE problems (location TEXT, what TEXT, kind TEXT);
CREATE TABLE rows (position INTEGER PRIMARY KEY,
    id TEXT, audio TEXT, location TEXT, reference TEXT, source TEXT, speaker TEXT, more TEXT);
CREATE TABLE recordings (position INTEGER PRIMARY KEY,
    size INTEGER, changed INTEGER, sha256 TEXT, seconds REAL, defect TEXT, since INTEGER);
"""
"""The tables of an index. The recordings' is apart, small, and in parts filled later."""
FIELDS = "id, audio, location, reference, source, speaker, more"
"""The columns of `Row`, its split aside."""
_SPAN = "position >= ? AND position < ?"
_CHANGES = "(SELECT value FROM facts WHERE name = 'changes')"


def first_position(split: str) -> int:
    """Where the rows of a split begin."""
    return SPLITS.index(split) << _SPLIT


class Row(NamedTuple):
    """What a data set's files say of one example.

    Attributes:
        split: One of `SPLITS`.
        id: Unique within the benchmark.
        audio: What the benchmark calls the recording; empty where there is none.
        where: The file and line.
        reference: The first one.
        source: The transcript, where known.
        speaker: Where known.
        more: What else the example is made of, as JSON.
    """

    split: str
    id: str
    audio: str
    where: str
    reference: str
    source: str | None = None
    speaker: str | None = None
    more: str | None = None


class Entry(NamedTuple):
    """What is known of a row's recording.

    Attributes:
        position: The row's.
        audio: As the row has it.
        where: Likewise.
        stamp: Of the file when it was read; `None` where it was not, or had changed so recently that it may have
            changed since without another time of change.
        examined: Its hash, length and defect; `None` where it was not read.
    """

    position: int
    audio: str
    where: str
    stamp: Stamp | None
    examined: Examined | None


class Seconds(NamedTuple):
    """How long recordings should be; rows without one always are.

    Attributes:
        shortest: In seconds.
        longest: In seconds.
    """

    shortest: float = 0.0
    longest: float = math.inf


class Index:
    """The rows of all splits in a file, each with a position: ascending within its split, in the order of reading.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = Database(path)

    def fact(self, name: str) -> str | None:
        """What was stored under a name; `None` where nothing was."""
        found = self._database.query("SELECT value FROM facts WHERE name = ?", (name,))
        return str(found[0][0]) if found else None

    def keep_fact(self, name: str, value: str) -> None:
        """Stores a text under a name."""
        with self._database.transaction() as database:
            database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def count(self, split: str) -> int:
        """How many rows a split has."""
        return len(self.span(split))

    def span(self, split: str) -> range:
        """The positions of a split's rows."""
        first = first_position(split)
        return range(first, first + int(json.loads(self.fact("counts") or "{}").get(split, 0)))

    def problems(self) -> list[Problem]:
        """What was wrong with the files that the rows came from."""
        return [Problem(*row) for row in self._database.query("SELECT location, what, kind FROM problems")]

    def entries(self, split: str) -> Iterator[list[Entry]]:
        """What is known of a split's recordings, in order, some at a time."""
        span = self.span(split)
        for start in range(0, len(span), _AT_ONCE):
            yield self.entries_at(span[start : start + _AT_ONCE])

    def entries_at(self, span: range) -> list[Entry]:
        """What is known of the recordings of rows that follow each other, by their positions."""
        return self._entries(f"rows LEFT JOIN recordings USING (position) WHERE {_SPAN}", span)

    def broken(self, span: range) -> list[Entry]:
        """Those of them whose recording has a defect."""
        return self._entries(f"recordings CROSS JOIN rows USING (position) WHERE {_SPAN} AND defect IS NOT NULL", span)

    def note(self, examined: Iterable[tuple[int, Stamp, Examined]]) -> None:
        """Adds what was read of recordings, by the position of their rows, and when each was changed before that."""
        found = {
            position: (e.sha256, e.seconds or None, e.defect, *(stamp if settled(stamp) else (None, None)))
            for position, stamp, e in examined
        }
        if not found:
            return
        with self._database.transaction() as database:
            known = database.execute(
                "SELECT position, since, sha256, seconds, defect FROM recordings WHERE position BETWEEN ? AND ?",
                (min(found), max(found)),
            ).fetchall()
            since = {position: number for position, number, *_ in known}
            other = [at for at, _, *before in known if at in found and found[at][:3] != tuple(before)]
            if other:
                database.execute("UPDATE facts SET value = value + 1 WHERE name = 'changes'")
                database.execute("DELETE FROM fingerprints")
                since.update(dict.fromkeys(other, database.execute(f"SELECT {_CHANGES}").fetchone()[0]))
            database.executemany(
                "INSERT OR REPLACE INTO recordings (position, sha256, seconds, defect, size, changed, since) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(position, *values, since.get(position, 0)) for position, values in found.items()],
            )

    def changes(self) -> int:
        """How often a recording was noted that had been noted with another content."""
        return int(self.fact("changes") or 0)

    def fingerprint(self, name: str) -> str | None:
        """What was kept under a name, and is true of the recordings as noted; `None` where nothing was."""
        found = self._database.query("SELECT value FROM fingerprints WHERE name = ?", (name,))
        return str(found[0][0]) if found else None

    def keep_fingerprint(self, name: str, value: str, changes: int) -> None:
        """Keeps what was computed of recordings as they were after so many `changes`, if they still are so.

        Where it cannot be kept, as in a cache folder that belongs to others, it is computed again the next time.
        """
        with suppress(SpeechbenchError), self._database.transaction() as database:
            keep = f"INSERT OR REPLACE INTO fingerprints SELECT ?, ? WHERE {_CHANGES} = ?"
            database.execute(keep, (name, value, str(changes)))

    def sound(self, span: range) -> int:
        """How many of some rows have a recording that was good when it was read, and could not change unseen."""
        query = f"SELECT count(*) FROM recordings WHERE {_SPAN} AND defect IS NULL AND size IS NOT NULL"
        return int(self._database.query(query, (span.start, span.stop))[0][0])

    def outside(self, span: range, seconds: Seconds) -> tuple[int, int]:
        """How many of some rows have a good recording that is too short, and how many one that is too long."""
        query = (
            "SELECT coalesce(sum(seconds < ?), 0), coalesce(sum(seconds > ?), 0) FROM recordings "
            f"WHERE {_SPAN} AND defect IS NULL"
        )
        short, long = self._database.query(query, (*seconds, span.start, span.stop))[0]
        return int(short), int(long)

    def usable(self, span: range, seconds: Seconds, limit: int | None = None) -> Sequence[int]:
        """The positions of rows with a good recording of the right length, ascending.

        Args:
            span: Positions of examined rows.
            seconds: What length is right.
            limit: At most so many, from the front.
        """
        good = f"FROM recordings WHERE {_SPAN} AND defect IS NULL AND coalesce(seconds BETWEEN ? AND ?, 1)"
        asked = (span.start, span.stop, *seconds)
        if self._database.query(f"SELECT count(*) {good}", asked)[0][0] == len(span):
            return span[:limit]  # as mostly, and much sooner told
        query = f"SELECT position {good} ORDER BY position LIMIT ?"
        found = self._database.query(query, (*asked, -1 if limit is None else limit))
        if found and found[-1][0] - found[0][0] == len(found) - 1:
            return range(found[0][0], found[-1][0] + 1)
        return array("q", (position for (position,) in found))

    def rows(self, positions: Sequence[int]) -> Iterator[tuple[Row, str | None, int]]:
        """Rows with the hash of their recording and the number of `changes` after which it was so, in their order.

        Args:
            positions: Of one split.
        """
        for start in range(0, len(positions), _NAMED):
            some = positions[start : start + _NAMED]
            dense = isinstance(some, range) and some.step == 1
            which = "BETWEEN ? AND ?" if dense else f"IN ({', '.join('?' * len(some))})"
            found = self._database.query(
                f"SELECT position, sha256, since, {FIELDS} FROM rows LEFT JOIN recordings USING (position) "
                f"WHERE position {which} ORDER BY position",
                (some[0], some[-1]) if dense else some,
            )
            if dense:
                yield from (_row(*columns) for columns in found)
            else:
                by_position = {columns[0]: columns for columns in found}
                yield from (_row(*by_position[position]) for position in some)

    def close(self) -> None:
        """Lets go of the file; it is opened again when something is asked for."""
        self._database.close()

    def _entries(self, of: str, span: range) -> list[Entry]:
        columns = "position, audio, location, size, changed, sha256, seconds, defect"
        return [
            Entry(
                position,
                audio,
                where,
                None if size is None else (size, changed),
                None if sha256 is None else Examined(sha256, seconds or 0.0, defect=defect),
            )
            for position, audio, where, size, changed, sha256, seconds, defect in self._database.query(
                f"SELECT {columns} FROM {of} ORDER BY position", (span.start, span.stop)
            )
        ]


def _row(position: int, sha256: str | None, since: int | None, *fields: Any) -> tuple[Row, str | None, int]:
    return Row(SPLITS[position >> _SPLIT], *fields), sha256, int(since or 0)
