"""Plain text files, one segment per line, as translation tools write and read them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from speechbench.errors import UsageError
from speechbench.tables import counted

STDIN = "-"
_SHOWN = 40  # characters of a line in an error


def read_lines(path: str | Path) -> list[str]:
    """The lines of a UTF-8 file.

    Lines end with LF or CR LF, and with nothing else that Unicode calls a line break, which may stand within a
    segment. A byte order mark in front is no text, and the end of the last line begins no further one.

    Args:
        path: The file; "-" is standard input.

    Raises:
        UsageError: If there is no such file, it is empty, or it is not UTF-8; the message names file and line.
        OSError: If it cannot be read.
    """
    name = name_of(path)
    if str(path) == STDIN:
        content = sys.stdin.buffer.read()
    elif Path(path).is_dir():
        raise UsageError(f"{name} is a folder: name a text file with one segment per line")
    elif not Path(path).exists():
        raise UsageError(f"there is no file {name}: name a text file with one segment per line")
    else:
        content = Path(path).read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        read = error.object  # what stands after the mark: positions count from there
        line = read.count(b"\n", 0, error.start) + 1
        byte = read[error.start]
        raise UsageError(f"{name}, line {line}: the byte 0x{byte:02x} is no UTF-8: save the file as UTF-8") from None
    if not text:
        raise UsageError(f"{name} is empty: it should hold one segment per line")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def name_of(path: str | Path) -> str:
    """What a file is called in messages and tables."""
    return "standard input" if str(path) == STDIN else str(path)


def check_aligned(texts: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Refuses texts of different lengths, of which nobody knows what belongs together.

    Args:
        texts: Lines, each with the name of what holds them; at least one.

    Raises:
        UsageError: If two have different numbers of lines; the message names both and the first line too many.
    """
    (first, lines), *others = texts
    for name, its in others:
        if len(its) != len(lines):
            (short, fewer), (long, more) = sorted(((first, lines), (name, its)), key=lambda pair: len(pair[1]))
            surplus = more[len(fewer)]
            shown = surplus if len(surplus) <= _SHOWN else surplus[: _SHOWN - 1] + "…"
            raise UsageError(
                f"{short} has {counted(len(fewer), 'line')} and {long} has {len(more)}, so line {len(fewer) + 1} of "
                f"{long} ({shown!r}) has no counterpart: give the same segments in the same order, one per line"
            )
