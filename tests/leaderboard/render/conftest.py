"""Boards to render: one as it comes, and one whose every text was written by someone who means harm."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from speechbench.leaderboard import Board, leaderboard, to_terminal
from speechbench.leaderboard.table import BoardRow, Cell

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202e\n| <b>x</b> [red] \\input{/etc/passwd} $x^^41_%&#~ `rm`"
Renamed = Callable[[str], Board]


@pytest.fixture
def board(ablation: Path) -> Board:
    (found,) = leaderboard(ablation, resamples=2000)
    return found


def renamed_to(board: Board, text: str) -> Board:
    """The board with this text wherever something may have been named by its user, or written by a model."""

    def cell(its: Cell) -> Cell:
        tests = {name: getattr(its, name) for name in ("base", "sft", "control")}
        return replace(its, **{k: None if v is None else replace(v, against=text) for k, v in tests.items()})

    def row(its: BoardRow) -> BoardRow:
        cells = tuple(map(cell, its.cells))
        reward = None if its.reward is None else text
        return replace(its, label=text, trainer=text, reward=reward, run_ids=(text,), cells=cells)

    metrics = [replace(column, key=f"{text}{n}", title=text) for n, column in enumerate(board.columns[:3])]
    return replace(
        board,
        ablation=text,
        benchmark=text,
        split=text,
        columns=(*metrics, *board.columns[3:]),
        rows=tuple(map(row, board.rows)),
        goodhart=tuple(replace(its, label=text, against=text) for its in board.goodhart),
        broken=((text, text),),
        notes=(text,),
    )


@pytest.fixture
def renamed(board: Board) -> Renamed:
    return lambda text: renamed_to(board, text)


@pytest.fixture
def hostile(board: Board) -> Board:
    return renamed_to(board, HOSTILE)


@pytest.fixture
def show() -> Callable[..., str]:
    """What a terminal of this width shows."""

    def shown(board: Board, width: int = 200, styled: bool = False) -> str:
        out = io.StringIO()
        colours = "standard" if styled else None
        to_terminal(board, Console(file=out, width=width, force_terminal=styled, color_system=colours))  # type: ignore[arg-type]
        return out.getvalue()

    return shown
