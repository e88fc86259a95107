"""All tests of a board, by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from speechbench.errors import SpeechbenchError
from speechbench.leaderboard import Board, Cell, leaderboard
from speechbench.leaderboard.comparisons import Comparison, compare, planned_pairs, ranked_pairs
from speechbench.leaderboard.drawing import blocks, seed_shares
from speechbench.leaderboard.resampling import bootstrap
from speechbench.leaderboard.seeds import seed_test
from speechbench.leaderboard.statistics import detectable, holm, interval, paired_p
from speechbench.leaderboard.store import groups
from speechbench.runs import MetricInfo, Score, read_run, write_result, write_samples

MakeRun = Callable[..., Path]
B = 2000


def cell(board: Board, label: str, key: str) -> Cell:
    row = next(row for row in board.rows if row.label == label)
    return row.cells[[column.key for column in board.columns].index(key)]


@pytest.fixture
def board(ablation: Path) -> Board:
    (found,) = leaderboard(ablation, resamples=B)
    return found


def statistics(ablation: Path, name: str) -> np.ndarray:
    samples = read_run(ablation / "default" / name).samples
    return samples.statistics["bleu"][np.argsort(samples.ids)]


def test_tests_are_paired_over_ids_and_over_seeds(board: Board, ablation: Path) -> None:
    """By hand: examples in the order of their ids, whatever the file's order; seeds averaged on each resample."""
    names = [*(f"grpo-bleu-{seed}" for seed in range(5)), "sft-0", "base-None"]
    scores, draws = bootstrap([statistics(ablation, name) for name in names], ["bleu"] * 7, B)
    shares = np.concatenate([seed_shares(range(5), *its) for its in blocks(60, 0, B)]).T
    cell_of = cell(board, "grpo(bleu)", "bleu")
    for test, other, seed in ((cell_of.sft, 5, 0), (cell_of.base, 6, None)):
        assert test is not None
        over_examples = draws[:5].mean(axis=0) - draws[other]
        over_both = (draws[:5] * shares).sum(axis=0) - draws[other]
        over_seeds = seed_test(dict(enumerate(scores[:5])), {seed: scores[other]})
        assert over_seeds is not None and test.seeds is not None
        assert test.difference == pytest.approx(scores[:5].mean() - scores[other])
        assert test.interval == pytest.approx(interval(over_examples, 60))
        if seed is None:
            assert test.pigeonhole == pytest.approx(interval(over_both, 60))
        else:  # of a single training no seeds can be drawn
            assert test.pigeonhole is None
        over_all = over_both if seed is None else over_examples
        assert test.p == pytest.approx(max(paired_p(test.difference, over_all, 60), over_seeds.p))
        assert (test.seeds.p, test.seeds.seeds) == (pytest.approx(over_seeds.p), 5)
        assert test.detectable == pytest.approx(detectable(over_examples, board.family, 60))
        assert (test.verdict, test.resamples, test.examples) == (1, B, 60)
    found = cell(board, "grpo(bleu)", "bleu").interval
    assert found == pytest.approx(interval(draws[:5].mean(axis=0), 60))
    single = cell(board, "mixed-grpo(bleu)", "bleu").base
    assert single is not None and single.seeds is single.pigeonhole is None


def test_with_two_seeds_hardly_anything_is_significant(make_run: MakeRun, tmp_path: Path) -> None:
    """However many examples agree: two trainings tell little of a third."""
    make_run("base", 0.4, None)
    for seed in (0, 1):
        make_run("grpo(bleu)", 0.8 + 0.1 * seed, seed)
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    test = cell(board, "grpo(bleu)", "bleu").base
    assert test is not None and test.seeds is not None and test.interval[0] > 0
    assert test.p == test.seeds.p > 0.05 and test.verdict == 0 and test.pigeonhole is None


def test_the_marks_are_of_one_family_and_the_ranks_of_one_for_each_metric(ablation: Path) -> None:
    (group,) = groups(ablation)
    found = compare(group, B)
    planned, ranked = planned_pairs(group, ("base", "sft", "control")), ranked_pairs(group)
    assert found.family == len(planned) == 24
    assert found.tests.keys() == planned.keys()
    tests = list(found.tests.values())
    assert [test.p_holm for test in tests] == holm([test.p for test in tests], 24)
    competing = 5  # all but the control
    assert len(ranked) == 3 * competing * (competing - 1) / 2 and found.verdicts.keys() == ranked.keys()
    assert {pair.family for pair in ranked.values()} == {f"ranks by {m.name}" for m in group.metrics}
    assert all(one < two for _, one, two in ranked)
    assert found.verdicts["bleu", 0, 2] == -1  # base, and grpo(bleu)
    assert set(found.verdicts.values()) <= {-1, 0, 1}
    assert (found.resamples, found.most, found.test) == (B, B, "bootstrap")


def test_verdicts_follow_the_direction_of_the_metric() -> None:
    test = Comparison("base", 2.0, (1.0, 3.0), 0.01, 0.04, 60, 50.0)
    assert (test.verdict, replace(test, difference=-2.0).verdict, replace(test, p_holm=0.05).verdict) == (1, -1, 0)
    lower = replace(test, lower_is_better=True)
    assert (lower.verdict, replace(lower, difference=-2.0).verdict) == (-1, 1)


