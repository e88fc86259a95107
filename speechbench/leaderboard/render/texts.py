"""What stands in a cell, whoever draws it."""

from __future__ import annotations

from collections.abc import Sequence

from speechbench.leaderboard.comparisons import Comparison
from speechbench.leaderboard.figures import Column
from speechbench.leaderboard.goodhart import Gain, Goodhart
from speechbench.leaderboard.table import Board, BoardRow, Cell
from speechbench.tables import NOTHING, counted, interval_text, p_text

MARKS = {("base", 1): "▲", ("base", -1): "▼", ("sft", 1): "†", ("sft", -1): "‡"}
WORSE_HEALTH = "!"
GAINS = "gain over {against}, in per cent of its score"


def title(board: Board) -> str:
    """What stands over the board."""
    return f"{board.benchmark} · {board.ablation} · {counted(board.examples, f'{board.split} example')}"


def shown(board: Board) -> list[int]:
    """Places of the columns in which some row has a figure, all metrics among them."""
    return [
        place
        for place, column in enumerate(board.columns)
        if column.kind == "metric" or any(value(row, place, column) != NOTHING for row in board.rows)
    ]


def value(row: BoardRow, place: int, column: Column) -> str:
    """The figure of a cell."""
    if column.kind == "rank":
        return NOTHING if row.overall is None else rank(row.overall.low, row.overall.high)
    figure = row.cells[place].value
    if figure is None:
        return NOTHING
    if column.unit == "share":
        return f"{100 * figure:.{column.decimals}f}%"
    if column.unit == "bytes":
        return f"{figure / 1e9:.{column.decimals}f}"
    if column.unit == "count":
        return f"{figure:,.0f}"
    return f"{figure:.{column.decimals}f}"


def rank(low: float, high: float) -> str:
    """A rank interval: "2", "1–3", "1.5–2.5"."""
    ends = [f"{end:.1f}".removesuffix(".0") for end in (low, high)]
    return ends[0] if ends[0] == ends[1] else "\N{EN DASH}".join(ends)


def below(cell: Cell, column: Column) -> list[str]:
    """What stands under a figure: interval over examples, spread over seeds, rank, sampled score."""
    lines = []
    if cell.interval is not None:
        lines.append(interval_text(cell.interval, column.decimals))
    if cell.seeds is not None:
        lines.append(f"seeds ±{cell.seeds.standard_deviation:.{column.decimals}f}")
    if cell.rank is not None:
        lines.append(f"rank {rank(*cell.rank)}")
    if cell.sampled is not None:
        test = cell.sampled.base
        mark = "" if test is None else MARKS.get(("base", test.verdict), "")
        lines.append(f"sampled {cell.sampled.value:.{column.decimals}f}{mark}")
    return lines


def marks(cell: Cell) -> str:
    """`*` where trained on, the verdicts against base and against SFT, and `!` where health is worse than SFT's."""
    verdicts = (("base", cell.base), ("sft", cell.sft))
    signs = (MARKS.get((against, test.verdict), "") for against, test in verdicts if test is not None)
    return ("*" if cell.trained_on else "") + "".join(signs) + (WORSE_HEALTH if cell.worse_than_sft else "")


def tested(comparison: Comparison | None, column: Column) -> tuple[str, str]:
    """A difference, and its corrected p."""
    if comparison is None:
        return NOTHING, ""
    return f"{comparison.difference:+.{column.decimals}f}", p_text(comparison.p_holm)


def metrics(board: Board) -> list[Column]:
    """The columns that are metrics."""
    return [column for column in board.columns if column.kind == "metric"]


def gain(its: Gain | None) -> str:
    """A relative gain, with a star on the row's own metrics."""
    if its is None:
        return NOTHING
    return f"{percent(its.relative)}{'*' if its.is_own else ''}"


def percent(share: float | None) -> str:
    """A signed share, "+4.1%"."""
    return NOTHING if share is None else f"{100 * share:+.1f}%"


def gains_label(its: Goodhart, rows: Sequence[Goodhart]) -> str:
    """The row, and its baseline where not all have the same."""
    return its.label if len({row.against for row in rows}) == 1 else f"{its.label}, over {its.against}"


def gains_heading(rows: Sequence[Goodhart]) -> str:
    """What stands over the gains."""
    return GAINS.format(against=" or ".join(dict.fromkeys(row.against for row in rows)))
