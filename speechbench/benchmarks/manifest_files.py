"""Manifests as files: JSONL, CSV, TSV and Parquet, read line by line, past what is broken."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TextIO

from speechbench.errors import SpeechbenchError, UsageError
from speechbench.libraries import needed
from speechbench.tables import counted

LONGEST_LINE = 1 << 24
"""Characters that are read of a line; what has more is no line of a manifest."""
_AT_ONCE = 1000  # Parquet's rows in memory
_SHOWN = 60  # characters of a value in a message
_NO_UTF8 = re.compile("[\ud800-\udfff]")


class Record(NamedTuple):
    """One line of a manifest.

    Attributes:
        number: Of the line where it begins, from 1; of a Parquet file the row, from 1.
        fields: What stands there, by name.
        defect: Why nothing can be read there; `None` where it can.
        kind: Of the defect, as `Problem.kind`.
    """

    number: int
    fields: Mapping[str, Any]
    defect: str | None = None
    kind: str = "bad line"


def read_records(path: Path) -> Iterator[Record]:
    """Reads a manifest. A line that cannot be read is given with its defect, and the lines after it are read.

    Args:
        path: A file that `check_suffix` lets pass.

    Raises:
        UsageError: If the file as a whole is written wrongly: another format, a header that is none.
        SpeechbenchError: If it is damaged as a whole.
        MissingError: If it is Parquet, and pyarrow is not installed.
        OSError: If it cannot be read.
    """
    return _READERS[path.suffix.lower()](path)


def check_suffix(path: Path) -> None:
    """Refuses a file whose name does not say how it is written.

    Raises:
        UsageError: If its suffix is none of those that are known.
    """
    if path.suffix.lower() not in _READERS:
        known = f"the name must end in {_SUFFIXES}, to tell how it is written"
        hint = "; name it .jsonl if it has one JSON object per line" if path.suffix.lower() == ".json" else ""
        raise UsageError(f"manifest {path}: {known}{hint}")


def shown(value: Any) -> str:
    """A value in a message: in one line, and shortened."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


