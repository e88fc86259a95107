"""Renderers of the one table: terminal, JSON, Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from speechbench.leaderboard.comparisons import Comparison
from speechbench.leaderboard.differences import HEADING, differences
from speechbench.leaderboard.table import Board, BoardRow, Cell, Column
from speechbench.tables import NOTHING, counted, fits, interval_text, p_text, packed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

JSON_SCHEMA = 1
MARKS = {("base", 1): "▲", ("base", -1): "▼", ("sft", 1): "†", ("sft", -1): "‡"}
MARK_STYLES = {"▲": "green", "▼": "red"}


def to_terminal(board: Board, console: Console) -> None:
    """Prints the board, in as many tables below each other as the console's width asks for."""
    from rich.padding import Padding
    from rich.text import Text

    console.print(Text(_title(board), style="bold"))
    for columns in _pack(board, console):
        console.print()
        console.print(_table(board, columns))
    if differences(board):
        console.print()
        console.print(_difference_table(board))
    console.print()
    for note in board.notes:
        console.print(Padding(Text(note, style="dim"), (0, 0, 0, 1)))


def to_json(board: Board) -> dict[str, Any]:
    """The board as plain data: figures by their column's key, every p with its difference and interval."""
    return {
        "schema": JSON_SCHEMA,
        "ablation": board.ablation,
        "benchmark": board.benchmark,
        "split": board.split,
        "data_fingerprint": board.data_fingerprint,
        "examples": board.examples,
        "resamples": board.resamples,
        "family": board.family,
        "sampled": None if board.sampled is None else asdict(board.sampled),
        "columns": [asdict(column) for column in board.columns],
        "rows": [_row_to_json(row, board.columns) for row in board.rows],
        "notes": list(board.notes),
    }


def to_markdown(board: Board) -> str:
    """The board as a Markdown table with its notes as a list."""
    header = ["", *(_plain(column.heading) for column in board.columns)]
    lines = [_line(header), _line(["---", *("---:" for _ in board.columns)])]
    lines += [
        _line([_plain(row.label), *(_markdown(*pair) for pair in zip(row.cells, board.columns, strict=True))])
        for row in board.rows
    ]
    tests = differences(board)
    if tests:
        metrics = [column for column in board.columns if column.kind == "metric"]
        lines += ["", _line([_plain(HEADING), *(_plain(column.heading) for column in metrics)])]
        lines += [_line(["---", *("---:" for _ in metrics)])]
        lines += [
            _line([_plain(test.label), *(text.replace("\n", ", ") for text in map(_test, test.comparisons, metrics))])
            for test in tests
        ]
    notes = [f"- {_plain(note)}" for note in board.notes]
    return "\n".join([f"**{_plain(_title(board))}**", "", *lines, "", *notes]) + "\n"


def _difference_table(board: Board) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(Text(HEADING), overflow="fold", max_width=32)
    metrics = [column for column in board.columns if column.kind == "metric"]
    for column in metrics:
        table.add_column(Text(column.heading), justify="right", overflow="fold")
    for test in differences(board):
        table.add_row(Text(test.label), *map(Text, map(_test, test.comparisons, metrics)))
    return table


def _test(comparison: Comparison | None, column: Column) -> str:
    """The difference, and on the next line its corrected p."""
    if comparison is None:
        return NOTHING
    return f"{comparison.difference:+.{column.decimals}f}\n{p_text(comparison.p_holm)}"


def _title(board: Board) -> str:
    return f"{board.benchmark} · {board.ablation} · {counted(board.examples, f'{board.split} example')}"


def _pack(board: Board, console: Console) -> list[list[int]]:
    """Places of the columns of each table: one table if it fits, else metrics first and the rest below."""
    places = list(range(len(board.columns)))
    table_of = partial(_table, board)
    if fits(table_of(places), console):
        return [places]
    metrics = [place for place in places if board.columns[place].kind == "metric"]
    others = [place for place in places if board.columns[place].kind != "metric"]
    return [table for part in (metrics, others) for table in packed(part, table_of, console)]


def _table(board: Board, places: Sequence[int]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold", max_width=32)
    widths = {place: max((len(_marks(row.cells[place])) for row in board.rows), default=0) for place in places}
    for place in places:
        table.add_column(Text(board.columns[place].heading), justify="right", overflow="fold")
    for index, row in enumerate(board.rows):
        if index and row.control and not board.rows[index - 1].control:
            table.add_section()
        figures = [_figure(row.cells[place], board.columns[place], widths[place]) for place in places]
        table.add_row(Text(row.label), *figures)
    return table


def _figure(cell: Cell, column: Column, mark_width: int) -> Text:
    """A cell: value and marks, below it the interval over examples, the spread over seeds, and the sampled score."""
    from rich.text import Text

    text = Text(_value(cell, column), style="")
    if cell.best:
        text.stylize("bold")
    marks = _marks(cell)
    for mark in marks:
        text.append(mark, style=MARK_STYLES.get(mark, ""))
    text.append(" " * (mark_width - len(marks)))
    for line in _below(cell, column):
        text.append(f"\n{line}", style="dim")
    return text


def _markdown(cell: Cell, column: Column) -> str:
    value = f"**{_value(cell, column)}**" if cell.best else _value(cell, column)
    below = "".join(f"<br><sub>{line}</sub>" for line in _below(cell, column))
    return value + _plain(_marks(cell)) + below


def _value(cell: Cell, column: Column) -> str:
    if cell.value is None:
        return NOTHING
    if column.unit == "share":
        return f"{100 * cell.value:.{column.decimals}f}%"
    return f"{cell.value:.{column.decimals}f}"


def _below(cell: Cell, column: Column) -> list[str]:
    lines = []
    if cell.interval is not None:
        lines.append(interval_text(cell.interval, column.decimals))
    if cell.seeds is not None:
        lines.append(f"seeds ±{cell.seeds.standard_deviation:.{column.decimals}f}")
    if cell.sampled is not None:
        test = cell.sampled.base
        mark = "" if test is None else MARKS.get(("base", test.verdict), "")
        lines.append(f"sampled {cell.sampled.value:.{column.decimals}f}{mark}")
    return lines


def _marks(cell: Cell) -> str:
    """`*` where trained on, then the verdicts against base and against SFT."""
    verdicts = (("base", cell.base), ("sft", cell.sft))
    signs = (MARKS.get((against, test.verdict), "") for against, test in verdicts if test is not None)
    return ("*" if cell.trained_on else "") + "".join(signs)


def _row_to_json(row: BoardRow, columns: Sequence[Column]) -> dict[str, Any]:
    pairs = list(zip(row.cells, columns, strict=True))
    return {
        "label": row.label,
        "trainer": row.trainer,
        "reward": row.reward,
        "control": row.control,
        "seeds": list(row.seeds),
        "run_ids": list(row.run_ids),
        "metrics": {column.key: asdict(cell) for cell, column in pairs if column.kind == "metric"},
        "health": {column.key: cell.value for cell, column in pairs if column.kind == "health"},
        "cost": {column.key: cell.value for cell, column in pairs if column.kind == "cost"},
    }


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Text that Markdown must not read as markup."""
    return "".join(f"\\{c}" if c in "\\*_[]<>|`" else c for c in text)
