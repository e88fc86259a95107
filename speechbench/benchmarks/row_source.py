"""Where a benchmark's rows come from: what `IndexedBenchmark` asks of a folder or of a data set on the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.index import Row

Note = Callable[[str, str, str], None]
"""Called as `note(where, what, kind)` with what gives no row, as `Benchmark.note`."""


class RowSource(Protocol):
    """Files that rows are read from."""

    def read(self, note: Note) -> Iterable[Row]:
        """Reads the files.

        Raises:
            MissingError: If they are not there; the message says how to get them.
            SpeechbenchError: If they are no such files.
        """

    def sources(self) -> Sequence[Path]:
        """The files and folders that were read: when one changes, they are read again. Asked for after `read`."""

    def identity(self) -> Mapping[str, Any]:
        """What tells this source from others; JSON-able."""

    def provenance(self) -> Mapping[str, str]:
        """Where the data comes from, as far as that can be told, as the revision of a data set on the hub."""

    def audio(self, name: str, sha256: str | None = None) -> Audio:
        """The recording that rows call so, which must have this hash."""

    def how_to_get(self) -> str:
        """What to do where it has no example of a split, as the end of a sentence."""
