"""What stands in a cell, whoever draws it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from speechbench.leaderboard import Board, Cell, Column, leaderboard, to_json, to_latex, to_markdown
from speechbench.leaderboard.goodhart import Gain
from speechbench.leaderboard.render import texts
from speechbench.leaderboard.seeds import SeedSpread
from speechbench.runs import MetricInfo

MakeRun = Callable[..., Path]
Show = Callable[..., str]


@pytest.mark.parametrize(
    ("unit", "decimals", "figure", "expected"),
    [
        ("points", 1, 12.345, "12.3"),
        ("points", 3, 0.12345, "0.123"),
        ("share", 1, 0.0125, "1.2%"),
        ("bytes", 1, 2.26e9, "2.3"),
        ("count", 0, 1234567.4, "1,234,567"),
        ("s", 0, 41.5, "42"),
        ("points", 1, None, "–"),
    ],
)
def test_figures_are_written_in_their_unit(
    board: Board, unit: str, decimals: int, figure: float | None, expected: str
) -> None:
    column = Column("x", "x", "cost", unit, decimals)
    row = replace(board.rows[0], cells=(Cell(figure),))
    assert texts.value(row, 0, column) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(2, 2, "2"), (1, 3, "1–3"), (1.5, 2.25, "1.5–2.2"), (1.04, 1.0, "1"), (10, 12, "10–12")],
)
def test_ranks_are_intervals(low: float, high: float, expected: str) -> None:
    assert texts.rank(low, high) == expected


def test_below_a_figure_stands_what_is_known_of_it() -> None:
    column = Column("x", "x", "metric", "points", 1)
    assert texts.below(Cell(1.0), column) == []
    cell = Cell(1.0, interval=(0.5, 1.5), seeds=SeedSpread(0.26, (0, 2)), rank=(1, 3))
    assert texts.below(cell, column) == ["0.5–1.5", "seeds ±0.3", "rank 1–3"]


def test_gains_are_signed_shares_with_a_star_on_ones_own() -> None:
    assert [texts.percent(share) for share in (0.041, -0.2, 0.0, None)] == ["+4.1%", "-20.0%", "+0.0%", "–"]
    assert texts.gain(Gain(0.5, 1.0, 0.01, True)) == "+50.0%*"
    assert (texts.gain(Gain(None, 1.0, 0.01, False)), texts.gain(None)) == ("–", "–")


def test_the_gains_heading_names_every_baseline_once(board: Board) -> None:
    assert texts.gains_heading(board.goodhart) == "gain over sft or base, in per cent of its score"


def test_an_arrow_says_which_way_is_better_in_every_form(
    make_run: MakeRun, tmp_path: Path, with_wer: tuple[MetricInfo, ...], show: Show
) -> None:
    for label, quality in (("base", 0.5), ("sft", 0.7)):
        make_run(label, quality, None if label == "base" else 0, metrics=with_wer)
    (board,) = leaderboard(tmp_path / "runs", resamples=50)
    for text in (show(board), to_markdown(board)):
        tables = text.split("test examples; 95%")[0]
        assert tables.count("WER ↓") == tables.count("↓") == 2  # over the scores and over the differences
        assert tables.count("BLEU ↑") == 2 and "rank ↑" not in text and "empty ↑" not in text
    assert r"BLEU $\uparrow$" in to_latex(board) and r"WER $\downarrow$" in to_latex(board)
    told = {column["key"]: column["lower_is_better"] for column in to_json(board)["columns"]}
    assert [key for key, lower in told.items() if lower] == ["wer"]