def test_randomisation_has_the_same_differences_and_about_the_same_p(ablation: Path) -> None:
    bootstrapped, changed_over = (
        [c.base for row in leaderboard(ablation, B, test=name)[0].rows for c in row.cells[:2] if c.base]
        for name in ("bootstrap", "randomisation")
    )
    assert len(bootstrapped) == len(changed_over) == 10
    for one, two in zip(bootstrapped, changed_over, strict=True):
        assert (one.difference, one.interval, one.seeds) == (two.difference, two.interval, two.seeds)
        if one.seeds is None:
            assert one.p == pytest.approx(two.p, abs=0.05)


def test_runs_with_the_same_outputs_have_p_one(make_run: MakeRun, tmp_path: Path) -> None:
    base = make_run("base", 0.6, None)
    sft = make_run("sft", 0.6)
    run = read_run(base)
    assert run.result is not None
    write_samples(sft, run.samples.records)
    write_result(sft, run.result)
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    test = cell(board, "sft", "bleu").base
    assert test is not None
    assert (test.difference, test.p, test.p_holm, test.verdict) == (0.0, 1.0, 1.0, 0)
    assert not any(c.best for row in board.rows for c in row.cells)


def test_other_examples_are_refused(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", seed=None)
    make_run("sft", n=59)
    with pytest.raises(SpeechbenchError, match=r"not tested on the same examples .*'e059'"):
        leaderboard(tmp_path / "runs", resamples=B)


def without(folder: Path, metric: str, left_out: set[int]) -> None:
    """Changes a run so that the metric gives no score to some examples."""
    run = read_run(folder)
    assert run.result is not None
    none = Score(None, (0.0, 0.0))
    samples = [
        replace(s, metrics={**s.metrics, metric: none}) if int(s.id[1:]) in left_out else s for s in run.samples.records
    ]
    write_samples(folder, samples)
    write_result(folder, run.result)


@pytest.mark.parametrize("metric", ["comet", "wer"])
def test_rows_are_compared_where_the_metric_applies_for_both(
    make_run: MakeRun, tmp_path: Path, with_wer: tuple[MetricInfo, ...], metric: str
) -> None:
    """Whoever leaves out what is hard gains nothing."""
    base = make_run("base", 0.6, None, metrics=with_wer)
    kept = read_run(base).samples.scores[metric]
    place = [m.name for m in with_wer].index(metric)
    order = np.argsort(kept if metric == "comet" else -kept)
    hard = {int(index) for index in order[:20]}
    for seed in (0, 1):
        folder = make_run("sft", 0.6, seed, metrics=with_wer)
        same = read_run(base)
        assert same.result is not None
        write_samples(folder, same.samples.records)
        write_result(folder, same.result)
        without(folder, metric, hard if seed else {0})
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    better = cell(board, "sft", metric)
    test = better.base
    assert test is not None and better.value is not None
    assert (test.difference, test.p, test.examples) == (0.0, 1.0, 60 - len(hard | {0}))
    assert abs(better.value - (cell(board, "base", metric).value or 0)) > 1  # its own score is over what it applies to
    display = with_wer[place].display
    said = (
        f"{display} applies to 60 of 60 test examples (base), to 40 to 59 (sft); two are compared where it applies to"
    )
    assert any(note.startswith(said) for note in board.notes)
    assert sum(" applies to " in note for note in board.notes) == 1
    assert cell(board, "sft", "bleu").base.examples == 60  # type: ignore[union-attr]


def test_a_comparison_is_that_of_the_common_examples_alone(make_run: MakeRun, tmp_path: Path) -> None:
    folders = make_run("base", 0.5, None), make_run("sft", 0.6)
    left_out = {0, 1, 2}, {2, 3, 4, 5}
    for folder, indices in zip(folders, left_out, strict=True):
        without(folder, "comet", indices)
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    test = cell(board, "sft", "comet").base
    common = np.array([index not in set.union(*left_out) for index in range(60)])
    systems = [read_run(folder).samples.statistics["comet"] * common[:, None] for folder in folders]
    scores, draws = bootstrap(systems, ["mean"] * 2, B)
    assert test is not None and test.examples == 54
    assert test.difference == pytest.approx(scores[1] - scores[0])
    assert test.interval == pytest.approx(interval(draws[1] - draws[0], 54))
    assert test.p == paired_p(test.difference, draws[1] - draws[0], 54)


def test_rows_without_a_common_example_are_not_tested(make_run: MakeRun, tmp_path: Path) -> None:
    for folder, indices in ((make_run("base", 0.5, None), range(30)), (make_run("sft"), range(30, 60))):
        without(folder, "comet", set(indices))
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    assert cell(board, "sft", "comet").value is not None and cell(board, "sft", "comet").base is None
    assert cell(board, "sft", "bleu").base is not None and board.family == 3
    assert any(note.startswith("comet[tiny] applies to 30 of 60 test examples; two are") for note in board.notes)
