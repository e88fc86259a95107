"""The board as comma-separated values: a line for each row of the board, a column for each figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from speechbench.leaderboard.baselines import BASELINES
from speechbench.leaderboard.comparisons import Comparison
from speechbench.leaderboard.table import Board, BoardRow
from speechbench.tables import printable

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_csv(*boards: Board) -> str:
    """The figures of boards unrounded, with intervals and every test, as RFC 4180 has it.

    Texts that a spreadsheet would take for a formula have an apostrophe in front, which it takes for "this is text".
    """
    rows = [dict(_fields(row, board)) for board in boards for row in board.rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([_text(name) for name in names])
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in names])
    return out.getvalue()


def _fields(row: BoardRow, board: Board) -> Iterator[tuple[str, object]]:
    yield from (("benchmark", board.benchmark), ("ablation", board.ablation), ("row", row.label))
    yield from (("trainer", row.trainer), ("reward", row.reward), ("control", row.control))
    yield "seed numbers", " ".join(map(str, row.seeds))  # "seeds" is how many
    yield "runs", " ".join(row.run_ids)
    for cell, column in zip(row.cells, board.columns, strict=True):
        if column.kind == "rank":
            yield "rank low", None if row.overall is None else row.overall.low
            yield "rank high", None if row.overall is None else row.overall.high
            continue
        yield column.key, cell.value
        if column.kind == "metric":
            low, high = cell.interval or (None, None)
            yield from ((f"{column.key} low", low), (f"{column.key} high", high))
            yield f"{column.key} trained on", cell.trained_on
            yield f"{column.key} level with best", cell.level_with_best
            yield f"{column.key} sd over seeds", None if cell.seeds is None else cell.seeds.standard_deviation
            for baseline in BASELINES:
                yield from _tests(f"{column.key} vs {baseline}", getattr(cell, baseline))


def _tests(name: str, test: Comparison | None) -> Iterator[tuple[str, object]]:
    yield f"{name} difference", None if test is None else test.difference
    yield f"{name} p", None if test is None else test.p
    yield f"{name} p holm", None if test is None else test.p_holm


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    return f"'{printable(text)}" if text.startswith(_FORMULA) else printable(text)
