"""What a reward gained on its own metric, and on the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from speechbench.leaderboard import Board, leaderboard
from speechbench.leaderboard.comparisons import Comparison
from speechbench.leaderboard.goodhart import OTHERS_LOSE, OWN_ALONE, Goodhart, goodhart
from speechbench.runs import MetricInfo

MakeRun = Callable[..., Path]

METRICS = [
    MetricInfo(name, name, "mean", 100.0, {}, name == "wer", family)
    for name, family in (("bleu", "overlap"), ("chrf", "overlap"), ("comet", "learned"), ("wer", "exact"))
]


def compared(difference: float, verdict: int, baseline: str = "sft", lower: bool = False) -> Comparison:
    p = 0.01 if verdict else 0.5
    sign = verdict or 1
    signed = sign * (-1 if lower else 1) * abs(difference)
    return Comparison(baseline, signed, (0, 1), p, p, 60, 50.0 - signed, lower_is_better=lower)


def found(reward: str | None, verdicts: dict[str, int], families: tuple[str, ...] = (), against: str = "sft") -> Any:
    """Of a row that scores 50 in each metric, each of them 10 away from the baseline."""
    info = SimpleNamespace(reward_families=families)
    row = SimpleNamespace(label="row", reward=reward, runs=[SimpleNamespace(info=info)])
    tests = {(0, name, against): compared(10, verdict, against, name == "wer") for name, verdict in verdicts.items()}
    measured = {(0, name): SimpleNamespace(score=50.0) for name in verdicts}
    group: Any = SimpleNamespace(rows=[row], metrics=METRICS)
    comparisons: Any = SimpleNamespace(tests=tests, measured=measured)
    its = goodhart(group, comparisons)
    return its[0] if its else None


def test_gains_are_relative_to_the_baselines_score_and_positive_where_better() -> None:
    its: Goodhart = found("bleu", {"bleu": 1, "chrf": 1, "comet": -1, "wer": 1})
    assert (its.label, its.against) == ("row", "sft")
    assert {name: gain.is_own for name, gain in its.gains.items()} == {
        "bleu": True, "chrf": False, "comet": False, "wer": False
    }  # fmt: skip
    assert its.gains["bleu"].relative == pytest.approx(10 / 40)
    assert its.gains["comet"].relative == pytest.approx(-10 / 60)
    assert its.gains["wer"].relative == pytest.approx(10 / 60) and its.gains["wer"].difference == -10
    assert its.own_gain == pytest.approx(10 / 40)
    assert its.others_gain == pytest.approx((-10 / 60 + 10 / 60) / 2)  # chrF overlaps as BLEU does: it is no other


@pytest.mark.parametrize(
    ("reward", "verdicts", "flag"),
    [
        ("bleu", {"bleu": 1, "comet": -1, "wer": 1}, OTHERS_LOSE),
        ("bleu", {"bleu": 1, "comet": 0, "wer": 0}, OWN_ALONE),
        ("bleu", {"bleu": 1, "comet": 1, "wer": 0}, None),
        ("bleu", {"bleu": 0, "comet": -1, "wer": -1}, None),  # it is bad, but not at its own gain
        ("bleu", {"bleu": 1, "chrf": -1, "comet": 1}, None),  # chrF is of its family
        ("bleu", {"bleu": 1, "chrf": 1}, None),  # there are no others to tell by
        ("wer", {"wer": 1, "comet": -1}, OTHERS_LOSE),
        ("wer", {"wer": -1, "comet": -1}, None),
        ("0.5*bleu + 0.5*comet", {"bleu": 0, "comet": 1, "wer": 0}, OWN_ALONE),
        ("judge", {"bleu": 1, "comet": -1}, None),  # its own is not measured
    ],
)
def test_a_gain_on_ones_own_metrics_alone_is_suspicious(
    reward: str, verdicts: dict[str, int], flag: str | None
) -> None:
    assert found(reward, verdicts).flag == flag


def test_others_are_of_other_families_as_the_run_says() -> None:
    its: Goodhart = found("mine", {"bleu": 1, "chrf": 1, "comet": 1, "wer": 0}, families=("overlap",))
    assert its.own_gain is None and its.others_gain == pytest.approx((10 / 40 + 10 / 60) / 2)
    assert its.flag is None


def test_without_sft_gains_are_over_base_and_without_a_baseline_there_are_none() -> None:
    assert found("bleu", {"bleu": 1}, against="base").against == "base"
    assert found("bleu", {}) is None and found(None, {"bleu": 1}) is None


def test_over_a_baseline_of_zero_no_gain_is_relative(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("sft", 0.2)  # no hypothesis is all right
    make_run("grpo(binary)", 0.98)
    (board,) = leaderboard(tmp_path / "runs", resamples=500)
    (its,) = board.goodhart
    assert board.rows[0].cells[2].value == 0.0
    assert its.gains["binary"].relative is None and its.gains["binary"].difference > 50
    assert its.own_gain is None and its.others_gain is not None
    assert its.flag is None


@pytest.fixture
def board(ablation: Path) -> Board:
    (found,) = leaderboard(ablation, resamples=2000)
    return found


def test_the_board_has_gains_of_every_reward(board: Board) -> None:
    assert [its.label for its in board.goodhart] == ["grpo(bleu)", "grpo(comet)", "mixed-grpo(bleu)", "grpo(random)"]
    values = {row.label: [cell.value or 0.0 for cell in row.cells[:3]] for row in board.rows}
    for its in board.goodhart:
        assert its.against == ("base" if its.label == "grpo(random)" else "sft")  # controls are tested against base
        assert its.gains.keys() == {"bleu", "comet", "binary"}
        for place, gain in enumerate(its.gains.values()):
            mine, before = values[its.label][place], values[its.against][place]
            assert gain.difference == pytest.approx(mine - before)
            assert gain.relative == (None if before == 0 else pytest.approx((mine - before) / before))
    own = {its.label: [name for name, gain in its.gains.items() if gain.is_own] for its in board.goodhart}
    assert own == {"grpo(bleu)": ["bleu"], "grpo(comet)": ["comet"], "mixed-grpo(bleu)": ["bleu"], "grpo(random)": []}


def test_p_is_that_of_the_board(board: Board) -> None:
    for its in board.goodhart:
        row = next(row for row in board.rows if row.label == its.label)
        tests = [getattr(cell, its.against) for cell in row.cells[:3]]
        assert [gain.p_holm for gain in its.gains.values()] == [test.p_holm for test in tests]
