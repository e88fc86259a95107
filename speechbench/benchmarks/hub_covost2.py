"""CoVoST 2 from the Hugging Face hub, or as `datasets` saved it: recordings and texts in one table."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import SPLITS
from speechbench.benchmarks.covost2_official import OFFICIAL
from speechbench.benchmarks.hub_datasets import (
    CONVERTED,
    Origin,
    is_saved,
    open_parquet,
    open_saved,
    shards,
    table_of,
    texts,
)
from speechbench.benchmarks.index import Row
from speechbench.benchmarks.row_source import Note
from speechbench.benchmarks.stored_audio import COLUMN, StoredAudio
from speechbench.benchmarks.tsv import damage
from speechbench.errors import MissingError, SpeechbenchError

if TYPE_CHECKING:
    import pyarrow

_COLUMNS = ("client_id", "sentence", "translation", "id")
_NAMING = "file"  # the column that names a clip, where the recordings are not in the table
_NEEDS = "covost2 from the hub"
_AT_ONCE = 10_000  # rows whose texts are in memory together


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder is a data set as `HubCovost2` reads them, and no folder of Common Voice."""
    return any(is_saved(place) or shards(place)[0] for place in (folder, *(folder / d for d in OFFICIAL)))


class HubCovost2:
    """A data set with the columns `client_id, file, audio, sentence, translation, id`, as fixie-ai/covost2 has them.

    The texts are read without the recordings; those are read one by one when they are asked for.

    Args:
        name: On the hub, "owner/name", with a folder of Parquet files for each direction; or a folder: one like that,
            or one that `save_to_disk` made, or one that holds such folders by direction.
        direction: Source and target language, "en_de".
        revision: Of the hub's repository; if not given, what is on this machine, or else the newest.
        clips: Common Voice's folder of clips, for data sets that only name them.

    Raises:
        UsageError: If there is no such folder and no such name, or a revision is asked of a folder.
    """

    def __init__(self, name: str, direction: str, revision: str | None = None, clips: Path | None = None) -> None:
        self.name = name
        self.direction = direction
        self.clips = clips
        lacking = (
            f"{name} has no Parquet files of {', '.join(SPLITS)} of {direction} on the hub, neither its own nor "
            "converted, and a script of a data set is not run: use fixie-ai/covost2, or Common Voice's folder with the "
            "translations"
        )
        self._origin = Origin(name, revision, [f"{direction}/*.parquet"], self._is_complete, lacking, [CONVERTED])

    def read(self, note: Note) -> Iterator[Row]:
        """The rows in the order of the tables.

        Raises:
            MissingError: If the data set is not there, or names clips and `clips` is not given.
            SpeechbenchError: If it is damaged, or has other columns.
        """
        for known in ("_files", "_firsts"):  # of how the data set was before
            self.__dict__.pop(known, None)
        for split in self._files:
            if split not in SPLITS:
                note(self.name, f"its split {split!r} is none of {', '.join(SPLITS)}; left out", "unknown split")
        given: set[str] = set()
        for split in SPLITS:
            for number, (client, sentence, translation, id_, stored, path) in enumerate(self._cells(split)):
                where = f"{self.name}, row {number} of {split}"
                name = id_ or _stem(path) or f"{split}-{number}"
                what = damage((name, client, sentence, translation, path))
                if what is not None:
                    note(where, f"the row {what}; left out", "damaged text")
                elif name in given:
                    note(where, f"{name} stands a second time; the first is used", "duplicate row")
                else:
                    given.add(name)
                    if not translation.strip():
                        note(where, f"{name} has no translation; left out", "empty translation")
                    elif audio := f"{split}/{number}" if stored else self._clip(where, path, note):
                        yield Row(split, name, audio, where, translation, sentence or None, client or None)

    def sources(self) -> Sequence[Path]:
        """The data set's folder and tables, and the folder of clips; what `datasets` made of Parquet it makes again."""
        tables = chain.from_iterable(
            self._files.values() if is_saved(self._folder) else shards(self._folder)[0].values()
        )
        return [self._folder, *tables, *([] if self.clips is None else [self.clips])]

    def identity(self) -> Mapping[str, Any]:
        """The data set with its commit, the direction and the folder of clips."""
        clips = None if self.clips is None else str(self.clips.absolute())
        return {**self.provenance(), "direction": self.direction, "clips": clips}

    def provenance(self) -> Mapping[str, str]:
        """The data set and, of one on the hub, the commit that its files are of.

        Raises:
            MissingError: If it is not on this machine and cannot be downloaded.
        """
        return self._origin.provenance()

    def audio(self, name: str, sha256: str | None = None) -> Audio:
        """The recording of a row, "train/17", or a clip by its absolute path."""
        if os.path.isabs(name):
            return Audio(Path(name), sha256)
        split, _, row = name.partition("/")
        firsts = self._firsts[split]
        at = bisect_right(firsts, int(row)) - 1
        return StoredAudio(self._files[split][at] / split / row, sha256, self.name, firsts[at])

    def how_to_get(self) -> str:
        """Where the data set can be had."""
        return (
            "use fixie-ai/covost2 from the hub, or name the folder that `hf download fixie-ai/covost2 --repo-type "
            f"dataset --include '{self.direction}/*' --local-dir FOLDER` fills"
        )

    @property
    def _folder(self) -> Path:
        """Where this direction lies: in a folder of its name, or in the data set's."""
        inner = self._origin.folder / self.direction
        return inner if inner.is_dir() else self._origin.folder

    @cached_property
    def _files(self) -> Mapping[str, Sequence[Path]]:
        folder = self._folder
        if is_saved(folder):
            files, configuration = open_saved(folder, _NEEDS)
            if configuration in OFFICIAL and configuration != self.direction:
                raise SpeechbenchError(f"{folder} holds the direction {configuration}, not {self.direction}")
            return files
        found, lacks = shards(folder) if folder.name == self.direction else ({}, ())
        if lacks:
            raise MissingError(f"{folder} is not whole: {'; '.join(lacks)}; {self.how_to_get()}")
        if not found:
            raise MissingError(
                f"{self._origin.folder} has no data set of {self.direction}, which is one that `save_to_disk` made or "
                f"a folder called {self.direction} of Parquet files; {self.how_to_get()}"
            )
        return open_parquet(found, _NEEDS)

    @cached_property
    def _firsts(self) -> Mapping[str, Sequence[int]]:
        """How many rows of a split stand before each file."""
        return {
            split: list(accumulate((len(table_of(file)) for file in files[:-1]), initial=0))
            for split, files in self._files.items()
        }

    def _cells(self, split: str) -> Iterator[tuple[str, str, str, str, bool, str]]:
        """The texts of each row of a split, whether it has its recording, and how its clip is called."""
        for file in self._files.get(split, ()):
            table = table_of(file)
            self._check(table.column_names)
            for start in range(0, len(table), _AT_ONCE):
                some = table.slice(start, _AT_ONCE)
                try:
                    columns = [_texts(some, column) for column in _COLUMNS]
                    stored, paths = _recordings(some)
                    named = _texts(some, _NAMING) if _NAMING in table.column_names else paths
                except SpeechbenchError as error:
                    raise SpeechbenchError(f"{self.name}: {error}; it is no CoVoST 2 with undecoded audio") from error
                paths = [path or name for path, name in zip(paths, named, strict=True)]
                yield from zip(*columns, stored, paths, strict=True)

    def _check(self, columns: Sequence[str]) -> None:
        lacking = [column for column in _COLUMNS if column not in columns]
        if lacking:
            there = ", ".join(columns)[:300]
            raise SpeechbenchError(f"{self.name} has no column {lacking[0]!r}, only {there}; it is no CoVoST 2")
        if self.clips is None and COLUMN not in columns:
            raise MissingError(
                f"{self.name} has no column {COLUMN!r}, so that it holds no recordings: name the folder of Common "
                "Voice's clips too, with clips=FOLDER"
            )
        if self.clips is not None and not self.clips.is_dir():
            raise MissingError(f"there is no folder of clips {self.clips}: name one that is there, with clips=FOLDER")

    def _clip(self, where: str, path: str, note: Note) -> str:
        """The place of a clip that a row only names; empty, and noted, where it may not be read or is not there."""
        if not path:
            note(where, "the row has no recording; left out", "no recording")
            return ""
        roots = [root for root in (self.clips, self._origin.folder) if root is not None]
        leaves = ".." in re.split(r"[\\/]", path)
        for root in roots:
            for place in (os.path.join(root, path), os.path.join(root, _last(path))):
                if os.path.isfile(place):
                    if Path(os.path.realpath(place)).is_relative_to(os.path.realpath(root)):
                        return os.path.abspath(place)
                    leaves = True
        inside = " or ".join(map(str, roots))
        if leaves:
            note(where, f"{path} leaves {inside}; left out", "path outside")
        else:
            note(where, f"there is no {_last(path)} in {inside}; left out", "no recording")
        return ""

    def _is_complete(self, folder: Path) -> bool:
        files, lacks = shards(folder / self.direction)
        return not lacks and set(SPLITS) <= set(files)


def _recordings(table: pyarrow.Table) -> tuple[Sequence[bool], Sequence[str]]:
    """Whether each row of a table has its recording, and the path of each, where it has one."""
    if COLUMN not in table.column_names:
        return [False] * len(table), [""] * len(table)
    kind = table.schema.field(COLUMN).type
    fields = [kind.field(number).name for number in range(kind.num_fields)]
    if not fields:
        return [False] * len(table), _texts(table, COLUMN)
    if not {"bytes", "path"} <= set(fields):
        raise SpeechbenchError(f"column {COLUMN!r} holds {', '.join(fields)[:300]}, not bytes and path")
    inner = table.select([COLUMN]).flatten()
    return inner.column(f"{COLUMN}.bytes").is_valid().to_pylist(), _texts(inner, f"{COLUMN}.path")


def _texts(table: pyarrow.Table, column: str) -> list[str]:
    """The cells of a column; empty ones for none."""
    try:
        return [cell or "" for cell in texts(table.column(column))]
    except SpeechbenchError as error:
        raise SpeechbenchError(f"column {column!r} {error}") from error


def _last(path: str) -> str:
    return re.split(r"[\\/]", path)[-1]


def _stem(path: str) -> str:
    return _last(path).rpartition(".")[0]
