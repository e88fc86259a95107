"""From folders to boards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from speechbench.errors import SpeechbenchError, UsageError
from speechbench.leaderboard import Board, leaderboard
from speechbench.leaderboard.boards import read_boards
from speechbench.leaderboard.statistics import smallest_p

MakeRun = Callable[..., Path]
B = 200


@pytest.fixture
def two(make_run: MakeRun, tmp_path: Path) -> Path:
    """Two ablations on the same data, each with a base of its own."""
    for ablation, label in (("one", "sft"), ("two", "grpo(bleu)")):
        make_run("base", 0.5, None, ablation=ablation)
        make_run(label, 0.8, ablation=ablation)
    return tmp_path / "runs"


def labels(boards: list[Board]) -> dict[str, list[str]]:
    return {board.ablation: [row.label for row in board.rows] for board in boards}


def test_each_ablation_has_its_board_wherever_it_lies(two: Path) -> None:
    expected = {"one": ["base", "sft"], "two": ["base", "grpo(bleu)"]}
    assert labels(leaderboard(two, B)) == expected
    assert labels(leaderboard([two / "two", two / "one"], B)) == expected
    assert labels(leaderboard(two / "one", B)) == {"one": expected["one"]}
    assert labels(leaderboard(str(two), B, only=["base-None"])) == {"one": ["base"], "two": ["base"]}


def test_together_they_have_one(two: Path) -> None:
    (board,) = leaderboard(two, B, together=True)
    assert labels([board]) == {"one + two": ["base", "sft", "grpo(bleu)"]}
    assert board.family == 3 * (2 + 1)  # of both against the one base, and against the other's SFT
    assert [run.id for run in board.runs] == ["base-None", "sft-0", "grpo-bleu-0"]


def test_a_board_comes_with_its_runs(two: Path) -> None:
    for group, board in read_boards(two, B):
        assert group.ablation == board.ablation and [row.label for row in group.rows] == [r.label for r in board.rows]


def test_what_is_broken_is_listed_and_told(two: Path) -> None:
    (two / "one" / "sft-0" / "run.json").write_text("{")
    one, other = leaderboard(two, B)
    ((folder, reason),) = one.broken
    assert folder == str(two / "one" / "sft-0") and "run.json is broken" in reason
    assert f"not read: {reason}" in one.notes and other.broken == ()


def test_nothing_readable_is_an_error(two: Path) -> None:
    for path in two.glob("*/*/run.json"):
        path.write_text("{")
    with pytest.raises(SpeechbenchError, match="holds no run that can be read"):
        leaderboard(two, B)
    with pytest.raises(SpeechbenchError, match="there is no folder"):
        leaderboard(two / "nowhere")


def test_resamples_and_test_are_those_asked_for(two: Path) -> None:
    for test, said in (("bootstrap", "paired for p"), ("randomisation", "p from approximate randomisation")):
        board = leaderboard(two / "one", B, test=test)[0]
        assert (board.test, board.resamples, board.most_resamples) == (test, B, B)
        assert any(f"{B} bootstrap resamples, {said}; smallest attainable p" in note for note in board.notes)
    with pytest.raises(UsageError, match="resamples=0"):
        leaderboard(two, 0)
    with pytest.raises(UsageError, match="did you mean 'bootstrap'"):
        leaderboard(two, test="bootstrp")


def test_unless_told_otherwise_a_board_resamples_until_its_verdicts_are_settled(
    make_run: MakeRun, tmp_path: Path
) -> None:
    """A family so large that 2,000 resamples could never show a difference."""
    make_run("base", 0.2, None)
    for place in range(40):
        make_run(
            "grpo(bleu)",
            0.9 if place == 0 else 0.2,
            id=f"{place}",
            config={"steps": place, "seed": 0},
            finished=not place,
        )
    (board,) = leaderboard(tmp_path / "runs")
    assert board.family == 3 * 40
    pairs = 41 * 40 / 2  # of each metric, for the ranks
    assert board.resamples == 2000 < board.most_resamples <= 20 * pairs / board.alpha
    raw, corrected = board.smallest_p
    assert raw == smallest_p(board.most_resamples, 60, "bootstrap") and corrected == board.family * raw < board.alpha
    test = next(row for row in board.rows if row.run_ids == ("0",)).cells[0].base
    assert test is not None and test.verdict == 1 and test.resamples > 2000
    (note,) = [note for note in board.notes if "smallest attainable p" in note]
    assert f"(up to {board.most_resamples} where that left a verdict open)" in note
    (fixed,) = leaderboard(tmp_path / "runs", 2000)
    test = next(row for row in fixed.rows if row.run_ids == ("0",)).cells[0].base
    assert test is not None and test.verdict == 0  # too few resamples to tell


def test_ticks_tell_how_far_it_is(two: Path) -> None:
    told: list[tuple[str, int, int]] = []
    leaderboard(two, B, tick=lambda *its: told.append(its))
    assert told == [("resampling", B, B)] * 2
