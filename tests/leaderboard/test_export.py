"""Boards as files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from speechbench.errors import SpeechbenchError, UsageError
from speechbench.leaderboard import leaderboard, to_csv, to_json, to_latex, to_markdown
from speechbench.leaderboard.export import PAGE, PLOTS, TEXTS, export

MakeRun = Callable[..., Path]
B = 100


@pytest.fixture
def runs(make_run: MakeRun, tmp_path: Path) -> Path:
    for label, quality in (("base", 0.5), ("sft", 0.6), ("grpo(bleu)", 0.8)):
        make_run(label, quality, None if label == "base" else 0)
    return tmp_path / "runs"


@pytest.fixture
def two(runs: Path, make_run: MakeRun) -> Path:
    """Two boards."""
    make_run("base", 0.5, None, ablation="second")
    return runs


@pytest.mark.parametrize("suffix", [".md", ".tex", ".csv", ".json"])
def test_texts_are_what_the_renderers_give_of_all_boards(two: Path, tmp_path: Path, suffix: str) -> None:
    boards = leaderboard(two, B)
    assert len(boards) == 2
    expected = {
        ".md": "\n".join(map(to_markdown, boards)),
        ".tex": "\n".join(map(to_latex, boards)),
        ".csv": to_csv(*boards),
        ".json": json.dumps([to_json(board) for board in boards], indent=1) + "\n",
    }
    out = export(tmp_path / "made" / f"board{suffix.upper()}", two, resamples=B)
    assert out == tmp_path / "made" / f"board{suffix.upper()}"
    assert out.read_bytes().decode("utf-8") == expected[suffix]
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_csv_of_several_boards_is_one_table(two: Path, tmp_path: Path) -> None:
    out = export(tmp_path / "board.csv", two, resamples=B)
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["ablation"], row["row"]) for row in rows] == [
        *(("default", label) for label in ("base", "sft", "grpo(bleu)")),
        ("second", "base"),
    ]


def test_a_page_is_html(two: Path, tmp_path: Path) -> None:
    text = export(tmp_path / "board.html", two, resamples=B).read_text(encoding="utf-8")
    assert text.lstrip().lower().startswith("<!doctype html>") and "second" in text


@pytest.mark.parametrize("suffix", PLOTS)
def test_plots_are_drawn_into_what_the_suffix_says(runs: Path, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    starts = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    for plot in (None, "gains"):
        out = export(tmp_path / f"board{suffix}", runs, plot=plot, resamples=B)
        assert out.read_bytes().startswith(starts[suffix])


def test_a_plot_is_of_one_board(two: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "board.svg"
    with pytest.raises(UsageError, match=r"there are 2 boards, and .* draws one: .*default \(covost2-mini\), second"):
        export(out, two, resamples=B)
    assert not out.exists()
    assert export(out, two / "second", resamples=B).exists()
    assert export(out, two, together=True, resamples=B).exists()


@pytest.mark.parametrize("name", ["board", "board.xlsx", "board.md.gz", ".md"])
def test_a_suffix_that_is_none_is_refused_before_the_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"the suffix says the form, choose one of \.md, \.tex, \.csv, \.json, \.html"):
        export(tmp_path / name, tmp_path / "nowhere")


@pytest.mark.parametrize("suffix", [*TEXTS, PAGE])
def test_a_plot_is_not_written_as_text(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(UsageError, match=r"plot=curves is drawn into \.png, \.pdf, \.svg, not"):
        export(tmp_path / f"board{suffix}", tmp_path / "nowhere", plot="curves")


def test_what_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        export(tmp_path / "file" / "board.md", tmp_path / "nowhere")


def test_what_was_there_stays_where_nothing_comes_of_it(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "board.md"
    out.write_text("mine")
    with pytest.raises(SpeechbenchError, match="there is no folder"):
        export(out, tmp_path / "nowhere")
    assert out.read_text() == "mine"
    export(out, runs, resamples=B)
    assert out.read_text() != "mine"


def test_what_decides_the_board_is_handed_on(two: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    out = export(
        tmp_path / "board.json",
        [two / "default", two / "second"],
        resamples=77,
        only=["base-None", "sft-0"],
        together=True,
        test="randomisation",
        tick=lambda *its: told.append(its),
    )
    (board,) = json.loads(out.read_text())
    assert (board["resamples"], board["test"], board["ablation"]) == (77, "randomisation", "default")
    assert [row["label"] for row in board["rows"]] == ["base", "sft"] and told == [("resampling", 77, 77)]
