"""The leaderboard as one HTML file: board, curves, runs and every test example, without a request to anywhere."""

from speechbench.leaderboard.page.assembling import page_html, write_page
from speechbench.leaderboard.page.commands import command_of

__all__ = ["command_of", "page_html", "write_page"]
