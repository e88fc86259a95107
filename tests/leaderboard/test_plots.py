"""Plots for papers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.leaderboard import Board
from speechbench.leaderboard.boards import read_boards
from speechbench.leaderboard.plots import PLOTS, draw
from speechbench.leaderboard.store import Group
from speechbench.runs import read_run, write_result

pytest.importorskip("matplotlib")
MakeRun = Callable[..., Path]


def logged(folder: Path, **curves: float) -> None:
    """Gives a run a log of twenty steps."""
    lines = [{"step": step, **{name: value * step for name, value in curves.items()}} for step in range(1, 21)]
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = read_run(folder).result
    if result is not None:
        write_result(folder, result)


@pytest.fixture
def found(make_run: MakeRun, tmp_path: Path) -> tuple[Group, Board]:
    make_run("base", 0.5, None)
    logged(make_run("sft", 0.6), loss=0.1)
    for seed in range(3):
        logged(make_run("grpo(bleu)", 0.8, seed), reward=0.01 + seed / 1000, kl=0.1)
    logged(make_run("grpo(comet)", 0.8, finished=False), reward=0.02)
    ((group, board),) = read_boards(tmp_path / "runs", 100)
    return group, board


def texts(path: Path) -> str:
    """What stands in an SVG: text that is text."""
    return " ".join(" ".join(node.itertext()) for node in ElementTree.parse(path).iter() if node.tag.endswith("}text"))


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_each_plot_is_drawn_in_each_form(
    found: tuple[Group, Board], tmp_path: Path, plot: str, suffix: str, start: bytes
) -> None:
    out = draw(*found, plot, tmp_path / f"plot{suffix}")
    assert out.read_bytes().startswith(start) and out.stat().st_size > 1000


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_the_same_board_is_the_same_file(found: tuple[Group, Board], tmp_path: Path, plot: str, suffix: str) -> None:
    one, two = (draw(*found, plot, tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
    assert one == two


def test_the_matrix_says_what_the_board_says(found: tuple[Group, Board], tmp_path: Path) -> None:
    text = texts(draw(*found, "matrix", tmp_path / "plot.svg"))
    _, board = found
    assert "covost2-mini · default · 60 test examples" in text and "BLEU ↑" in text
    for row in board.rows:
        assert row.label in text
        for cell in row.cells[:3]:
            assert ("–" if cell.value is None else f"{cell.value:.1f}") in text


def test_curves_are_of_all_that_was_logged_finished_or_not(found: tuple[Group, Board], tmp_path: Path) -> None:
    text = texts(draw(*found, "curves", tmp_path / "plot.svg"))
    for said in ("reward", "loss", "KL to the model before", "step", "grpo(bleu)", "grpo(comet)", "sft"):
        assert said in text
    assert "entropy" not in text and "base" not in text


def test_gains_and_rewards_are_drawn_of_what_was_trained_on_one(found: tuple[Group, Board], tmp_path: Path) -> None:
    group, board = found
    gains = texts(draw(group, board, "gains", tmp_path / "gains.svg"))
    assert "gain over sft" in gains and f"{100 * (board.goodhart[0].own_gain or 0):+.1f}%*" in gains
    scatter = texts(draw(group, board, "scatter", tmp_path / "scatter.svg"))
    assert "reward at the end of training" in scatter and "comet[tiny]" in scatter and "grpo(bleu)" in scatter
    assert "sft" not in scatter and "grpo(comet)" not in scatter


@pytest.mark.parametrize(
    ("plot", "said"),
    [("curves", "nothing was trained"), ("scatter", "no reward to draw"), ("gains", "no gains to draw")],
)
def test_nothing_to_draw_is_one_sentence(make_run: MakeRun, tmp_path: Path, plot: str, said: str) -> None:
    make_run("base", 0.5, None)
    ((group, board),) = read_boards(tmp_path / "runs", 50)
    with pytest.raises(SpeechbenchError, match=said) as caught:
        draw(group, board, plot, tmp_path / "plot.svg")
    assert "\n" not in str(caught.value) and not (tmp_path / "plot.svg").exists()


def test_a_board_without_any_figure_is_drawn(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", seed=None, finished=False)
    ((group, board),) = read_boards(tmp_path / "runs", 50)
    assert "base" in texts(draw(group, board, "matrix", tmp_path / "plot.svg"))


def test_a_log_that_cannot_be_read_is_left_out(make_run: MakeRun, tmp_path: Path) -> None:
    """It is listed on the board as broken, and the rest goes on."""
    logged(make_run("sft", 0.6), loss=0.1)
    for number, finished in enumerate((True, False)):
        folder = make_run("grpo(bleu)", 0.8, number, finished=finished)
        (folder / "train.jsonl").write_text('{"step": 1, "kl": 1}\nnonsense\n{"step": 2, "kl": 2}\n')
    ((group, board),) = read_boards(tmp_path / "runs", 50)
    text = texts(draw(group, board, "curves", tmp_path / "plot.svg"))
    assert "loss" in text and "sft" in text and "KL" not in text and "grpo" not in text


@pytest.mark.parametrize(("plot", "said"), [("curve", "did you mean 'curves'"), ("pie", "none of matrix, curves")])
def test_a_plot_that_is_none_is_refused_with_the_nearest(
    found: tuple[Group, Board], tmp_path: Path, plot: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        draw(*found, plot, tmp_path / "plot.svg")


def test_without_matplotlib_it_is_told_what_to_install(
    found: tuple[Group, Board], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingError, match=r"speechbench\[plots\]"):
        draw(*found, "matrix", tmp_path / "plot.svg")


@pytest.mark.parametrize("plot", PLOTS)
def test_names_are_only_drawn(found: tuple[Group, Board], tmp_path: Path, plot: str) -> None:
    """No formula, no markup, nothing that turns the direction."""
    group, board = found
    name = "$\\frac{a}$ <script>&amp; \x1b[2J\u202e_x_"
    rows = tuple(replace(row, label=name) for row in group.rows)
    metrics = tuple(replace(metric, display=name) for metric in group.metrics)
    columns = tuple(replace(column, title=name) for column in board.columns)
    changed = replace(
        board,
        benchmark=name,
        columns=columns,
        rows=tuple(replace(row, label=name) for row in board.rows),
        goodhart=tuple(replace(its, label=name) for its in board.goodhart),
    )
    text = texts(draw(replace(group, rows=rows, metrics=metrics), changed, plot, tmp_path / "plot.svg"))
    assert "$\\frac{a}$ <script>&amp; \\x1b[2J\\u202e_x_" in text
    assert not set(text) & {"\x1b", "\u202e"}
    assert b"<script>" not in (tmp_path / "plot.svg").read_bytes()
