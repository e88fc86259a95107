"""What stands on the board beside the metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from speechbench.leaderboard import Board, leaderboard
from speechbench.leaderboard.figures import FIGURES, RANK, Column, heading, is_worse, sft_place
from speechbench.leaderboard.render import texts
from speechbench.leaderboard.store import groups
from speechbench.runs import read_run, write_result

MakeRun = Callable[..., Path]
COLUMN = {column.key: column for column in FIGURES}


def change(
    folder: Path, log: list[Mapping[str, Any]] | None = None, health: dict[str, Any] | None = None, **result: Any
) -> None:
    """Changes what came out of a run."""
    run = read_run(folder)
    assert run.result is not None
    if log is not None:
        (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    changed = replace(run.result, health=replace(run.result.health, **(health or {})), **result)
    write_result(folder, changed)


def value(board: Board, label: str, key: str) -> float | None:
    row = next(row for row in board.rows if row.label == label)
    return row.cells[[column.key for column in board.columns].index(key)].value


def only(folder: Path) -> Board:
    (board,) = leaderboard(folder, resamples=20)
    return board


def test_figures_are_means_over_seeds_and_unknown_where_one_is(make_run: MakeRun, tmp_path: Path) -> None:
    for seed, seconds in enumerate((40.0, 60.0)):
        folder = make_run("grpo(bleu)", 0.6, seed)
        made = {"train": seconds, "sampling": 10.0, "scoring": 5.0 * seed, "evaluation": 3.0}
        change(
            folder, seconds=made, health={"wrong_language": None if seed else 0.5, "empty": seed / 2}, steps=100 + seed
        )
    change(folder, seconds=made, tokens={"train": 1000})
    board = only(tmp_path / "runs")
    expected = {
        "seconds": 50.0, "sampling": 10.0, "scoring": 2.5, "learning": None, "evaluation": 3.0, "memory": 2e9,
        "steps": 100.5, "tokens": None, "seeds": 2.0, "empty": 0.25, "wrong_language": None, "distinct": None,
    }  # fmt: skip
    assert {key: value(board, "grpo(bleu)", key) for key in expected} == expected
    assert {column.key for column in board.columns[4:]} == set(COLUMN) and board.columns[3] == RANK


def test_a_training_costs_what_its_stages_cost_too(make_run: MakeRun, tmp_path: Path) -> None:
    for label, start, seconds, tokens in (("sft", None, 40.0, 500), ("sft+grpo(bleu)", "sft-0", 60.0, 700)):
        folder = make_run(label, 0.6, start=start)
        change(
            folder,
            seconds={"train": seconds, "sampling": seconds / 4},
            tokens={"train": tokens, "evaluation": 9},
            steps=10,
        )
    make_run("sft+grpo(comet)", 0.6, start="elsewhere")
    make_run("base", 0.5, None)
    board = only(tmp_path / "runs")
    costs = ("seconds", "sampling", "tokens", "steps")
    assert [value(board, "sft", key) for key in costs] == [40.0, 10.0, 500, 10]
    assert [value(board, "sft+grpo(bleu)", key) for key in costs] == [100.0, 25.0, 1200, 20]
    assert [value(board, "sft+grpo(comet)", key) for key in costs] == [None] * 4  # what it cost before is not known
    assert [value(board, "base", key) for key in costs] == [None] * 4


def test_distinct_is_that_of_the_last_tenth_of_training(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("grpo(bleu)")
    log = [{"step": step, "distinct": 1.0 if step <= 27 else step / 100} for step in range(1, 31)]
    change(folder, log=[*log, {"step": 31, "note": "no figure"}])
    assert value(only(tmp_path / "runs"), "grpo(bleu)", "distinct") == pytest.approx((0.28 + 0.29 + 0.30) / 3)


@pytest.mark.parametrize(
    ("key", "mine", "sft", "expected"),
    [
        ("empty", 0.02, 0.01, True),
        ("empty", 0.01, 0.02, False),
        ("empty", 0.0104, 0.01, False),  # both are shown as 1.0%
        ("wrong_language", 0.5, None, False),
        ("wrong_language", None, 0.5, False),
        ("distinct", 0.5, 0.9, True),  # of this more is better
        ("distinct", 0.9, 0.5, False),
        ("length_ratio", 1.0, 0.8, False),
        ("length_ratio", 0.5, 0.9, True),
        ("length_ratio", 2.0, 0.6, True),  # twice as long is further from 1 than 0.6 times
        ("length_ratio", 2.0, 0.5, False),  # and as far as half as long
        ("length_ratio", 0.0, 0.5, True),
        ("length_ratio", 0.0, 0.0, False),
        ("length_ratio", 3.0, 0.0, False),  # of nothing written nothing is worse
        ("seconds", 100.0, 1.0, False),
        ("memory", 2e9, 1e9, False),
    ],
)
def test_health_is_worse_where_that_can_be_seen(key: str, mine: float, sft: float, expected: bool) -> None:
    assert is_worse(COLUMN[key], mine, sft) is expected


def test_worse_health_than_sfts_is_marked_on_trained_rows(make_run: MakeRun, tmp_path: Path) -> None:
    for label, copied in (("base", 0.9), ("sft", 0.2), ("grpo(bleu)", 0.3), ("grpo(comet)", 0.1)):
        change(make_run(label, 0.6, None if label == "base" else 0), health={"copied": copied})
    board = only(tmp_path / "runs")
    place = [column.key for column in board.columns].index("copied")
    marked = {row.label: texts.marks(row.cells[place]) for row in board.rows}
    assert marked == {"base": "", "sft": "", "grpo(bleu)": "!", "grpo(comet)": ""}


def test_with_two_sft_rows_there_is_none_to_compare_with(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("grpo(bleu)")
    (group,) = groups(tmp_path / "runs")
    assert sft_place(group.rows) is None
    make_run("sft", id="a")
    (group,) = groups(tmp_path / "runs")
    assert sft_place(group.rows) == 0
    make_run("sft", id="b", config={"steps": 7, "seed": 0})
    (group,) = groups(tmp_path / "runs")
    assert sft_place(group.rows) is None


def test_an_arrow_says_which_way_is_better() -> None:
    bleu, wer = (Column("m", "M", "metric", "points", 1, lower) for lower in (False, True))
    assert (bleu.heading, wer.heading, RANK.heading, COLUMN["empty"].heading) == ("M ↑", "M ↓", "rank", "empty")
    assert (heading("M", False), heading("M", True)) == ("M", "M ↓")


def test_a_run_that_starts_from_itself_has_no_cost_and_stops_nothing(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", 0.5, None)
    make_run("sft", 0.6, id="circle", start="circle")
    (board,) = leaderboard(tmp_path / "runs", resamples=50)
    place = [column.key for column in board.columns].index("seconds")
    assert [row.cells[place].value for row in board.rows] == [None, None]
