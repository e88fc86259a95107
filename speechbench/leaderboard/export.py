"""Boards as files: the suffix says in which form."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from speechbench.errors import UsageError
from speechbench.leaderboard.boards import read_boards
from speechbench.leaderboard.counting import Tick
from speechbench.leaderboard.render import to_csv, to_json, to_latex, to_markdown
from speechbench.leaderboard.store import Group
from speechbench.leaderboard.table import Board
from speechbench.run_files import probe, replace

TEXTS: dict[str, Callable[[Sequence[Board]], str]] = {
    ".md": lambda boards: "\n".join(to_markdown(board) for board in boards),
    ".tex": lambda boards: "\n".join(to_latex(board) for board in boards),
    ".csv": lambda boards: to_csv(*boards),
    ".json": lambda boards: json.dumps([to_json(board) for board in boards], indent=1) + "\n",
}
PLOTS = (".png", ".pdf", ".svg")
PAGE = ".html"


def export(
    out: Path | str,
    folders: Path | str | Sequence[Path | str] = "runs",
    plot: str | None = None,
    resamples: int | None = None,
    only: Collection[str] | None = None,
    together: bool = False,
    test: str = "bootstrap",
    tick: Tick | None = None,
) -> Path:
    """Writes boards to a file.

    Args:
        out: The file; .md, .tex, .csv, .json and .html hold all boards, .png, .pdf and .svg draw the only one.
        folders: As of `leaderboard`, and so are the others but
        plot: What is drawn: "matrix", "curves", "scatter" or "gains"; the matrix by default.

    Returns:
        The file.

    Raises:
        UsageError: If the suffix is none of these, nothing is drawn in this form, or several boards would be.
        SpeechbenchError: As `leaderboard`; if matplotlib is missing.
        OSError: If the file cannot be written.
    """
    out = Path(out)
    suffix = out.suffix.lower()
    if suffix not in (*TEXTS, *PLOTS, PAGE):
        raise UsageError(f"{out}: the suffix says the form, choose one of {', '.join((*TEXTS, PAGE, *PLOTS))}")
    if plot is not None and suffix not in PLOTS:
        raise UsageError(f"plot={plot} is drawn into {', '.join(PLOTS)}, not {suffix}: name another file")
    if suffix == PAGE:
        return html(folders, out, "link", resamples, only, together, test, tick)
    probe(out)
    found = read_boards(folders, resamples, only, together, test, tick)
    if suffix in TEXTS:
        return replace(out, TEXTS[suffix]([board for _, board in found]))
    return _drawn(out, found, plot or "matrix")


def html(
    folders: Path | str | Sequence[Path | str] = "runs",
    out: Path | str = "leaderboard.html",
    audio: str = "link",
    resamples: int | None = None,
    only: Collection[str] | None = None,
    together: bool = False,
    test: str = "bootstrap",
    tick: Tick | None = None,
) -> Path:
    """Writes all boards as one HTML page that needs nothing but itself.

    Args:
        folders: As of `leaderboard`, and so are the others but
        out: The file.
        audio: "link" to the recordings where they lie, "embed" them, or "none".

    Returns:
        The file.

    Raises:
        UsageError: If there is no such way with recordings.
        SpeechbenchError: As `leaderboard`.
        OSError: If the file cannot be written.
    """
    from speechbench.leaderboard.page import write_page

    probe(Path(out))
    found = read_boards(folders, resamples, only, together, test, tick)
    return write_page([group for group, _ in found], [to_json(board) for _, board in found], out, audio)


def _drawn(out: Path, found: Sequence[tuple[Group, Board]], plot: str) -> Path:
    from speechbench.leaderboard.plots import draw

    if len(found) > 1:
        names = ", ".join(f"{board.ablation} ({board.benchmark})" for _, board in found)
        raise UsageError(f"there are {len(found)} boards, and {out} draws one: name the folder of one of {names}")
    ((group, board),) = found
    return draw(group, board, plot, out)
