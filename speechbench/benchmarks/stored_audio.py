"""Recordings whose bytes stand in a table, as in data sets of the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass, field

from speechbench.benchmarks.audio import MEND, Audio, unreadable
from speechbench.benchmarks.hub_datasets import table_of
from speechbench.errors import SpeechbenchError

COLUMN = "audio"
"""The column of recordings, each with its `bytes` and the `path` that they once were at."""


@dataclass(frozen=True)
class StoredAudio(Audio):
    """A recording in an Arrow file. Its bytes are read when asked for, by any thread or process.

    Attributes:
        path: `<Arrow file>/<split>/<row>`, the row counted from 0 in its split, as `datasets` does: the place of one
            recording, where no file is.
        of: What the data set is called.
        before: How many rows of the split stand in earlier files.
    """

    of: str = field(default="", compare=False)
    before: int = field(default=0, compare=False)

    def content(self) -> bytes:
        """The stored bytes.

        Raises:
            SpeechbenchError: If they cannot be read.
        """
        file, row = self.path.parents[1], int(self.path.name) - self.before
        try:
            stored = table_of(file).column(COLUMN)[row]["bytes"].as_py()
        except OSError as error:
            raise SpeechbenchError(f"{self} {unreadable(error)}; {MEND}") from error
        except (LookupError, TypeError, SpeechbenchError) as error:
            raise SpeechbenchError(f"{self} cannot be read: {file} is damaged or another; {MEND}") from error
        if stored is None:
            raise SpeechbenchError(f"{self} is missing; {MEND}")
        return bytes(stored)

    def stamp(self) -> tuple[int, int]:
        """Of the Arrow file.

        Raises:
            OSError: If there is no such file.
        """
        found = self.path.parents[1].stat()
        return found.st_size, found.st_mtime_ns

    def __str__(self) -> str:
        """As sentences begin about it."""
        return f"audio of row {self.path.name} of {self.path.parent.name} of {self.of}"
