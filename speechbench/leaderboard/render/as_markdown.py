"""The board in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from speechbench.leaderboard.differences import HEADING, differences
from speechbench.leaderboard.figures import Column
from speechbench.leaderboard.render import texts
from speechbench.leaderboard.table import Board, Cell
from speechbench.tables import printable


def to_markdown(board: Board) -> str:
    """The board as Markdown tables with its notes as a list."""
    columns = [(place, board.columns[place]) for place in texts.shown(board)]
    lines = _head("", [column.heading for _, column in columns])
    for row in board.rows:
        cells = [_cell(texts.value(row, place, column), row.cells[place], column) for place, column in columns]
        lines.append(_line([_plain(row.label), *cells]))
    metrics = texts.metrics(board)
    tests = differences(board)
    if tests:
        lines += ["", *_head(HEADING, [column.heading for column in metrics])]
        for test in tests:
            pairs = [texts.tested(*pair) for pair in zip(test.comparisons, metrics, strict=True)]
            lines.append(_line([_plain(test.label), *(", ".join(filter(None, pair)) for pair in pairs)]))
    if board.goodhart:
        lines += ["", *_head(texts.gains_heading(board.goodhart), ["own", "others", *(c.title for c in metrics), ""])]
        for its in board.goodhart:
            gains = [_plain(texts.gain(its.gains.get(column.key))) for column in metrics]
            means = [texts.percent(its.own_gain), texts.percent(its.others_gain)]
            lines.append(
                _line([_plain(texts.gains_label(its, board.goodhart)), *means, *gains, _plain(its.flag or "")])
            )
    notes = [f"- {_plain(note)}" for note in board.notes]
    return "\n".join([f"**{_plain(texts.title(board))}**", "", *lines, "", *notes]) + "\n"


def _head(first: str, others: Sequence[str]) -> list[str]:
    return [_line([_plain(first), *map(_plain, others)]), _line(["---", *("---:" for _ in others)])]


def _cell(value: str, cell: Cell, column: Column) -> str:
    bold = f"**{value}**" if cell.level_with_best else value
    below = "".join(f"<br><sub>{line}</sub>" for line in texts.below(cell, column))
    return bold + _plain(texts.marks(cell)) + below


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Text that Markdown must not read as markup, nor a terminal as more than text."""
    return "".join(f"\\{c}" if c in "\\*_[]<>|`#&~$" else c for c in printable(text))
