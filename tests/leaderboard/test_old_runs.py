"""Kept folders: what the code of schemas 1, 2 and 3 wrote, by that code, is read for ever."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from speechbench.aggregate import AGGREGATES
from speechbench.leaderboard import leaderboard
from speechbench.leaderboard.store import groups
from speechbench.runs import check_sealed

OLD_RUNS = Path(__file__).parent / "old_runs"


@pytest.fixture(params=[1, 2, 3])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[int, Path]:
    """A schema, and a copy of what was kept of it."""
    return request.param, Path(shutil.copytree(OLD_RUNS / f"schema-{request.param}", tmp_path / "old"))


def test_each_old_schema_makes_a_board(kept: tuple[int, Path]) -> None:
    schema, folder = kept
    (board,) = leaderboard(folder, 200)
    assert board.examples == 6 and board.broken == ()
    assert [row.label for row in board.rows] == ["base", "sft", "grpo(bleu)"]
    assert [(run.state, run.schema) for run in board.runs] == [("finished", schema)] * 3
    assert [column.family for column in board.columns[:3]] == ["overlap", "learned", "exact"]
    (gains,) = board.goodhart
    assert (gains.label, gains.against) == ("grpo(bleu)", "sft")
    results = [json.loads((folder / run.id / "result.json").read_text()) for run in board.runs]
    for row, result in zip(board.rows, results, strict=True):
        assert [cell.value for cell in row.cells[:3]] == pytest.approx(
            [its["corpus"] for its in result["metrics"].values()]
        )


def test_the_runs_are_whole_and_their_families_filled_in(kept: tuple[int, Path]) -> None:
    _, folder = kept
    (group,) = groups(folder)
    for run in group.runs:
        check_sealed(run.folder)
        assert run.result is not None and run.info.split == "test" and run.info.start is None
        assert run.info.reward_families == (("overlap",) if run.info.reward else ())
        assert [line["step"] for line in run.log] == ([1, 2] if run.info.trainer else [])
        for metric in run.info.metrics:
            corpus = float(AGGREGATES[metric.aggregate](run.samples.statistics[metric.name].sum(axis=0)))
            assert run.result.metrics[metric.name] == pytest.approx(corpus)
        assert run.samples.records[0].references and run.result.health.wrong_language is None


@pytest.mark.parametrize(
    ("name", "was", "edited"),
    [
        ("samples.jsonl", '"tokens": 9', '"tokens": 8'),
        ("train.jsonl", "0.5", "0.9"),
        ("run.json", '"steps": 100', '"steps": 300'),
        ("result.json", '"steps": 100', '"steps": 300'),
    ],
)
def test_what_was_edited_is_found_since_there_are_seals(
    kept: tuple[int, Path], name: str, was: str, edited: str
) -> None:
    schema, folder = kept
    path = folder / "sft-0" / name
    assert was in path.read_text()
    path.write_text(path.read_text().replace(was, edited))
    (board,) = leaderboard(folder, 200)
    if schema == 1:  # which had none
        assert board.broken == ()
    else:
        ((where, reason),) = board.broken
        assert where == str(folder / "sft-0") and f"{name} was changed or cut" in reason
        assert any(f"not read: {reason}" == note for note in board.notes)


def test_a_newer_schema_is_not_guessed_at(kept: tuple[int, Path]) -> None:
    _, folder = kept
    path = folder / "sft-0" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    (board,) = leaderboard(folder, 200)
    assert "schema 99, newer than" in board.broken[0][1]


def test_schemas_come_together(kept: tuple[int, Path]) -> None:
    """The same data measured with the same metrics is one board, whatever schema it was written in."""
    _, folder = kept
    (joint,) = leaderboard([folder, OLD_RUNS / "schema-3"], 200, together=True)
    assert [row.label for row in joint.rows] == ["base", "sft", "grpo(bleu)"]
