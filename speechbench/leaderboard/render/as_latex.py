"""The board in LaTeX, as papers have their tables: booktabs, and marks that are explained in the caption."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from speechbench.leaderboard.figures import Column
from speechbench.leaderboard.render import texts
from speechbench.leaderboard.statistics import ALPHA
from speechbench.leaderboard.table import Board, BoardRow, Cell
from speechbench.tables import counted, printable

_SIGNS = {"▲": r"\blacktriangle", "▼": r"\blacktriangledown", "†": r"\dagger", "‡": r"\ddagger", "*": "*", "!": "!"}
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "−": r"$-$",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "≥": r"$\geq$",
    "–": "--",
    "▲": r"$\blacktriangle$",
    "▼": r"$\blacktriangledown$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "α": r"$\alpha$",
}


def to_latex(board: Board) -> str:
    """The matrix of metrics and ranks as a float of LaTeX, with the packages it needs named in front.

    Health and costs are left to the other forms. What stands in the table was written by anyone: all that LaTeX would
    read as more than text is escaped, and characters that pdfLaTeX has no glyph for are named by their number.
    """
    columns = [(place, board.columns[place]) for place in texts.shown(board) if _is_shown(board.columns[place])]
    lines = [
        r"% \usepackage{booktabs,amssymb,textcomp}  \usepackage[T1]{fontenc}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_caption(board)}}}",
        rf"  \begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"    \toprule",
        _line(["", *(_plain(column.heading) for _, column in columns)]),
        r"    \midrule",
    ]
    for index, row in enumerate(board.rows):
        if index and row.control and not board.rows[index - 1].control:
            lines.append(r"    \midrule")
        lines += _row(row, columns)
    lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _is_shown(column: Column) -> bool:
    return column.kind in ("metric", "rank")


def _row(row: BoardRow, columns: Sequence[tuple[int, Column]]) -> list[str]:
    values = [_value(texts.value(row, place, column), row.cells[place]) for place, column in columns]
    lines = [_line([_plain(row.label), *values])]
    below = [_interval(row.cells[place], column) for place, column in columns]
    if any(below):
        lines.append(_line(["", *below]))
    return lines


def _value(value: str, cell: Cell) -> str:
    bold = rf"\textbf{{{_plain(value)}}}" if cell.level_with_best else _plain(value)
    marks = "".join(_SIGNS[mark] for mark in texts.marks(cell))
    return f"{bold}$^{{{marks}}}$" if marks else bold


def _interval(cell: Cell, column: Column) -> str:
    if cell.interval is None:
        return ""
    low, high = (f"{end:.{column.decimals}f}" for end in cell.interval)
    return rf"{{\scriptsize $[{low}, {high}]$}}"


def _caption(board: Board) -> str:
    level, number = board.clusters
    drawn = "" if level == "example" else f", drawn by {level} ({number})"
    text = (
        f"{board.benchmark}, {counted(board.examples, f'{board.split} example')}{drawn}; 95% bootstrap intervals over "
        "examples in brackets. * the row was trained on this metric; bold: the best of its column, and what is not "
        "separable from it"
    )
    if board.family:
        text += (
            f"; ▲ better, ▼ worse than base; † better, ‡ worse than SFT (p < {ALPHA} after Holm over "
            f"{counted(board.family, 'planned test')})"
        )
    ones = [row for row in board.rows if len(row.seeds) == 1]
    if ones:
        text += "; one seed: ranks checkpoints, not rewards"
    return _plain(text + ".")


def _line(cells: Sequence[str]) -> str:
    guard = "{}" if cells[0].lstrip().startswith(("[", "*")) else ""  # else an argument of the line end before
    return f"    {guard}{' & '.join(cells)} \\\\"


def _plain(text: str) -> str:
    return "".join(_SPECIAL.get(c, c if _is_known(c) else _named(c)) for c in printable(text).replace("\n", " "))


def _is_known(character: str) -> bool:
    """Whether pdfLaTeX with T1 fonts has the letter: ASCII, and Latin letters with their accents."""
    return character.isascii() or (ord(character) < 0x180 and unicodedata.category(character)[0] == "L")


def _named(character: str) -> str:
    return f"U+{ord(character):04X}"
