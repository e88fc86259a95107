"""The table model on a synthetic ablation."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from speechbench.leaderboard import Board, Cell, leaderboard
from speechbench.leaderboard.statistics import smallest_p
from speechbench.runs import MetricInfo, Score, find_runs, read_run, write_result, write_samples

MakeRun = Callable[..., Path]
B = 2000


def cell(board: Board, label: str, key: str) -> Cell:
    row = next(row for row in board.rows if row.label == label)
    return row.cells[[column.key for column in board.columns].index(key)]


@pytest.fixture
def board(ablation: Path) -> Board:
    (found,) = leaderboard(ablation, resamples=B)
    return found


def test_columns_are_metrics_then_health_then_costs(board: Board) -> None:
    assert [column.key for column in board.columns] == [
        *("bleu", "comet", "binary", "rank"),
        *("empty", "truncated", "copied", "wrong_language", "repeated", "length_ratio", "distinct"),
        *("sampling", "scoring", "learning", "seconds", "evaluation", "memory", "tokens", "steps", "seeds"),
    ]
    assert [column.kind for column in board.columns] == ["metric"] * 3 + ["rank"] + ["health"] * 7 + ["cost"] * 9
    assert [column.family for column in board.columns[:4]] == ["overlap", "learned", "exact", ""]
    assert cell(board, "sft", "seconds").value == 41.5
    assert cell(board, "base", "seconds").value is None
    assert cell(board, "sft", "truncated").value == pytest.approx(2 / 60)
    assert cell(board, "grpo(bleu)", "seeds").value == 5


def test_values_are_the_results_averaged_over_seeds(board: Board, ablation: Path) -> None:
    for row in board.rows:
        results = [run.result for run in find_runs(ablation) if run.info.label == row.label]
        for key in ("bleu", "comet", "binary"):
            expected = np.mean([result.metrics[key] for result in results if result])
            assert cell(board, row.label, key).value == pytest.approx(expected)


def test_the_order_of_the_examples_does_not_matter(board: Board, make_run: MakeRun, ablation: Path) -> None:
    make_run("sft", 0.65, reverse=True)
    assert leaderboard(ablation, resamples=B) == [board]


def test_the_family_is_all_metrics_times_all_rows_against_base_and_real_ones_against_sft(board: Board) -> None:
    assert board.family == 3 * (5 + 3)  # 3 metrics; 5 rows besides base, 3 besides base, sft and the control
    tests = [test for row in board.rows for c in row.cells for test in (c.base, c.sft) if test is not None]
    assert len(tests) == board.family
    ordered = sorted(tests, key=lambda test: test.p)
    assert min(test.p_holm for test in tests) == pytest.approx(min(1.0, board.family * ordered[0].p))
    assert [t.p_holm for t in ordered] == sorted(t.p_holm for t in tests)
    assert cell(board, "sft", "bleu").sft is None
    assert cell(board, "base", "bleu").base is None


def test_stages_add_up_and_controls_of_the_input_stand_with_the_controls(make_run: MakeRun, tmp_path: Path) -> None:
    for label in ("base", "no-audio", "gold-transcript"):
        control = None if label == "base" else label
        make_run(label, 0.6, None, id=label, trainer=None, control=control)
    make_run("sft", 0.65, id="first")
    make_run("sft+grpo(bleu)", 0.7, start="first", warnings=("sampled answers are empty",))
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    assert [row.label for row in board.rows] == ["base", "sft", "sft+grpo(bleu)", "no-audio", "gold-transcript"]
    assert [row.control for row in board.rows] == [False, False, False, True, True]
    seconds = [cell(board, row.label, "seconds").value for row in board.rows]
    assert seconds == [None, 41.5, 83.0, None, None]
    assert cell(board, "no-audio", "bleu").base is not None and cell(board, "no-audio", "bleu").sft is None
    chain = cell(board, "sft+grpo(bleu)", "bleu")
    assert chain.base is not None and chain.sft is not None and chain.trained_on
    assert board.family == 3 * 5  # sft, the chain twice, and two controls of the input, in three metrics
    assert "sft+grpo(bleu): sampled answers are empty" in board.notes
    assert any("silence" in note for note in board.notes)
    (alone,) = leaderboard(tmp_path / "runs", resamples=B, only=["base", "sft+grpo-bleu-0"])
    assert cell(alone, "sft+grpo(bleu)", "seconds").value is None  # what it cost before is not known here


def test_what_heard_something_else_is_not_best(controlled: Path) -> None:
    (board,) = leaderboard(controlled, resamples=B)
    for place in range(3):
        values = {row.label: row.cells[place].value or 0.0 for row in board.rows}
        assert max(values, key=lambda label: values[label]) == "gold-transcript"
        assert [row.label for row in board.rows if row.cells[place].best] == ["grpo(bleu)"]


def test_a_control_reward_is_never_best(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", 0.5, None)
    make_run("sft", 0.6)
    make_run("grpo(random)", 0.9, has_control_reward=True)
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    for place in range(3):
        marked = [(row.cells[place].best, row.cells[place].level_with_best) for row in board.rows]
        assert marked[2] == (False, False)
    assert cell(board, "sft", "bleu").best


def test_level_with_the_best_is_what_is_not_separable_from_it(make_run: MakeRun, tmp_path: Path) -> None:
    for label, quality in (("base", 0.3), ("sft", 0.88), ("grpo(bleu)", 0.9)):
        make_run(label, quality, None if label == "base" else 0)
    make_run("grpo(random)", 0.9, has_control_reward=True)
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    for place in range(2):
        best = [row.label for row in board.rows if row.cells[place].best]
        assert len(best) == 1 and best[0] in ("sft", "grpo(bleu)")
        assert [row.label for row in board.rows if row.cells[place].level_with_best] == ["sft", "grpo(bleu)"]
    assert not any(c.level_with_best for row in board.rows for c in row.cells[3:])


def test_two_that_score_best_alike_are_both_best(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", 0.3, None)
    first, second = make_run("sft", 0.8), make_run("grpo(bleu)", 0.8)
    run = read_run(first)
    assert run.result is not None
    write_samples(second, run.samples.records)
    write_result(second, run.result)
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    for place in range(2):
        assert [row.cells[place].best for row in board.rows] == [False, True, True]


def test_of_an_error_rate_less_is_better(make_run: MakeRun, tmp_path: Path, with_wer: tuple[MetricInfo, ...]) -> None:
    for label, quality in (("base", 0.6), ("sft", 0.8), ("grpo(bleu)", 0.3)):
        make_run(label, quality, None if label == "base" else 0, metrics=with_wer)
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    wer = {row.label: row.cells[3] for row in board.rows}
    assert [column.lower_is_better for column in board.columns[:4]] == [False, False, False, True]
    values = {label: c.value or 0.0 for label, c in wer.items()}
    assert values["sft"] < values["base"] < values["grpo(bleu)"]
    assert [label for label, c in wer.items() if c.best] == ["sft"]
    better, worse = wer["sft"].base, wer["grpo(bleu)"].base
    assert better is not None and better.difference < 0 and better.verdict == 1
    assert worse is not None and worse.difference > 0 and worse.verdict == -1
    # the direction decides nothing but what is called better: p is that of the same figures
    for test, label in ((better, "sft"), (worse, "grpo(bleu)")):
        assert test.difference == pytest.approx(values[label] - values["base"])
        assert test.p == smallest_p(B, 60, "bootstrap")


def test_trained_metric_best_and_controls_are_marked(board: Board) -> None:
    assert [row.label for row in board.rows if row.control] == ["grpo(random)"]
    pairs = [(row.label, *pair) for row in board.rows for pair in zip(row.cells, board.columns, strict=True)]
    trained = {(label, column.key) for label, c, column in pairs if c.trained_on}
    assert trained == {("grpo(bleu)", "bleu"), ("grpo(comet)", "comet"), ("mixed-grpo(bleu)", "bleu")}
    for place in range(3):
        values = {row.label: row.cells[place].value for row in board.rows}
        assert [row.label for row in board.rows if row.cells[place].best] == [max(values, key=lambda k: values[k] or 0)]


def test_seed_spread_stands_apart(board: Board, ablation: Path) -> None:
    spread = cell(board, "grpo(bleu)", "bleu").seeds
    runs = [run for run in find_runs(ablation) if run.info.label == "grpo(bleu)"]
    scores = [run.result.metrics["bleu"] for run in runs if run.result]
    assert spread is not None
    assert spread.standard_deviation == pytest.approx(np.std(scores, ddof=1))
    assert cell(board, "sft", "bleu").seeds is None


def test_unfinished_runs_are_counted_and_weaken_no_correction(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", 0.5, None)
    make_run("sft", 0.8)
    make_run("grpo(bleu)", finished=False)
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    assert board.notes[0] == "2 of 3 runs finished; not yet: grpo(bleu) seed 0"
    assert board.notes[1] == "one seed: ranks checkpoints, not rewards"
    assert cell(board, "grpo(bleu)", "bleu") == Cell(None, trained_on=True)
    test = cell(board, "sft", "bleu").base
    assert test is not None and test.p == smallest_p(B, 60, "bootstrap")
    assert test.p_holm >= (board.family - 2) * test.p and board.family == 3 * (2 + 1)


def test_a_board_without_a_result_has_rows_and_no_figures(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", seed=None, finished=False)
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    assert board.examples == 0 and board.notes[0] == "0 of 1 runs finished; not yet: base"
    assert {c.value for c in board.rows[0].cells} == {None, 0.0} and board.clusters == ("example", 0)


def test_a_metric_that_some_run_lacks_leaves_a_gap(make_run: MakeRun, tmp_path: Path) -> None:
    base = make_run("base", seed=None)
    make_run("sft", metrics=read_run(base).info.metrics[:2])
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    assert cell(board, "sft", "binary").value is None and cell(board, "base", "binary").value is not None
    assert cell(board, "sft", "comet").base is not None


def test_a_metric_that_applies_nowhere_leaves_a_gap(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("base", seed=None)
    run = read_run(folder)
    samples = [replace(s, metrics={**s.metrics, "comet": Score(None, (0.0, 0.0))}) for s in run.samples.records]
    write_samples(folder, samples)
    assert run.result is not None
    write_result(folder, replace(run.result, metrics={**run.result.metrics, "comet": None}))
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    assert cell(board, "base", "comet").value is None and cell(board, "base", "bleu").value is not None


def test_one_is_one(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", 0.5, None, n=1)
    (board,) = leaderboard(tmp_path / "runs", resamples=1)
    assert "1 test example; 95% intervals over examples from 1 bootstrap resample" in "\n".join(board.notes)


def test_neither_torch_nor_transformers_is_loaded(ablation: Path) -> None:
    code = (
        "import sys, rich.console\n"
        "from speechbench.leaderboard import leaderboard, to_csv, to_json, to_latex, to_markdown, to_terminal\n"
        f"(board,) = leaderboard({str(ablation)!r}, resamples=50)\n"
        "to_csv(board), to_json(board), to_latex(board), to_markdown(board)\n"
        "to_terminal(board, rich.console.Console(quiet=True))\n"
        "print({'torch', 'transformers', 'sacrebleu', 'datasets', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_run_that_cannot_be_read_weakens_no_correction(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", 0.5, None)
    make_run("sft", 0.8)
    broken = make_run("grpo(bleu)")
    (whole,) = leaderboard(tmp_path / "runs", resamples=B)
    (broken / "run.json").write_text("{")
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    assert board.family >= 3 * (1 + 1) and whole.family == 3 * (2 + 1)
    before, after = cell(whole, "sft", "bleu").base, cell(board, "sft", "bleu").base
    assert before is not None and after is not None and after.p == before.p


def test_whoever_leaves_out_what_is_hard_is_not_best(make_run: MakeRun, tmp_path: Path) -> None:
    """Its own score, 90, is of the easy half, where the other has 95; of all it has 55."""
    make_run("base", 0.3, None)
    for label, easy, hard in (("grpo(bleu)", 90.0, None), ("grpo(comet)", 95.0, 15.0)):
        folder = make_run(label)
        run = read_run(folder)
        assert run.result is not None
        changed = []
        for n, s in enumerate(run.samples.records):
            score = easy + n % 3 if n % 2 else hard
            its = Score(score, (score or 0.0, float(score is not None)))
            changed.append(replace(s, metrics={**s.metrics, "comet": its}))
        write_samples(folder, changed)
        write_result(folder, run.result)
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    bleu, comet = (cell(board, f"grpo({name})", "comet") for name in ("bleu", "comet"))
    assert (bleu.value or 0) > 90 > (comet.value or 0)
    assert comet.best and not bleu.best and not bleu.level_with_best
