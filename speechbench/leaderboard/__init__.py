"""The leaderboard: reads run folders, computes one table, renders it. Imports no trainer and no model."""

from speechbench.leaderboard.boards import leaderboard
from speechbench.leaderboard.figures import Column
from speechbench.leaderboard.pairing import compare_runs
from speechbench.leaderboard.render import to_csv, to_json, to_latex, to_markdown, to_terminal
from speechbench.leaderboard.table import Board, BoardRow, Cell

__all__ = [
    "Board",
    "BoardRow",
    "Cell",
    "Column",
    "compare_runs",
    "leaderboard",
    "to_csv",
    "to_json",
    "to_latex",
    "to_markdown",
    "to_terminal",
]
