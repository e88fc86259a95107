"""What benchmarks share whose examples stand in files of any size: an index, and examples made when asked for."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import secrets
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from speechbench import __version__
from speechbench.benchmarks.audio import MEND, Audio, Examined
from speechbench.benchmarks.base import Benchmark, Example, Problem, Progress, check_split
from speechbench.benchmarks.examination import ABSENT, examine, kind_of, stamp_of, unwritable
from speechbench.benchmarks.examples import Examples
from speechbench.benchmarks.index import Entry, Index, Row, Seconds
from speechbench.benchmarks.index_building import build, current, is_current
from speechbench.benchmarks.index_file import DamagedError
from speechbench.benchmarks.prompts import Prompts
from speechbench.cache import cache_folder
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.locks import waited
from speechbench.sources import code_hash_of
from speechbench.tables import counted

__all__ = ["LOOKED_AT_AGAIN", "Examples", "IndexedBenchmark"]

LOOKED_AT_AGAIN = 20_000
"""Recordings of a split up to which `load` looks whether each is still the file that was read.

In larger splits a recording that changed is noticed when it is decoded, by its hash, or by `prepare`.
"""
_AT_ONCE = 1000  # recordings between two writes to the index
_AT_LEAST = 50  # recordings read together, even where fewer examples are wanted
_TOLD = 50_000  # rows between two words about their reading


class IndexedBenchmark(Benchmark):
    """A benchmark that reads its files once, keeps their rows in an index and makes examples when asked for.

    The index lies in the cache folder. It is made anew when a file or folder that it came from has changed, or the
    code. Before an example is given out its recording is read once: what is broken stands in `problems`, what is too
    short or too long in `excluded`, and neither is given out.

    Args:
        min_seconds: Recordings that are shorter are left out, and counted.
        max_seconds: Recordings that are longer are left out, and counted.
        prompts: How `example` asks, one set for each task (`prompts_for`): `self.prompts[task].instruction(...)`.

    Raises:
        UsageError: If the seconds are no numbers above 0, or leave nothing between them.
    """

    def __init__(
        self, min_seconds: float | None = None, max_seconds: float | None = None, prompts: Sequence[Prompts] = ()
    ) -> None:
        super().__init__()
        self.prompts = {asking.task: asking for asking in prompts}
        for name, value in (("min_seconds", min_seconds), ("max_seconds", max_seconds)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0):
                raise UsageError(f"{name}={value!r} should be a number of seconds above 0")
        if min_seconds is not None and max_seconds is not None and min_seconds > max_seconds:
            raise UsageError(f"min_seconds={min_seconds:g} is more than max_seconds={max_seconds:g}: nothing is left")
        self.min_seconds = min_seconds
        self.max_seconds = max_seconds
        self._seconds = Seconds(min_seconds or 0.0, max_seconds or math.inf)
        self._opened: Index | None = None
        self._damaged: Path | None = None
        self._of_files: Sequence[Problem] = ()  # what is wrong with the files
        self._of_recordings: dict[str, tuple[Path, dict[int, Problem]]] = {}  # by split: the index's, by position
        self._progress: Progress | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_progress": None}  # who watches stays in this process

    @abstractmethod
    def read(self) -> Iterable[Row]:
        """Reads the files; notes what gives no row in `problems`.

        Raises:
            MissingError: If they are not there; the message says how to get them.
            SpeechbenchError: If they are no such files.
        """

    @abstractmethod
    def sources(self) -> Sequence[Path]:
        """The files and folders that `read` has read: when one changes, they are read again."""

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """All parameters on which rows and examples depend, those of `IndexedBenchmark` aside; JSON-able."""

    @abstractmethod
    def example(self, row: Row, audio: Audio | None) -> Example:
        """Makes an example of a row and its recording."""

    @abstractmethod
    def audio(self, name: str, sha256: str | None = None) -> Audio:
        """The recording that rows call so, which must have this hash."""

    def how_to_get(self) -> str:
        """What to do where a split is empty, as the end of a sentence."""
        return "see its documentation"

    def prepare(self, progress: Progress | None = None) -> None:
        """Remembers whom to tell while recordings are read; the index is made by `load`."""
        self._progress = progress or self._progress

    def load(self, split: str, limit: int | None = None) -> Sequence[Example]:
        """The examples of one split, in the order of the files.

        What gives no example stands in `problems` or is counted in `excluded`, as far as it was looked at.

        Raises:
            MissingError: If the files are not there, or hold no example of the split.
            UsageError: If there is no such split, or the limit is below 0.
        """
        check_split(split)
        if limit is not None and limit < 0:
            raise UsageError(f"limit={limit} should be a number of examples, 0 or more")
        try:
            return self._load(split, limit)
        except DamagedError:  # of the index: it is made anew, once
            if self._opened is None:
                raise
            self._damaged, self._opened = self._opened.path, None
            return self._load(split, limit)

    def index(self) -> Index:
        """The rows, read from the files if that was not done yet or they have changed since."""
        kind = type(self)
        asked = {"class": f"{kind.__module__}:{kind.__qualname__}", "speechbench": __version__, **self.identity()}
        place = json.dumps(asked, sort_keys=True, default=str)
        identity = f"{_code(kind)} {place}"
        if self._opened is None or not is_current(self._opened, identity, is_ours=True):
            folder = f"{kind.__name__.lower()}-{hashlib.sha256(place.encode()).hexdigest()[:16]}"
            self._opened = self._built(cache_folder() / "indexes" / folder, identity)
            self._forget(self._of_files)
            self._of_files = self._opened.problems()
            for problem in self._of_files:
                self.note(problem.where, problem.what, problem.kind)
        return self._opened

    def _built(self, folder: Path, identity: str) -> Index:
        """The index that is there, or a new one; while another process reads the files, that is waited for."""
        index = current(folder, identity, self._damaged)
        if index is not None:
            return index
        self._forget(self._of_files)
        before = len(self.problems)
        try:
            with waited(folder, self._tell_waiting):
                return current(folder, identity, self._damaged) or build(
                    folder, identity, self._rows(), lambda: (self.sources(), self.problems[before:])
                )
        except OSError as error:  # of the cache folder: others are sentences already
            raise SpeechbenchError(unwritable(folder, error)) from None
        finally:
            self._of_files = self.problems[before:]

    def _rows(self) -> Iterable[Row]:
        """What `read` gives, with progress if somebody is to be told."""
        tell = self._progress
        return self.read() if tell is None else _counted(self.read(), lambda n: tell(f"reading {self.name}", n, n))

    def _load(self, split: str, limit: int | None) -> Sequence[Example]:
        index = self.index()
        span = index.span(split)
        if not span:
            wrong = counted(len(self.problems), "problem")
            why = "".join(f" ({wrong}, the first: {p.where}: {p.what})" for p in self.problems[:1])
            raise MissingError(f"{self.name}: the {split} split is empty{why}; {self.how_to_get()}")
        positions = self._usable(index, split, span, limit)
        if not positions and limit != 0:
            reasons = [f"{problem.where}: {problem.what}" for problem in self._of_recordings[split][1].values()][:1]
            reasons += [f"{count} are left out, {what}" for what, count in self.excluded.items() if split in what]
            raise MissingError(
                f"{self.name}: none of the {len(span)} rows of {split} can be used ({'; '.join(reasons)}); "
                f"{self.how_to_get()}"
            )
        key = json.dumps([asking.identity() for asking in self.prompts.values()], sort_keys=True)
        return Examples(self, index, positions, key)

    def _usable(self, index: Index, split: str, span: range, limit: int | None) -> Sequence[int]:
        """The positions of the rows that give examples, after looking at as many recordings as that takes."""
        done = found = 0
        while done < len(span) and (limit is None or found < limit):
            some = span[done : done + (_AT_ONCE if limit is None else min(_AT_ONCE, max(_AT_LEAST, limit - found)))]
            big = len(span) > LOOKED_AT_AGAIN
            if not big or index.sound(some) < len(some):
                self._examine(index, index.entries_at(some), big, part_of(self._progress, split, done, len(span)))
            found += 0 if limit is None else len(index.usable(some, self._seconds))
            done += len(some)
        positions = index.usable(span[:done], self._seconds, limit)
        if limit is not None and len(positions) == limit:
            done = positions[-1] + 1 - span.start if limit else 0
        self._account(index, split, span[:done])
        return positions

    def _examine(self, index: Index, entries: Sequence[Entry], big: bool, progress: Progress | None) -> None:
        """Reads the recordings of some rows that are not known, or not known to be as they were."""
        due: list[tuple[int, Audio, tuple[int, int]]] = []
        for entry in entries:
            if entry.audio and (not big or entry.stamp is None or entry.examined is None or entry.examined.defect):
                audio = self.audio(entry.audio)
                stamp = stamp_of(audio)  # before it is read: what is written meanwhile shows the next time
                if entry.stamp != stamp:
                    due.append((entry.position, audio, stamp))
        read = examine([audio for _, audio, _ in due], progress)
        silent = [(e.position, ABSENT, Examined("")) for e in entries if not e.audio and e.examined is None]
        index.note([*silent, *((at, stamp, found) for (at, _, stamp), found in zip(due, read, strict=True))])

    def _account(self, index: Index, split: str, span: range) -> None:
        """Brings `problems` and `excluded` up to date about some rows."""
        then = MEND if self.strict else "left out"
        found = {
            e.position: Problem(e.where, f"{self.audio(e.audio)} {e.examined.defect}; {then}", kind_of(e.examined))
            for e in index.broken(span)
            if e.examined is not None
        }
        path, before = self._of_recordings.get(split, (index.path, {}))
        kept = {at: p for at, p in before.items() if path == index.path and at not in span} | found
        self._forget([problem for at, problem in before.items() if kept.get(at) != problem])
        self._of_recordings[split] = index.path, kept
        for problem in found.values():
            self.note(problem.where, problem.what, problem.kind)
        reasons = f"{split}: shorter than {self.min_seconds} s", f"{split}: longer than {self.max_seconds} s"
        for what, count in zip(reasons, index.outside(span, self._seconds), strict=True):
            self.excluded.pop(what, None)
            if count:
                self.excluded[what] = count

    def _forget(self, problems: Collection[Problem]) -> None:
        if problems:
            gone = set(problems)
            self._noted -= gone
            self.problems = [problem for problem in self.problems if problem not in gone]

    def _tell_waiting(self, holder: str) -> None:
        if self._progress is not None:
            self._progress(f"waiting for {holder}, which reads {self.name}", 0, 1)


def part_of(progress: Progress | None, split: str, before: int = 0, total: int | None = None) -> Progress | None:
    """Progress over a split, of work on a part of it: after so many `before`, of so many in `total` or of its own."""
    if progress is None:
        return None
    return lambda what, done, part: progress(f"{what} of {split}", before + done, total or part)


def _counted(rows: Iterable[Row], tell: Callable[[int], None]) -> Iterator[Row]:
    """The rows, with a word now and then about how many it were; how many there will be is not known."""
    for number, row in enumerate(rows, 1):
        if number % _TOLD == 0:
            tell(number)
        yield row


@functools.cache
def _code(benchmark: type) -> str:
    """A hash of all modules beside this one, and of the files of a class and of the benchmarks that it extends.

    What is defined in no file is another in each process.
    """
    digest = hashlib.sha256()
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.read_bytes())
    for kind in benchmark.__mro__:
        if issubclass(kind, Benchmark):
            digest.update((code_hash_of(kind) or secrets.token_hex()).encode())
    return digest.hexdigest()
