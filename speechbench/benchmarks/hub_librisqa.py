"""LibriSQA's rows from the Hugging Face hub, or as `datasets` saved them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from speechbench.benchmarks.hub_datasets import Origin, is_saved, open_saved, table_of, texts
from speechbench.benchmarks.librisqa_files import FILES, LibriSQAFolder
from speechbench.errors import MissingError, SpeechbenchError, UsageError

_ASKS = {1: "question", 2: "question_and_option"}  # the column that tells the parts apart


class HubLibriSQA:
    """Rows of LibriSQA, whose recordings lie elsewhere.

    Args:
        name: On the hub, "owner/name", with the JSON files of ZihanZhao/LibriSQA; or a folder that `save_to_disk` made
            of the same rows. Its splits are train and test of one part, or those of the hub's names, "partI.train".
        revision: Of the hub's repository; if not given, what is on this machine, or else the newest.

    Raises:
        UsageError: If there is no such folder and no such name, or a revision is asked of a folder.
    """

    def __init__(self, name: str, revision: str | None = None) -> None:
        self.name = name
        lacking = f"{name} has not all of LibriSQA's JSON files on the hub: use ZihanZhao/LibriSQA"
        self._origin = Origin(name, revision, ["LibriSQA-Part*.json"], _is_complete, lacking)

    def rows(self, part: int, name: str) -> Iterable[tuple[str, Any]]:
        """The rows of a part's "train" or "test", each with where it stands; nothing is checked yet.

        Raises:
            MissingError: If they are not there; the message says how to get them.
            SpeechbenchError: If they are no such rows.
            UsageError: If they are of the other part.
        """
        if not is_saved(self._origin.folder):
            return self._json.rows(part, name)
        return self._saved_rows(part, name)

    def sources(self) -> Sequence[Path]:
        """The JSON files; or the folder and the Arrow files in it."""
        if not is_saved(self._origin.folder):
            return self._json.sources()
        return [self._origin.folder, *chain.from_iterable(self._tables().values())]

    def identity(self) -> Mapping[str, Any]:
        """The data set with its commit."""
        return {"questions": dict(self.provenance())}

    def provenance(self) -> Mapping[str, str]:
        """The data set and, of one on the hub, the commit that its files are of.

        Raises:
            MissingError: If it is not on this machine and cannot be downloaded.
        """
        return self._origin.provenance()

    @cached_property
    def _json(self) -> LibriSQAFolder:
        return LibriSQAFolder(self._origin.folder)

    def _tables(self) -> Mapping[str, Sequence[Path]]:
        return open_saved(self._origin.folder, "librisqa from a saved data set")[0]

    def _saved_rows(self, part: int, name: str) -> Iterator[tuple[str, Any]]:
        number, tables = 0, self._tables()
        for file in tables.get(self._split(tables, part, name), ()):
            table = table_of(file)
            if _ASKS[part] not in table.column_names:
                other = 3 - part
                if _ASKS[other] in table.column_names:
                    raise UsageError(f"{self.name} holds part {other} of LibriSQA: use part={other}")
                there = ", ".join(table.column_names)[:300]
                raise SpeechbenchError(f"{self.name} has no column {_ASKS[part]!r}, only {there}; it is no LibriSQA")
            columns = [texts(column) if _is_text(column) else column.to_pylist() for column in table.columns]
            for cells in zip(*columns, strict=True):
                number += 1
                yield f"{self.name}, row {number} of {name}", dict(zip(table.column_names, cells, strict=True))

    def _split(self, tables: Collection[str], part: int, name: str) -> str:
        """What the saved data set calls it: splits of one part by their own names, or of both by the hub's."""
        own = f"part{'I' * part}."
        if not any(f"{front}{file}" in tables for file in FILES for front in ("", own)):
            there = ", ".join(tables)[:300]
            raise MissingError(f"{self.name} has no split train or test of part {part}, only {there}; save it anew")
        return f"{own}{name}" if f"{own}{name}" in tables else name


def _is_complete(folder: Path) -> bool:
    files = LibriSQAFolder(folder)
    return all(files.path(part, name).is_file() for part in _ASKS for name in FILES)


def _is_text(column: Any) -> bool:
    return str(column.type) in ("string", "large_string")
