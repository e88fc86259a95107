"""The examples of an index, as many as there may be: each is made when it is asked for."""

from __future__ import annotations

import hashlib
import operator
from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

from speechbench.benchmarks.audio import RENEW
from speechbench.benchmarks.base import Example
from speechbench.benchmarks.index import Index
from speechbench.errors import SpeechbenchError

if TYPE_CHECKING:
    from speechbench.benchmarks.indexed import IndexedBenchmark


class Examples(Sequence[Example]):
    """The examples of a split, each made from its row when it is asked for.

    Args:
        benchmark: Whose `example` makes them.
        index: Where the rows are.
        positions: Of the rows, which are of one split.
        key: What the examples depend on beside the index.
        changes: The index's when they were loaded, if that is not now.
    """

    def __init__(
        self,
        benchmark: IndexedBenchmark,
        index: Index,
        positions: Sequence[int],
        key: str,
        changes: int | None = None,
    ) -> None:
        self._benchmark = benchmark
        self._index = index
        self._positions = positions
        self._key = key
        self._changes = index.changes() if changes is None else changes

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, place: int) -> Example: ...

    @overload
    def __getitem__(self, place: slice) -> Examples: ...

    def __getitem__(self, place: int | slice) -> Example | Examples:
        if isinstance(place, slice):
            return Examples(self._benchmark, self._index, self._positions[place], self._key, self._changes)
        return next(self._made([self._positions[place]]))

    def __iter__(self) -> Iterator[Example]:
        return self._made(self._positions)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} examples of {self._benchmark.name}>"

    def known_fingerprint(self) -> str | None:
        """The fingerprint that was kept for these very examples; `None` if none was, or a recording has changed."""
        return self._index.fingerprint(self._named())

    def keep_fingerprint(self, fingerprint: str) -> None:
        """Keeps it for the next time."""
        self._index.keep_fingerprint(self._named(), fingerprint, self._changes)

    def _named(self) -> str:
        """What tells these examples from others of the same index."""
        digest = hashlib.sha256(self._key.encode() + b"\n")
        span = isinstance(self._positions, range)
        digest.update(str(self._positions).encode() if span else array("q", self._positions).tobytes())
        return digest.hexdigest()

    def _made(self, positions: Sequence[int]) -> Iterator[Example]:
        for row, sha256, since in self._index.rows(positions):
            audio = self._benchmark.audio(row.audio, sha256) if row.audio else None
            if since > self._changes:  # else what is decoded would be another recording than was fingerprinted
                raise SpeechbenchError(f"{row.where}: {audio} has changed since the benchmark was read; {RENEW}")
            yield self._benchmark.example(row, audio)
