"""The board as comma-separated values."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechbench.leaderboard import Board, to_csv

Renamed = Callable[[str], Board]
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_figures_are_those_of_the_board_unrounded(board: Board) -> None:
    rows = read(to_csv(board))
    assert [row["row"] for row in rows] == [row.label for row in board.rows]
    for given_, row in zip(rows, board.rows, strict=True):
        for cell, column in zip(row.cells, board.columns, strict=True):
            if column.kind != "rank":
                assert (float(given_[column.key]) if given_[column.key] else None) == cell.value
            if column.kind == "metric":
                assert cell.interval is not None
                ends = float(given_[f"{column.key} low"]), float(given_[f"{column.key} high"])
                assert ends == cell.interval
                assert given_[f"{column.key} level with best"] == ("yes" if cell.level_with_best else "no")
                assert given_[f"{column.key} trained on"] == ("yes" if cell.trained_on else "no")
                spread = given_[f"{column.key} sd over seeds"]
                assert (float(spread) if spread else None) == (cell.seeds and cell.seeds.standard_deviation)
                for baseline in ("base", "sft", "control"):
                    test = getattr(cell, baseline)
                    figures = [given_[f"{column.key} vs {baseline} {what}"] for what in ("difference", "p", "p holm")]
                    expected = [None] * 3 if test is None else [test.difference, test.p, test.p_holm]
                    assert [float(its) if its else None for its in figures] == expected
        low, high = given_["rank low"], given_["rank high"]
        overall = (row.overall.low, row.overall.high) if row.overall else (None, None)
        assert (float(low) if low else None, float(high) if high else None) == overall
        assert given_["seed numbers"].split() == [str(seed) for seed in row.seeds]
        assert given_["runs"].split() == list(row.run_ids)
        assert given_["control"] == ("yes" if row.control else "no")


def test_lines_end_as_rfc_4180_has_it_and_all_are_as_long(board: Board) -> None:
    text = to_csv(board)
    assert text.count("\r\n") == len(board.rows) + 1 == text.count("\n")
    assert len({len(row) for row in csv.reader(io.StringIO(text, newline=""))}) == 1


def test_boards_of_other_metrics_share_a_table(board: Board) -> None:
    other = replace(
        board,
        ablation="other",
        columns=board.columns[1:],
        rows=tuple(replace(row, cells=row.cells[1:]) for row in board.rows),
    )
    rows = read(to_csv(board, other))
    assert [row["ablation"] for row in rows] == [*["default"] * 6, *["other"] * 6]
    assert all(row["bleu"] for row in rows[:6]) and not any(row["bleu"] for row in rows[6:])
    assert [row["comet"] for row in rows[:6]] == [row["comet"] for row in rows[6:]]
    assert to_csv() == "\r\n"


@pytest.mark.parametrize("text", ["=cmd|'/c calc'!A1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", '=HYPERLINK("x","y")'])
def test_what_a_spreadsheet_would_compute_is_text(renamed: Renamed, text: str) -> None:
    for row in csv.reader(io.StringIO(to_csv(renamed(text)), newline=""), strict=True):
        for cell in row:
            assert not cell.startswith(FORMULA) or is_number(cell)


def is_number(cell: str) -> bool:
    try:
        return bool(cell.strip() == cell and float(cell) is not None)
    except ValueError:
        return False


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=30) | st.sampled_from(FORMULA).flatmap(lambda c: st.text(max_size=9).map(lambda t: c + t)))
def test_any_name_is_read_back_and_none_is_a_formula(renamed: Renamed, text: str) -> None:
    made = renamed(text)
    lines = list(csv.reader(io.StringIO(to_csv(made), newline=""), strict=True))
    assert len(lines) == len(made.rows) + 1 and len({len(line) for line in lines}) == 1
    labels = {line[2] for line in lines[1:]}
    assert len(labels) == 1 and not labels.pop().startswith(FORMULA)
    for line in lines:
        for cell in line:
            assert not cell.startswith(FORMULA) or is_number(cell)
            assert cell.isprintable() or not set(cell) & set("\x1b\x07\n\r\x00\u202e")


def test_what_was_named_to_do_harm_only_stands_there(hostile: Board) -> None:
    text = to_csv(hostile)
    assert not set(text) & {"\x1b", "\x07", "\u202e"}
    assert read(text)[0]["row"].startswith("\\x1b]0;owned\\x07\\x1b[2J\\u202e\\n| <b>x</b>")
