"""The runs behind a board: how far each is, and why it is no further."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from speechbench.errors import SpeechbenchError
from speechbench.leaderboard import leaderboard, to_json
from speechbench.leaderboard.entries import Entry, entries
from speechbench.leaderboard.store import groups
from speechbench.locks import held
from speechbench.run_schema import SCHEMA
from speechbench.runs import write_failure

MakeRun = Callable[..., Path]


def found(folder: Path) -> dict[str, Entry]:
    (group,) = groups(folder)
    return {its.name: its for its in entries(group)}


def test_each_run_says_how_far_it_is(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", 0.6, None, provenance={"commit": "abc+", "threads": 2})
    make_run("sft", finished=False)
    begun = make_run("grpo(bleu)", finished=False, config={"max_steps": 100, "seed": 0})
    (begun / "train.jsonl").write_text('{"step": 1}\n{"note": "none"}\n{"step": 7}\n{"st')
    its = found(tmp_path / "runs")
    assert list(its) == ["base", "sft seed 0", "grpo(bleu) seed 0"]
    assert [each.state for each in its.values()] == ["finished", "unfinished", "unfinished"]
    assert [each.reason for each in its.values()] == [None, "not begun", "7 of 100 steps done"]
    assert its["base"].provenance == {"commit": "abc+", "threads": 2} and its["base"].schema == SCHEMA
    assert its["base"].folder == str(tmp_path / "runs" / "default" / "base-None")
    with held(begun):
        assert found(tmp_path / "runs")["grpo(bleu) seed 0"].reason == "7 of 100 steps done, under way or killed"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SpeechbenchError("the model\nis gone"), "the model is gone"),
        (ValueError("wrong\tshape"), "ValueError: wrong shape"),
        (MemoryError(), "MemoryError: MemoryError"),
    ],
)
def test_a_failed_run_says_why_until_it_is_finished(
    make_run: MakeRun, tmp_path: Path, error: Exception, reason: str
) -> None:
    make_run("base", 0.6, None)
    folder = make_run("sft", finished=False)
    write_failure(folder, error)
    its = found(tmp_path / "runs")["sft seed 0"]
    assert (its.state, its.reason) == ("failed", reason)
    (board,) = leaderboard(tmp_path / "runs", resamples=20)
    assert board.notes[:2] == ("1 of 2 runs finished; not yet: sft seed 0", f"sft seed 0 failed: {reason}")
    assert [(each["state"], each["reason"]) for each in to_json(board)["runs"]] == [
        ("finished", None),
        ("failed", reason),
    ]
    make_run("sft")
    assert found(tmp_path / "runs")["sft seed 0"].state == "finished"


def test_a_failure_that_cannot_be_read_is_none(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("sft", finished=False)
    (folder / "failure.json").write_text("{")
    assert found(tmp_path / "runs")["sft seed 0"].state == "unfinished"


def test_a_broken_log_is_a_failure(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("sft", finished=False)
    (folder / "train.jsonl").write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    its = found(tmp_path / "runs")["sft seed 0"]
    assert its.state == "failed" and its.reason is not None and "train.jsonl line 2 is broken" in its.reason


def test_a_finished_run_that_was_changed_has_failed(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", 0.6, None)
    folder = make_run("sft")
    (folder / "samples.jsonl").write_text("{}\n")
    its = found(tmp_path / "runs")["sft seed 0"]
    assert its.state == "failed" and its.reason is not None and "samples.jsonl was changed" in its.reason
