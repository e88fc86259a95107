"""The grades that were paid for, kept on disk for every later run."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass

from speechbench.cache import cache_folder
from speechbench.errors import SpeechbenchError

_FILE = "judge.sqlite3"
_WAIT = 60.0  # seconds for other processes' writing
_AT_ONCE = 500  # keys in one query: older SQLite takes 999 at most
_COLUMNS = "grade, model, prompt_tokens, completion_tokens"  # in the order of `Graded`
_TABLE = (
    "CREATE TABLE IF NOT EXISTS bought (key TEXT PRIMARY KEY, grade INTEGER NOT NULL, model TEXT NOT NULL, "
    "prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL)"
)


@dataclass(frozen=True)
class Graded:
    """An answer of a judge.

    Attributes:
        grade: From 0 to 4.
        model: What the endpoint says has answered.
        prompt_tokens: What the question took, asked again where an answer held no grade.
        completion_tokens: What its answers took, those without a grade included.
    """

    grade: int
    model: str
    prompt_tokens: int
    completion_tokens: int


class GradeCache:
    """One SQLite file in the folder where made corpora are kept too, for any number of threads and processes.

    Every call opens the file anew, so that a copy in a forked process holds nothing of its parent's. Its journal is
    the ordinary one: the write-ahead log does not work on network filesystems.
    """

    def __init__(self) -> None:
        self.path = cache_folder() / _FILE

    def lookup(self, keys: Collection[str]) -> dict[str, Graded]:
        """What is known of these questions, by key.

        Raises:
            SpeechbenchError: If the file cannot be read or made.
        """
        wanted = list(keys)
        found: dict[str, Graded] = {}
        with self._opened() as database:
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                marks = ", ".join("?" * len(some))
                rows = database.execute(f"SELECT key, {_COLUMNS} FROM bought WHERE key IN ({marks})", some)
                found.update({key: Graded(*columns) for key, *columns in rows})
        return found

    def keep(self, key: str, graded: Graded) -> Graded:
        """Stores a grade, unless another process was first.

        Returns:
            The one that is stored now: whoever asks the same question gets the same grade.

        Raises:
            SpeechbenchError: If the file cannot be written.
        """
        with self._opened() as database:
            database.execute("INSERT OR IGNORE INTO bought VALUES (?, ?, ?, ?, ?)", (key, *astuple(graded)))
            row = database.execute(f"SELECT {_COLUMNS} FROM bought WHERE key = ?", (key,)).fetchone()
        return Graded(*row)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=_WAIT)) as database, database:
                database.execute(_TABLE)
                yield database
        except (sqlite3.Error, OSError) as error:
            raise SpeechbenchError(
                f"{self.path}, which keeps the grades of judges, cannot be read or written: {error}; mend or remove "
                "it, or set SPEECHBENCH_CACHE to another folder, and run the same command again"
            ) from None
