"""Every renderer shows the same board."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from speechbench.leaderboard import Board, leaderboard, to_json, to_markdown, to_terminal
from speechbench.leaderboard.differences import differences
from speechbench.runs import MetricInfo

MakeRun = Callable[..., Path]


@pytest.fixture
def board(ablation: Path) -> Board:
    (found,) = leaderboard(ablation, resamples=2000)
    return found


def shown(board: Board, width: int, styled: bool = False) -> str:
    out = io.StringIO()
    colours = "standard" if styled else None
    to_terminal(board, Console(file=out, width=width, force_terminal=styled, color_system=colours))  # type: ignore[arg-type]
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_terminal_shows_everything_at_any_width(board: Board, width: int) -> None:
    text = shown(board, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for row in board.rows:
        assert row.label in text
        for cell in row.cells[:3]:
            assert cell.interval is not None
            low, high = cell.interval
            assert f"{cell.value:.1f}" in text and f"{low:.1f}\N{EN DASH}{high:.1f}" in text
    for column in board.columns:
        assert column.title in text
    words = " ".join(text.split())
    assert all(" ".join(note.split()) in words for note in board.notes)


def test_wide_terminals_get_one_table_and_narrow_ones_more(board: Board) -> None:
    tables = [shown(board, width).count("─\n") for width in (200, 80)]
    assert tables == [2, 3]  # and the differences


def test_differences_and_their_p_are_shown(board: Board) -> None:
    test = board.rows[2].cells[0].base
    assert test is not None
    text = " ".join(shown(board, 100).split())
    for part in ("grpo(bleu) − base", "grpo(bleu) − sft", f"{test.difference:+.1f}", f"p={test.p_holm:.2g}"):
        assert part in text
    assert f"{test.difference:+.1f}, p={test.p_holm:.2g}" in to_markdown(board)


def test_a_reward_against_its_control_is_shown(controlled: Path) -> None:
    (board,) = leaderboard(controlled, resamples=2000)
    row = next(row for row in board.rows if row.label == "sft+grpo(bleu)")
    test = row.cells[0].control
    assert test is not None
    label = "sft+grpo(bleu) − sft+grpo(shuffled(bleu))"
    (found,) = (difference for difference in differences(board) if difference.label == label)
    assert found.comparisons[0] == test
    narrow = shown(board, 80)
    assert f"sft+grpo(bleu) − {test.difference:+.1f}" in " ".join(narrow.split())
    assert any(line.startswith("sft+grpo(shuffled(bleu)) ") for line in narrow.splitlines())
    assert max(map(len, narrow.splitlines())) <= 80
    assert f"| {label} | {test.difference:+.1f}, p=" in to_markdown(board)
    given = next(row for row in to_json(board)["rows"] if row["label"] == "sft+grpo(bleu)")["metrics"]["bleu"][
        "control"
    ]
    assert (given["against"], given["p_holm"]) == ("sft+grpo(shuffled(bleu))", test.p_holm)


def test_marks_say_what_the_cells_hold(board: Board) -> None:
    line = next(line for line in shown(board, 200).splitlines() if line.startswith("grpo(bleu)"))
    trained = board.rows[2].cells[0]
    assert trained.base is not None and trained.sft is not None
    assert (trained.base.verdict, trained.sft.verdict) == (1, 1)
    assert f"{trained.value:.1f}*▲†" in line
    worse = replace(trained.base, difference=-1.0), replace(trained.sft, difference=-1.0)
    cells = (replace(trained, base=worse[0], sft=worse[1], trained_on=False), *board.rows[2].cells[1:])
    changed = replace(board, rows=(replace(board.rows[2], cells=cells),))
    assert f"{trained.value:.1f}▼‡" in shown(changed, 200)
    unsure = replace(trained.base, p_holm=0.06)
    cells = (replace(trained, base=unsure, sft=None), *board.rows[2].cells[1:])
    assert f"{trained.value:.1f}* " in shown(replace(board, rows=(replace(board.rows[2], cells=cells),)), 200)


def test_best_is_bold(board: Board) -> None:
    text = shown(board, 200, styled=True)
    for place in range(3):
        for row in board.rows:
            cell = row.cells[place]
            assert (f"\x1b[1m{cell.value:.1f}\x1b[0m" in text) == cell.best


def test_an_arrow_says_where_lower_is_better(board: Board, with_wer: tuple[MetricInfo, ...]) -> None:
    """In every renderer, over the scores and over the differences, and nowhere else."""
    columns = (*board.columns[:2], replace(board.columns[2], title="WER", lower_is_better=True), *board.columns[3:])
    for found, arrows in ((board, 0), (replace(board, columns=columns), 2)):
        for text in (shown(found, 200), to_markdown(found)):
            tables = text.split("test examples; 95%")[0]
            assert tables.count("WER ↓") == tables.count("↓") == arrows
        told = [column["lower_is_better"] for column in to_json(found)["columns"]]
        assert told == [False, False, arrows > 0, *[False] * 7]


def test_the_arrow_is_explained(make_run: MakeRun, tmp_path: Path, with_wer: tuple[MetricInfo, ...]) -> None:
    for metrics, is_explained in ((with_wer[:3], False), (with_wer, True)):
        make_run("base", 0.5, None, metrics=metrics)
        (board,) = leaderboard(tmp_path / "runs", resamples=50)
        assert any("↓ lower is better" in note for note in board.notes) == is_explained


def test_differences_have_the_decimals_of_their_column(board: Board) -> None:
    columns = (replace(board.columns[0], decimals=3), *board.columns[1:])
    test = board.rows[2].cells[0].base
    assert test is not None
    fine = replace(board, columns=columns)
    assert f"{test.difference:+.3f}" in shown(fine, 200) and f"{test.difference:+.3f}, p=" in to_markdown(fine)


def test_negative_intervals_are_readable(board: Board) -> None:
    cell = replace(board.rows[0].cells[0], value=-1.0, interval=(-3.14, -0.12))
    row = replace(board.rows[0], cells=(cell, *board.rows[0].cells[1:]))
    assert "-3.1 to -0.1" in shown(replace(board, rows=(row,)), 200)


def test_json_holds_every_figure(board: Board) -> None:
    content = json.loads(json.dumps(to_json(board), allow_nan=False))
    assert content["schema"] == 1 and content["notes"] == list(board.notes)
    row, given = content["rows"][2], board.rows[2]
    assert (row["label"], row["seeds"], row["control"]) == ("grpo(bleu)", [0, 1], False)
    cell = given.cells[0]
    assert cell.base is not None and cell.seeds is not None
    assert row["metrics"]["bleu"]["value"] == cell.value
    assert row["metrics"]["bleu"]["base"]["p_holm"] == cell.base.p_holm
    assert row["metrics"]["bleu"]["seeds"]["standard_deviation"] == cell.seeds.standard_deviation
    assert {**row["metrics"], **row["health"], **row["cost"]}.keys() == {column.key for column in board.columns}


def test_markdown_is_a_table(board: Board) -> None:
    lines = to_markdown(board).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(board.rows) + 2 + len(differences(board))
    assert {line.replace("\\|", "").count("|") for line in table[: 2 + len(board.rows)]} == {len(board.columns) + 2}
    assert "comet\\[tiny\\]" in table[0]
    best = board.rows[2].cells[0]
    assert best.best and f"**{best.value:.1f}**\\*▲†<br><sub>" in table[4]
    assert lines[-1].startswith("- ")
