"""The leaderboard: reads run folders, computes one table, renders it. Imports no trainer and no model."""

from speechbench.leaderboard.boards import leaderboard
from speechbench.leaderboard.export import export, html
from speechbench.leaderboard.figures import Column
from speechbench.leaderboard.pairing import compare
from speechbench.leaderboard.render import to_csv, to_json, to_latex, to_markdown, to_terminal
from speechbench.leaderboard.serving import serve
from speechbench.leaderboard.table import Board, BoardRow, Cell

show = leaderboard
"""As the command is called."""

__all__ = [
    "Board",
    "BoardRow",
    "Cell",
    "Column",
    "compare",
    "export",
    "html",
    "leaderboard",
    "serve",
    "show",
    "to_csv",
    "to_json",
    "to_latex",
    "to_markdown",
    "to_terminal",
]
