"""Renderers of the one table, one for each form: text, figures and marks are the same in all."""

from speechbench.leaderboard.render.as_csv import to_csv
from speechbench.leaderboard.render.as_json import to_json
from speechbench.leaderboard.render.as_latex import to_latex
from speechbench.leaderboard.render.as_markdown import to_markdown
from speechbench.leaderboard.render.as_terminal import to_terminal

__all__ = ["to_csv", "to_json", "to_latex", "to_markdown", "to_terminal"]
