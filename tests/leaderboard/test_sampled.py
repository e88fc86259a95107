"""Sampled answers on the board: apart from what ranks, tested among themselves, and sharpening told."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from speechbench.aggregate import AGGREGATES
from speechbench.errors import SpeechbenchError
from speechbench.leaderboard import Board, Cell, leaderboard, to_json, to_markdown, to_terminal
from speechbench.leaderboard.comparisons import Comparison
from speechbench.leaderboard.drawing import blocks, seed_shares
from speechbench.leaderboard.resampling import bootstrap
from speechbench.leaderboard.sampled import is_sharpening
from speechbench.leaderboard.seeds import seed_test
from speechbench.leaderboard.statistics import holm, interval, paired_p
from speechbench.run_schema import Sampled
from speechbench.runs import read_run, write_passes, write_result

MakeRun = Callable[..., Path]
AddPasses = Callable[..., None]
B = 2000


@pytest.fixture
def add_passes(make_run: MakeRun, tmp_path: Path) -> AddPasses:
    """Gives a run sampled answers of this quality in each pass, beside the greedy ones that are there."""

    def add(folder: Path, qualities: Sequence[float], temperature: float = 0.9) -> None:
        passes, scores = [], []
        for number, quality in enumerate(qualities):
            drawn = read_run(make_run(folder.name, quality, number + 2, ablation="scratch", id=f"{number}"))
            assert drawn.result is not None
            passes.append(drawn.samples.records[:: -1 if number else 1])  # each in an order of its own
            scores.append(drawn.result.metrics)
        shutil.rmtree(tmp_path / "runs" / "scratch")
        result = read_run(folder).result
        assert result is not None
        write_passes(folder, passes)
        by_metric = {name: tuple(its[name] for its in scores) for name in result.metrics}
        write_result(folder, replace(result, sampled=Sampled(temperature, 0.9, by_metric)))

    return add


@pytest.fixture
def sampled(make_run: MakeRun, add_passes: AddPasses, tmp_path: Path) -> Path:
    """Greedy, "sharp" is as good as base; sampled, it is better. "better" is better both ways."""
    add_passes(make_run("base", 0.7, None), [0.4, 0.4])
    add_passes(make_run("grpo(bleu)", 0.7), [0.7, 0.7])
    for seed in range(5):
        add_passes(make_run("grpo(comet)", 0.95, seed), [0.8 + seed / 100, 0.8])
    return tmp_path / "runs"


@pytest.fixture
def board(sampled: Path) -> Board:
    (found,) = leaderboard(sampled, resamples=B)
    return found


def cell(board: Board, label: str, place: int = 0) -> Cell:
    return next(row for row in board.rows if row.label == label).cells[place]


def test_sampled_scores_are_means_over_passes_and_seeds_tested_among_themselves(board: Board, sampled: Path) -> None:
    """By hand, as the greedy ones are: examples by id, passes and seeds averaged on each resample, Holm over these."""

    def passes(*names: str) -> list[np.ndarray]:
        runs = [read_run(sampled / "default" / name) for name in names]
        return [its.statistics["bleu"][np.argsort(its.ids)] for run in runs for its in run.passes]

    base, comet = passes("base-None"), passes(*(f"grpo-comet-{seed}" for seed in range(5)))
    assert (len(base), len(comet)) == (2, 10)
    scores, draws = bootstrap([*base, *comet], ["bleu"] * 12, B)
    its = cell(board, "grpo(comet)").sampled
    assert its is not None and its.base is not None
    difference = draws[2:].mean(axis=0) - draws[:2].mean(axis=0)
    assert its.value == pytest.approx(scores[2:].mean())
    assert its.interval == pytest.approx(interval(draws[2:].mean(axis=0), 60))
    assert its.base.difference == pytest.approx(scores[2:].mean() - scores[:2].mean())
    assert its.base.interval == pytest.approx(interval(difference, 60))
    by_seed = draws[2:].reshape(5, 2, B).mean(axis=1)
    shares = np.concatenate([seed_shares(range(5), *block) for block in blocks(60, 0, B)]).T
    over_both = (by_seed * shares).sum(axis=0) - draws[:2].mean(axis=0)
    over_seeds = seed_test(dict(enumerate(scores[2:].reshape(5, 2).mean(axis=1))), {None: scores[:2].mean()})
    assert over_seeds is not None
    assert its.base.p == pytest.approx(max(paired_p(its.base.difference, over_both, 60), over_seeds.p))
    assert board.sampled is not None
    assert (board.sampled.temperature, board.sampled.top_p, board.sampled.passes) == (0.9, 0.9, 2)
    assert board.sampled.family == 2 * 3  # two rows besides base, three metrics
    tests = [c.sampled.base for row in board.rows for c in row.cells if c.sampled is not None and c.sampled.base]
    assert sorted(test.p_holm for test in tests) == sorted(holm([test.p for test in tests], 6))


def test_what_greedy_answers_say_is_the_same_without_sampled_ones(board: Board, sampled: Path) -> None:
    for path in sampled.glob("*/*/result.json"):
        result = read_run(path.parent).result
        assert result is not None
        (path.parent / "sampled.jsonl").unlink()
        write_result(path.parent, replace(result, sampled=None))
    (greedy,) = leaderboard(sampled, resamples=B)
    assert greedy.sampled is None and not any("sampled" in note for note in greedy.notes)
    rows = [replace(row, cells=tuple(replace(c, sampled=None) for c in row.cells)) for row in board.rows]
    assert tuple(rows) == greedy.rows and board.family == greedy.family
    assert cell(board, "grpo(comet)").best and not cell(board, "grpo(bleu)").best


def test_a_gain_that_only_sampling_shows_is_called_sharpening(board: Board) -> None:
    sharp, better = cell(board, "grpo(bleu)"), cell(board, "grpo(comet)")
    assert sharp.sampled is not None and better.sampled is not None
    assert sharp.base is not None and sharp.base.verdict == 0
    assert better.base is not None and better.base.verdict == 1
    assert (sharp.sampled.sharpening, better.sampled.sharpening) == (True, False)
    (note,) = [note for note in board.notes if note.startswith("sharpening: ")]
    assert note.startswith("sharpening: grpo(bleu) is significantly better than base only when sampled, in BLEU (+")
    assert sharp.sampled.base is not None
    assert f"{sharp.sampled.base.difference:+.1f}" in note and f"greedy {sharp.base.difference:+.1f}" in note


@pytest.mark.parametrize(
    ("sampled_p", "greedy_p", "difference", "expected"),
    [(0.01, 0.5, 1.0, True), (0.01, 0.01, 1.0, False), (0.2, 0.5, 1.0, False), (0.01, 0.5, -1.0, False)],
)
def test_sharpening_is_a_significant_gain_here_and_none_there(
    sampled_p: float, greedy_p: float, difference: float, expected: bool
) -> None:
    def test(p: float) -> Comparison:
        return Comparison("base", difference, (0.0, 1.0), p, p, 60, 50.0)

    assert is_sharpening(test(sampled_p), test(greedy_p)) is expected


def test_every_renderer_shows_sampled_scores(board: Board) -> None:
    out = io.StringIO()
    to_terminal(board, Console(file=out, width=120))
    its = cell(board, "grpo(bleu)").sampled
    assert its is not None and its.base is not None
    score, difference = f"sampled {its.value:.1f}▲", f"{its.base.difference:+.1f}"
    for text in (out.getvalue(), to_markdown(board)):
        assert score in text and "grpo(bleu) − base, sampled" in text and difference in text
        assert "sharpening: grpo" in text and "temperature 0.9, top-p 0.9" in text
    found: dict[str, Any] = json.loads(json.dumps(to_json(board)))
    row = next(row for row in found["rows"] if row["label"] == "grpo(bleu)")
    assert row["cells"]["bleu"]["sampled"]["sharpening"] is True
    assert row["cells"]["bleu"]["sampled"]["base"]["p_holm"] == its.base.p_holm
    assert found["sampled"] == {"temperature": 0.9, "top_p": 0.9, "passes": 2, "family": 6}


def test_a_row_without_passes_has_no_sampled_score(sampled: Path, make_run: MakeRun) -> None:
    make_run("sft", 0.8)
    (board,) = leaderboard(sampled, resamples=B)
    assert cell(board, "sft").sampled is None and cell(board, "sft").value is not None
    assert board.sampled is not None and board.sampled.family == 3 * 3  # planned, though not there


def test_what_was_sampled_differently_does_not_compare(sampled: Path, make_run: MakeRun, add_passes: AddPasses) -> None:
    add_passes(make_run("sft", 0.8), [0.5, 0.5], temperature=1.0)
    with pytest.raises(SpeechbenchError, match=r"were sampled differently \(temperature .* passes 2\), so they do not"):
        leaderboard(sampled, resamples=B)


def test_passes_are_sealed_and_read_as_they_were_written(sampled: Path) -> None:
    folder = sampled / "default" / "base-None"
    run = read_run(folder)
    assert run.result is not None and run.result.sampled is not None
    content = json.loads((folder / "result.json").read_text())["sampled"]["metrics"]["bleu"]
    assert content == {
        "mean": pytest.approx(np.mean(run.result.sampled.metrics["bleu"])),
        "passes": list(run.result.sampled.metrics["bleu"]),
    }
    for number, its in enumerate(run.passes):
        corpus = float(AGGREGATES["bleu"](its.statistics["bleu"].sum(axis=0)))
        assert corpus == pytest.approx(run.result.sampled.metrics["bleu"][number])
    path = folder / "sampled.jsonl"
    path.write_text(path.read_text().replace("0.0", "1.0", 1))
    with pytest.raises(SpeechbenchError, match=r"sampled\.jsonl was changed or cut"):
        assert read_run(folder).passes