class _Lines:
    """The physical lines of a text file.

    Attributes:
        number: Of the last one, from 1.
        defect: What is wrong with those since it was last set to `None`.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.number = 0
        self.defect: str | None = None

    def __iter__(self) -> Iterator[str]:
        while text := self._file.readline(LONGEST_LINE):
            self.number += 1
            rest = text
            while len(rest) == LONGEST_LINE and rest[-1] not in "\r\n":
                self.defect = f"the line has more than {LONGEST_LINE:,} characters: end each line with a line feed"
                rest = self._file.readline(LONGEST_LINE)
            if "\0" in text:
                self.defect = "the line holds a NUL byte: take it out"
            elif not text.isascii() and (found := _NO_UTF8.search(text)):
                byte = ord(found[0]) - 0xDC00
                self.defect = f"the line holds the byte 0x{byte:02x}, which is no UTF-8: save the file as UTF-8"
            yield text


@contextmanager
def _opened(path: Path, newline: str | None = None) -> Iterator[_Lines]:
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise SpeechbenchError(f"{path} is written in UTF-16: save it as UTF-8")
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline) as file:
        yield _Lines(file)


def _jsonl(path: Path) -> Iterator[Record]:
    decode = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant).decode
    first = True
    with _opened(path) as lines:
        for text in lines:
            if lines.defect is not None:
                yield Record(lines.number, {}, lines.defect, "damaged text")
                lines.defect = None
                continue
            if text.isspace():
                continue
            text = text.strip()
            if first and (text in "[{" or text.startswith("[")):
                raise UsageError(f"{path} is one JSON text: write one JSON object per line, without a list around them")
            first = False
            try:
                fields = decode(text)
            except json.JSONDecodeError as error:
                end = ", where the line ends" if error.pos >= len(text) else ""
                what = f"{error.msg.removesuffix(' starting at')} at character {error.pos + 1}{end}"
                yield Record(lines.number, {}, f"the line is no JSON: {what}")
            except (ValueError, RecursionError) as error:
                what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
                yield Record(lines.number, {}, f"the line is no JSON: {what}")
            else:
                if isinstance(fields, dict):
                    yield Record(lines.number, fields)
                else:
                    yield Record(lines.number, {}, "the line must be a JSON object, {...}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of the pairs, none of which may take another's place."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice in it")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no value there; leave the field out or write null")


def _table(delimiter: str, path: Path) -> Iterator[Record]:
    with _opened(path, newline="") as lines:
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        header = _header(path, rows, delimiter, lines)
        while True:
            began, lines.defect = lines.number + 1, None
            defect, kind, cells = None, "bad line", []
            try:
                cells = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                defect = f"the row is no CSV: {_explained(error)}"
            if lines.defect is not None:
                defect, kind = lines.defect, "damaged text"
            elif defect is None and cells and len(cells) != len(header):
                held = f"the row has {counted(len(cells), 'cell')} and the header {counted(len(header), 'name')}"
                defect = f"{held}: give each name a cell, in quotes where it holds {_NAMES.get(delimiter, 'a comma')}"
            if defect is not None:
                span = f"; the row goes on to line {lines.number}" if lines.number > began else ""
                yield Record(began, {}, defect + span, kind)
            elif cells:  # of an empty line there are none
                yield Record(began, dict(zip(header, cells, strict=True)))


def _header(path: Path, rows: Iterator[list[str]], delimiter: str, lines: _Lines) -> list[str]:
    try:
        header = next((row for row in rows if row), [])
    except csv.Error as error:
        raise UsageError(f"{path}:1: the header is no CSV: {_explained(error)}") from None
    if lines.defect is not None:
        raise SpeechbenchError(f"{path}:1: in the header {lines.defect}")
    other = next((mark for mark in _NAMES if len(header) == 1 and mark != delimiter and mark in header[0]), None)
    if other is not None:
        raise UsageError(
            f"{path}:1: the header is separated by {_NAMES[other]}, not by {_NAMES[delimiter]}: "
            + ("name the file .tsv" if other == "\t" else f"save the table with {_NAMES[delimiter]} between cells")
        )
    _refuse_twice(path, header)
    return header


def _explained(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return "a quote opens in it and is never closed, so that all after it was taken for one cell"
    if "limit" in str(error):
        return f"a cell has more than {csv.field_size_limit():,} characters, as where a quote is not closed"
    return str(error)


def _parquet(path: Path) -> Iterator[Record]:
    pyarrow = needed("pyarrow", "datasets", "a manifest in Parquet")
    parquet = needed("pyarrow.parquet", "datasets", "a manifest in Parquet")
    path.open("rb").close()  # what the operating system refuses is not the format's fault
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            _refuse_twice(path, schema.names)
            for field in schema:
                if _holds_bytes(field.type, pyarrow.types):
                    raise UsageError(
                        f"{path}: the column {field.name!r} holds bytes ({field.type}): leave it out, and write "
                        "recordings into files of their own, whose paths stand in 'audio'"
                    )
            for batch in file.iter_batches(_AT_ONCE):
                for fields, defect in _rows(batch):
                    number += 1
                    kind = "bad line" if defect is None else "damaged text"
                    yield Record(number, fields, defect, kind)
    except (pyarrow.ArrowException, OSError) as error:
        after = f" after row {number}" if number else ""
        first = str(error).partition("\n")[0]
        raise SpeechbenchError(f"{path} cannot be read as Parquet{after}: {first}; write it anew") from error


def _rows(batch: Any) -> Iterator[tuple[Mapping[str, Any], str | None]]:
    """The rows of a batch; each by itself where one cannot be read."""
    try:
        yield from ((fields, None) for fields in batch.to_pylist())
    except (ValueError, OverflowError) as error:  # text that is no UTF-8, a date out of range
        if batch.num_rows == 1:
            what = (
                "holds bytes that are no UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error}"
            )
            yield {}, f"the row {what}"
        else:
            for place in range(batch.num_rows):
                yield from _rows(batch.slice(place, 1))


def _holds_bytes(type_: Any, types: Any) -> bool:
    if types.is_binary(type_) or types.is_large_binary(type_) or types.is_fixed_size_binary(type_):
        return True
    return types.is_nested(type_) and any(_holds_bytes(type_.field(n).type, types) for n in range(type_.num_fields))


def _refuse_twice(path: Path, names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{path}: the name {twice!r} stands twice in the header: rename or leave out one column")


_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}
_READERS: Mapping[str, Callable[[Path], Iterator[Record]]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".csv": partial(_table, ","),
    ".tsv": partial(_table, "\t"),
    ".parquet": _parquet,
}
_SUFFIXES = f"{', '.join(list(_READERS)[:-1])} or {list(_READERS)[-1]}"
