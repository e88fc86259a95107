"""Ranks as intervals, and the rank over all metrics."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbench.leaderboard import Board, leaderboard
from speechbench.leaderboard.ranks import FAMILIES, against, overall, own_families, ranked, ranks, reward_terms
from speechbench.runs import MetricInfo

MakeRun = Callable[..., Path]


def metric(name: str, family: str) -> MetricInfo:
    return MetricInfo(name, name, "mean", 100.0, {}, family=family)


def row(seeds: int = 2, reward: str | None = "bleu", families: tuple[str, ...] = (), **changes: Any) -> Any:
    info = SimpleNamespace(reward_families=families)
    fields = {
        "finished": (None,) * seeds, "is_control": False, "is_trained": True, "reward": reward,
        "runs": [SimpleNamespace(info=info)],
    }  # fmt: skip
    return SimpleNamespace(**{**fields, **changes})


@given(st.integers(2, 7), st.data())
def test_a_rank_is_between_one_and_all_and_counts_who_is_better_and_who_is_worse(
    rows: int, data: st.DataObject
) -> None:
    """For any verdicts, consistent or not."""
    group: Any = SimpleNamespace(rows=[row() for _ in range(rows)], metrics=[metric("bleu", "overlap")])
    pairs = list(combinations(range(rows), 2))
    drawn = data.draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=len(pairs), max_size=len(pairs)))
    verdicts = {("bleu", *pair): verdict for pair, verdict in zip(pairs, drawn, strict=True)}
    measured = data.draw(st.sets(st.integers(0, rows - 1), min_size=1))
    comparisons: Any = SimpleNamespace(verdicts=verdicts, measured=dict.fromkeys((place, "bleu") for place in measured))
    found = ranks(group, comparisons)
    assert found.keys() == {(place, "bleu") for place in measured}
    for (place, _), (low, high) in found.items():
        better = sum(verdicts["bleu", other, place] == 1 for other in measured if other < place)
        better += sum(verdicts["bleu", place, other] == -1 for other in measured if other > place)
        worse = sum(verdicts["bleu", other, place] == -1 for other in measured if other < place)
        worse += sum(verdicts["bleu", place, other] == 1 for other in measured if other > place)
        assert (low, high) == (1 + better, len(measured) - worse)
        assert 1 <= low <= high <= len(measured)
        for other in measured - {place}:
            assert against(comparisons, "bleu", place, other) == -against(comparisons, "bleu", other, place)


def test_controls_and_single_trainings_have_no_rank_and_alone_is_no_race() -> None:
    base = row(1, None, is_trained=False)
    group: Any = SimpleNamespace(rows=[base, row(), row(1), row(is_control=True), row(0), row(3)])
    assert ranked(group) == [0, 1, 5]
    group.rows = [base, row(), row(1)]
    assert ranked(group) == []


BLEU, CHRF, COMET, XCOMET, BINARY, LENGTH = (
    metric(*its)
    for its in (
        ("bleu", "overlap"), ("chrf", "overlap"), ("comet", "learned"), ("xcomet", "learned"), ("binary", "exact"),
        ("length", "control"),
    )
)  # fmt: skip


def test_families_weigh_the_same_whatever_their_size_and_ones_own_are_left_out() -> None:
    metrics = [BLEU, CHRF, COMET, XCOMET, BINARY, LENGTH]
    its = {"bleu": (1, 1), "chrf": (3, 5), "comet": (1, 3), "xcomet": (2, 6), "binary": (4, 4), "length": (6, 6)}
    sft = overall(row(reward=None), metrics, its)
    assert sft is not None
    assert (sft.low, sft.high) == pytest.approx(
        (((1 + 3) / 2 + (1 + 2) / 2 + 4) / 3, ((1 + 5) / 2 + (3 + 6) / 2 + 4) / 3)
    )
    assert (sft.families, sft.left_out) == (("overlap", "learned", "exact"), ())
    on_bleu = overall(row(), metrics, its)
    assert on_bleu is not None
    assert (on_bleu.low, on_bleu.high) == pytest.approx(((1.5 + 4) / 2, (4.5 + 4) / 2))
    assert (on_bleu.families, on_bleu.left_out) == (("learned", "exact"), ("overlap",))
    mixed = overall(row(reward="0.7*chrf + 0.3*comet"), metrics, its)
    assert mixed is not None and (mixed.families, mixed.left_out) == (("exact",), ("overlap", "learned"))
    assert (mixed.low, mixed.high) == (4, 4)


def test_the_family_of_a_reward_that_is_no_metric_is_left_out_too() -> None:
    """As its run says: chrF is not measured here, and overlaps all the same."""
    its, metrics = {"bleu": (1, 2), "comet": (2, 3)}, [BLEU, COMET]
    of_chrf = row(reward="chrf", families=("overlap",))
    assert own_families(of_chrf, metrics) == {"overlap"}
    found = overall(of_chrf, metrics, its)
    assert found is not None and (found.low, found.high, found.left_out) == (2, 3, ("overlap",))
    assert overall(row(reward="comet", families=("learned",)), [COMET], {"comet": (1, 1)}) is None
    nothing = overall(row(reward="judge", families=("embedding",)), metrics, its)
    assert nothing is not None and nothing.left_out == ()  # nothing of that family is measured
    assert overall(row(), [LENGTH], {"length": (1, 1)}) is None
    assert set(FAMILIES) == {"overlap", "embedding", "learned", "exact"}


def test_parts_of_a_combined_reward_are_its_terms() -> None:
    assert reward_terms("0.7*bleu + 0.3 * comet(model=a/b)") == {"bleu", "comet(model=a/b)"}
    assert reward_terms("bleu - 0.5*(chrf(word_order=2) + wer)*language") == {
        *("bleu", "chrf(word_order=2)", "wer", "language")
    }
    assert reward_terms("shuffled(0.7*bleu + 0.3*chrf)") == {"shuffled(0.7*bleu + 0.3*chrf)"}


@pytest.fixture
def board(make_run: MakeRun, tmp_path: Path) -> Board:
    """Two rewards far apart with seeds, and one training without."""
    make_run("base", 0.4, None)
    make_run("sft", 0.6)
    for seed in range(5):
        make_run("grpo(bleu)", 0.95, seed)
        make_run("grpo(comet)", 0.7, seed)
    (found,) = leaderboard(tmp_path / "runs", resamples=2000)
    return found


def test_on_the_board_rewards_are_ranked_against_base_and_each_other(board: Board) -> None:
    ranks_of = {its.label: [cell.rank for cell in its.cells[:2]] for its in board.rows}
    assert ranks_of == {
        "base": [(3, 3)] * 2, "sft": [None] * 2, "grpo(bleu)": [(1, 1)] * 2, "grpo(comet)": [(2, 2)] * 2
    }  # fmt: skip
    assert {its.label: its.overall is None for its in board.rows} == {
        "base": False, "sft": True, "grpo(bleu)": False, "grpo(comet)": False
    }  # fmt: skip
    bleu = board.rows[2].overall
    assert bleu is not None and bleu.left_out == ("overlap",) and bleu.families == ("learned", "exact")
    assert any(note.startswith("ranks are intervals") for note in board.notes)
    assert not any(cell.rank for its in board.rows for cell in its.cells[3:])


def test_without_seeds_there_is_no_rank(make_run: MakeRun, tmp_path: Path) -> None:
    for label, quality in (("sft", 0.6), ("grpo(bleu)", 0.9)):
        make_run(label, quality)
    (board,) = leaderboard(tmp_path / "runs", resamples=200)
    assert all(its.overall is None and not any(cell.rank for cell in its.cells) for its in board.rows)
    assert not any(note.startswith("ranks are intervals") for note in board.notes)
