"""The board in a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechbench.leaderboard import Board, leaderboard, to_json, to_markdown
from speechbench.leaderboard.differences import differences
from speechbench.leaderboard.render import texts

Show = Callable[..., str]
Renamed = Callable[[str], Board]


@pytest.mark.parametrize("width", [60, 80, 100, 200, 400])
def test_the_terminal_shows_everything_at_any_width(board: Board, width: int, show: Show) -> None:
    text = show(board, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for row in board.rows:
        assert row.label in text
        for cell in row.cells[:3]:
            assert cell.interval is not None
            low, high = cell.interval
            assert f"{cell.value:.1f}" in text and f"{low:.1f}\N{EN DASH}{high:.1f}" in text
    for place in texts.shown(board):
        assert board.columns[place].heading in text
    words = " ".join(text.split())
    assert all(" ".join(note.split()) in words for note in board.notes)


def test_columns_without_any_figure_are_left_out(board: Board, show: Show) -> None:
    keys = [board.columns[place].key for place in texts.shown(board)]
    assert "distinct" not in keys and "sampling" not in keys and {"bleu", "rank", "empty", "seeds"} <= set(keys)
    text = show(board)
    assert "distinct" not in text and "sample s" not in text
    empty = replace(
        board,
        rows=tuple(replace(row, cells=(row.cells[0], *[replace(row.cells[0], value=None)] * 19)) for row in board.rows),
    )
    assert [place for place in texts.shown(empty) if board.columns[place].kind == "metric"] == [0, 1, 2]


def test_wide_terminals_get_one_table_and_narrow_ones_more(board: Board, show: Show) -> None:
    tables = [show(board, width).count("─\n") for width in (300, 100)]
    assert tables[0] == 3  # and the differences, and the gains
    assert tables[1] == 5  # metrics, health and cost


def test_differences_and_their_p_are_shown(board: Board, show: Show) -> None:
    test = board.rows[2].cells[0].base
    assert test is not None
    text = " ".join(show(board, 100).split())
    for part in ("grpo(bleu) − base", "grpo(bleu) − sft", f"{test.difference:+.1f}", f"p={test.p_holm:.2g}"):
        assert part in text


def test_a_reward_against_its_control_is_shown(controlled: Path, show: Show) -> None:
    (board,) = leaderboard(controlled, resamples=2000)
    row = next(row for row in board.rows if row.label == "sft+grpo(bleu)")
    test = row.cells[0].control
    assert test is not None
    label = "sft+grpo(bleu) − sft+grpo(shuffled(bleu))"
    (found,) = (difference for difference in differences(board) if difference.label == label)
    assert found.comparisons[0] == test
    narrow = show(board, 80)
    assert f"sft+grpo(bleu) − {test.difference:+.1f}" in " ".join(narrow.split())
    assert any(line.startswith("sft+grpo(shuffled(bleu)) ") for line in narrow.splitlines())
    assert max(map(len, narrow.splitlines())) <= 80
    assert f"| {label} | {test.difference:+.1f}, p" in to_markdown(board)
    given = next(row for row in to_json(board)["rows"] if row["label"] == "sft+grpo(bleu)")["cells"]["bleu"]["control"]
    assert (given["against"], given["p_holm"]) == ("sft+grpo(shuffled(bleu))", test.p_holm)


def test_marks_say_what_the_cells_hold(board: Board, show: Show) -> None:
    line = next(line for line in show(board).splitlines() if line.startswith("grpo(bleu)"))
    trained = board.rows[2].cells[0]
    assert trained.base is not None and trained.sft is not None
    assert (trained.base.verdict, trained.sft.verdict) == (1, 1)
    assert f"{trained.value:.1f}*▲†" in line
    worse = replace(trained.base, difference=-1.0), replace(trained.sft, difference=-1.0)
    unsure = replace(trained.base, p_holm=0.06)
    for cell, marks in (
        (replace(trained, base=worse[0], sft=worse[1], trained_on=False), "▼‡"),
        (replace(trained, base=unsure, sft=None), "* "),
        (replace(trained, base=None, sft=None, trained_on=False, worse_than_sft=True), "!"),
    ):
        changed = replace(board, rows=(replace(board.rows[2], cells=(cell, *board.rows[2].cells[1:])),))
        assert f"{trained.value:.1f}{marks}" in show(changed)


def test_what_is_level_with_the_best_is_bold_and_nothing_else(board: Board, show: Show) -> None:
    assert any(cell.level_with_best and not cell.best for row in board.rows for cell in row.cells)
    for row in board.rows:
        for place in range(3):
            alone = replace(board, rows=(row,), goodhart=(), notes=())
            cell = row.cells[place]
            assert (f"\x1b[1m{cell.value:.1f}\x1b[0m" in show(alone, styled=True)) == cell.level_with_best


def test_ranks_stand_under_the_scores_and_over_all(board: Board, show: Show) -> None:
    row = next(row for row in board.rows if row.overall is not None and row.cells[0].rank is not None)
    alone = show(replace(board, rows=(row,)))
    assert row.overall is not None and row.cells[0].rank is not None
    assert f"rank {texts.rank(*row.cells[0].rank)}" in alone
    assert texts.rank(row.overall.low, row.overall.high) in alone.split("difference, p")[0]


def test_suspicious_gains_are_told_with_the_row(board: Board, show: Show) -> None:
    flagged = replace(board.goodhart[0], flag="gains on its own metrics alone")
    for width in (80, 300):
        words = " ".join(show(replace(board, goodhart=(flagged,)), width).split())
        assert "gain over sft, in per cent" in words and "gains on its own" in words
    assert "gain over" not in show(replace(board, goodhart=()))


def test_differences_have_the_decimals_of_their_column(board: Board, show: Show) -> None:
    columns = (replace(board.columns[0], decimals=3), *board.columns[1:])
    test = board.rows[2].cells[0].base
    assert test is not None
    assert f"{test.difference:+.3f}" in show(replace(board, columns=columns))


def test_negative_intervals_are_readable(board: Board, show: Show) -> None:
    cell = replace(board.rows[0].cells[0], value=-1.0, interval=(-3.14, -0.12))
    row = replace(board.rows[0], cells=(cell, *board.rows[0].cells[1:]))
    assert "-3.1 to -0.1" in show(replace(board, rows=(row,)))


@pytest.mark.parametrize("width", [60, 400])
def test_what_was_named_to_do_harm_only_stands_there(hostile: Board, width: int, show: Show) -> None:
    text = show(hostile, width)
    assert not {c for c in text if unicodedata.category(c) in ("Cc", "Cs")} - {"\n"} and "\u202e" not in text
    if width == 400:
        assert "\\x1b]0;owned\\x07\\x1b[2J\\u202e\\n| <b>x</b> [red] \\input{/etc/passwd}" in text


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=40))
def test_whatever_it_is_called_nothing_acts(renamed: Renamed, show: Show, text: str) -> None:
    shown = show(renamed(text), 120)
    kinds = {unicodedata.category(character) for character in shown.replace("\n", "")}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
