"""The leaderboard: reads run folders, computes one table, renders it. Imports no trainer and no model."""

from speechbench.leaderboard.render import to_json, to_markdown, to_terminal
from speechbench.leaderboard.table import Board, BoardRow, Cell, Column, leaderboard

__all__ = ["Board", "BoardRow", "Cell", "Column", "leaderboard", "to_json", "to_markdown", "to_terminal"]
