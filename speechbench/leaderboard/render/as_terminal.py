"""The board in a terminal, in as many tables below each other as its width asks for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from speechbench.leaderboard.differences import HEADING, differences
from speechbench.leaderboard.figures import Column
from speechbench.leaderboard.render import texts
from speechbench.leaderboard.table import Board, BoardRow
from speechbench.tables import bare_table, fits, packed, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

MARK_STYLES = {"▲": "green", "▼": "red", "!": "red"}
_LABELS = 32  # characters of a row's label before it is folded


def to_terminal(board: Board, console: Console) -> None:
    """Prints the board."""
    from rich.padding import Padding

    console.print(_text(texts.title(board), "bold"))
    for columns in _pack(board, console):
        console.print()
        console.print(_table(board, columns))
    if differences(board):
        console.print()
        console.print(_difference_table(board))
    if board.goodhart:
        console.print()
        for some in packed(texts.metrics(board), partial(_gains_table, board), console):
            console.print(_gains_table(board, some))
    console.print()
    for note in board.notes:
        console.print(Padding(_text(note, "dim"), (0, 0, 0, 1)))


def _text(text: str, style: str = "") -> Text:
    """What may have been written by anyone, so that it is only read."""
    from rich.text import Text

    return Text(printable(text), style)


def _difference_table(board: Board) -> Table:
    table = bare_table()
    table.add_column(_text(HEADING), overflow="fold", max_width=_LABELS)
    metrics = texts.metrics(board)
    for column in metrics:
        table.add_column(_text(column.heading), justify="right", overflow="fold")
    for test in differences(board):
        cells = [texts.tested(*pair) for pair in zip(test.comparisons, metrics, strict=True)]
        table.add_row(_text(test.label), *("\n".join(cell).rstrip() for cell in cells))
    return table


def _gains_table(board: Board, columns: Sequence[Column]) -> Table:
    table = bare_table()
    table.add_column(_text(texts.gains_heading(board.goodhart)), overflow="fold", max_width=_LABELS)
    for title in ("own", "others"):
        table.add_column(title, justify="right")
    for column in columns:
        table.add_column(_text(column.title), justify="right", overflow="fold")
    for row in board.goodhart:
        label = texts.gains_label(row, board.goodhart)
        label = label if row.flag is None else f"{label}: {row.flag}"
        gains = [texts.gain(row.gains.get(column.key)) for column in columns]
        table.add_row(_text(label), texts.percent(row.own_gain), texts.percent(row.others_gain), *gains)
    return table


def _pack(board: Board, console: Console) -> list[list[int]]:
    """Places of the columns of each table: one table if it fits, else metrics first and the rest below."""
    places = texts.shown(board)
    table_of = partial(_table, board)
    if fits(table_of(places), console):
        return [places]
    first = [place for place in places if board.columns[place].kind in ("metric", "rank")]
    tables = packed(first, table_of, console)
    for kind in ("health", "cost"):
        some = [place for place in places if board.columns[place].kind == kind]
        tables += packed(some, table_of, console)
    return tables


def _table(board: Board, places: Sequence[int]) -> Table:
    table = bare_table()
    table.add_column("", overflow="fold", max_width=_LABELS)
    widths = {place: max((len(texts.marks(row.cells[place])) for row in board.rows), default=0) for place in places}
    for place in places:
        table.add_column(_text(board.columns[place].heading), justify="right", overflow="fold")
    for index, row in enumerate(board.rows):
        if index and row.control and not board.rows[index - 1].control:
            table.add_section()
        figures = [_figure(row, place, board.columns[place], widths[place]) for place in places]
        table.add_row(_text(row.label), *figures)
    return table


def _figure(row: BoardRow, place: int, column: Column, mark_width: int) -> Text:
    """A cell: value and marks, and what stands below."""
    from rich.text import Text

    cell = row.cells[place]
    text = Text(texts.value(row, place, column), style="")
    if cell.level_with_best:
        text.stylize("bold")
    marks = texts.marks(cell)
    for mark in marks:
        text.append(mark, style=MARK_STYLES.get(mark, ""))
    text.append(" " * (mark_width - len(marks)))
    for line in texts.below(cell, column):
        text.append(f"\n{line}", style="dim")
    return text
