"""CoVoST's and Common Voice's tables: tabs, no quoting, backslash escapes, nothing means NA."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, takewhile
from operator import itemgetter
from pathlib import Path

from speechbench.errors import SpeechbenchError

LONGEST_CELL = 10_000
"""Characters that a sentence may have; where lines have run together there are more."""
_NUL = "\ufffe"  # stands for it where the csv module reads a line: that of Python 3.10 refuses it


def read_tsv(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Reads a table as the official script does, which is pandas with `quoting=3, escapechar="\\\\", na_filter=False`.

    Args:
        path: UTF-8, with or without a byte order mark, with any line ends.
        columns: Which, at least two.

    Yields:
        The number of a row's last line, and the wanted cells. A row that is too short for them, or the last one of a
        file that is cut off, comes without the last ones; one that is longer than the header comes with one more.
        Bytes that are no UTF-8 are surrogates, as `damage` finds them.

    Raises:
        SpeechbenchError: If the file lacks a column, or cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = _rows(file)
            _, header, _ = next(rows, (0, [], True))
            lacking = [column for column in columns if column not in header]
            if lacking:
                raise SpeechbenchError(f"{path} has no column {lacking[0]!r}, only {_shown(header)}; download it anew")
            places = [header.index(column) for column in columns]
            wanted, width, whole = itemgetter(*places), max(places), len(header)
            for number, row, ended in rows:
                count = len(row)
                if count == whole or (width < count < whole and (ended or count > width + 1)):
                    yield number, wanted(row)
                elif count > whole:
                    yield number, (*wanted(row), "")
                else:
                    there = range(min(count, width))
                    yield number, tuple(row[place] for place in takewhile(there.__contains__, places))
    except (csv.Error, OSError) as error:
        raise SpeechbenchError(f"{path} cannot be read: {error}; download it anew") from error


def damage(cells: Sequence[str]) -> str | None:
    """What makes a row's texts unusable; `None` if nothing does."""
    together = "".join(cells)
    if len(together) <= LONGEST_CELL and _readable(together):
        return None  # as nearly all are
    for cell in cells:
        if len(cell) > LONGEST_CELL:
            return f"holds {len(cell):,} characters, as where lines have run together"
        if not _readable(cell):
            return "holds a NUL byte" if "\0" in cell or _NUL in cell else "holds bytes that are no UTF-8"
    return None


def _readable(text: str) -> bool:
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:  # of surrogates
        return False
    return _NUL not in text


def _rows(file: Iterator[str]) -> Iterator[tuple[int, list[str], bool]]:
    """The rows that are not empty, each with the number of its last line, and whether that ends as lines do."""
    number = 0
    for line in file:
        number += 1
        if "\\" in line:  # as few have: the others need no csv, which takes twice as long
            taken: list[str] = []
            row = _escaped(_noted(chain((line,), file), taken))
            number += len(taken) - 1
            line = taken[-1]
        else:
            row = line.rstrip("\r\n").split("\t")
        if len(row) > 1 or row[0]:
            yield number, row, line.endswith(("\n", "\r"))


def _escaped(lines: Iterator[str]) -> list[str]:
    """The first row of lines that hold a backslash: one before the end of a line joins the next line to it."""
    limit = csv.field_size_limit(sys.maxsize >> 33)
    try:
        return next(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, escapechar="\\", strict=True))
    finally:
        csv.field_size_limit(limit)


def _noted(lines: Iterator[str], taken: list[str]) -> Iterator[str]:
    for line in lines:
        taken.append(line)
        end = "" if line.endswith(("\n", "\r")) else "\n"  # csv overlooks a file's end in a line that was joined
        yield line.replace("\0", _NUL) + end


def _shown(header: Sequence[str]) -> str:
    names = [name.encode("utf-8", "replace").decode()[:40] for name in header[:20]]
    return ", ".join(names) or "none"
