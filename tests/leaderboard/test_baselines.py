"""Which row each row is tested against."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from speechbench.grammar import parse_expression
from speechbench.leaderboard import Board, Cell, leaderboard
from speechbench.specs import Spec

MakeRun = Callable[..., Path]
B = 2000


def bleu(board: Board, label: str) -> Cell:
    return next(row for row in board.rows if row.label == label).cells[0]


def test_each_row_is_tested_against_the_base_of_its_own_weights(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", 0.5, None, id="base-a")
    make_run("base", 0.9, None, id="base-b", model="big", model_fingerprint="other")
    make_run("grpo(bleu)", 0.7)
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    test = bleu(board, "grpo(bleu)").base
    assert test is not None and test.verdict == 1
    assert {row.label for row in board.rows if row.trainer == "base"} == {
        "base model=tiny, weights=weights",
        "base model=big, weights=other",
    }


def test_a_chain_is_tested_against_its_own_sft(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", 0.5, None)
    for steps in (50, 100):
        make_run("sft", 0.6, id=f"sft-{steps}", config={"steps": steps, "seed": 0})
        config = {"steps": 10, "seed": 0, "start": {"steps": steps}}
        make_run("sft+grpo(bleu)", 0.7, id=f"grpo-{steps}", config=config, start=f"sft-{steps}")
    config = {"steps": 5, "seed": 0, "start": config}
    make_run("sft+grpo+last(bleu)", 0.8, config=config, start="grpo-100")
    make_run("grpo(bleu)", 0.7)
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    tests = {row.label: row.cells[0].sft for row in board.rows}
    assert {label: test and test.against for label, test in tests.items()} == {
        **dict.fromkeys(("base", "sft steps=50", "sft steps=100", "grpo(bleu)")),
        "sft+grpo(bleu) start.steps=50": "sft steps=50",
        "sft+grpo(bleu) start.steps=100": "sft steps=100",
        "sft+grpo+last(bleu)": "sft steps=100",
    }
    assert any(note.startswith("more than one sft row: rows are tested against the one") for note in board.notes)


def test_each_reward_is_tested_against_itself_shuffled(controlled: Path) -> None:
    (board,) = leaderboard(controlled, resamples=B)
    # base: 2 of sft and bleu's chain, 1 of grpo, 3 of the input, 4 control rewards; sft: 2; control: 2
    assert board.family == 3 * (10 + 2 + 2)
    against = {
        (row.label, comparison.against)
        for row in board.rows
        for comparison in (row.cells[0].sft, row.cells[0].control)
        if comparison is not None
    }
    rewarded = ("grpo(bleu)", "sft+grpo(bleu)")
    assert against == {
        (label, other) for label in rewarded for other in ("sft", label.replace("bleu", "shuffled(bleu)"))
    }
    test, one, two = (
        bleu(board, "grpo(bleu)").control,
        bleu(board, "grpo(bleu)").value,
        bleu(board, "grpo(shuffled(bleu))").value,
    )
    assert test is not None and one is not None and two is not None
    assert test.difference == pytest.approx(one - two) and test.verdict == 1
    assert not any("no metric" in note for note in board.notes)


def test_a_combined_reward_is_tested_against_itself_shuffled(make_run: MakeRun, tmp_path: Path) -> None:
    reward = parse_expression("0.7*bleu + 0.3*comet")
    shuffled = Spec("shuffled", arguments=(reward,))
    make_run("grpo(0.7*bleu + 0.3*comet)", 0.8, reward=str(reward))
    make_run("grpo(shuffled)", 0.4, reward=str(shuffled), has_control_reward=True)
    make_run("grpo(bleu)", 0.6)
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    alone, combined, control = board.rows
    assert combined.reward == "0.7*bleu + 0.3*comet" and control.reward == "shuffled(0.7*bleu + 0.3*comet)"
    tests = [(c.control.against, c.control.verdict) if c.control else None for c in combined.cells[:2]]
    assert tests == [("grpo(shuffled)", 1)] * 2
    assert all(c.control is None for c in alone.cells)
    assert [c.trained_on for c in combined.cells[:3]] == [True, True, False]


def test_a_control_has_the_settings_and_the_reward_of_its_row(make_run: MakeRun, tmp_path: Path) -> None:
    """Two files may hold a reward of one name; two learning rates are two experiments, in every stage."""

    def config(rate: float, start: float, file: str, shuffled: bool = False) -> dict[str, object]:
        inner = {"name": "mine", "file": file}
        signature = {"name": "shuffled", "version": 1, "reward": inner} if shuffled else inner
        before = {"lr": start, "reward_signature": signature}
        return {"lr": rate, "seed": 0, "reward_signature": signature, "start": before}

    make_run("grpo(mine)", id="row", config=config(0.1, 0.3, "a"))
    for other in ((0.2, 0.3, "a"), (0.1, 0.4, "a"), (0.1, 0.3, "b")):
        made = config(*other, shuffled=True)
        make_run("grpo(shuffled(mine))", id=f"other-{other}", config=made, has_control_reward=True)
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    assert board.rows[0].run_ids == ("row",) and board.rows[0].cells[0].control is None
    made = config(0.1, 0.3, "a", shuffled=True)
    make_run("grpo(shuffled(mine))", 0.9, id="control", config=made, has_control_reward=True)
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    test = board.rows[0].cells[0].control
    (control,) = (row for row in board.rows if row.run_ids == ("control",))
    assert test is not None and test.against == control.label
