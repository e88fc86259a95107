"""What a reader must know stands under the board, in words that fit the runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from speechbench.leaderboard import Board, leaderboard, to_json, to_markdown
from speechbench.leaderboard.notes import ONE_SEED, signature_text
from speechbench.leaderboard.statistics import smallest_p
from speechbench.runs import MetricInfo, Score, read_run, write_failure, write_result, write_samples

MakeRun = Callable[..., Path]
B = 2000


@pytest.fixture
def board(ablation: Path) -> Board:
    (found,) = leaderboard(ablation, resamples=B)
    return found


def test_examples_are_called_after_their_split(make_run: MakeRun, tmp_path: Path) -> None:
    for label, quality in (("base", 0.5), ("sft", 0.7)):
        folder = make_run(label, quality, None if label == "base" else 0, split="validation")
        run = read_run(folder)
        first, *others = run.samples.records
        score = first.metrics["bleu"]
        nothing = Score(None, tuple(0.0 for _ in score.statistics))  # BLEU does not apply to the first
        assert run.result is not None
        write_samples(folder, [replace(first, metrics={**first.metrics, "bleu": nothing}), *others])
        write_result(folder, run.result)
    (board,) = leaderboard(tmp_path / "runs", resamples=100)
    assert board.split == to_json(board)["split"] == "validation"
    text = to_markdown(board)
    assert text.splitlines()[0].endswith("60 validation examples**")
    assert "\n- 60 validation examples; 95% intervals" in text
    assert "BLEU applies to 59 of 60 validation examples" in text
    assert "test example" not in text


def test_notes_tell_seeds_size_resamples_and_signatures(board: Board) -> None:
    text = "\n".join(board.notes)
    assert "one seed: ranks checkpoints, not rewards (sft, mixed-grpo(bleu), grpo(random))" in text
    assert "60 test examples" in text and f"{B} bootstrap resamples" in text
    assert f"smallest attainable p {smallest_p(B, 60, 'bootstrap'):.2g}" in text
    assert "BLEU: tok:13a" in text and "comet[tiny]: checkpoint tiny, revision 3f2a" in text
    assert "finished" not in text and "not made alike" not in text and "not read" not in text
    assert "a difference counts only if it holds over examples and over seeds (t test)" in text
    assert "power: the smallest difference from base or sft" in text


def test_signatures_are_one_line_down_to_the_parts_of_a_reward() -> None:
    bleu = {"name": "bleu", "sacrebleu": "2.6.0", "metric": "tok:13a|version:2.6.0", "reward": "eff:yes|tok:13a"}
    judge = {"name": "judge", "sha256": "0123456789abcdef" * 4, "options": {"temperature": 0}, "extra": None}
    assert signature_text(bleu) == "tok:13a|version:2.6.0"
    assert signature_text(judge) == 'sha256 0123456789ab, options {"temperature": 0}'
    assert signature_text({"name": "shuffled", "version": 1, "reward": bleu}) == (
        "version 1, reward bleu (tok:13a|version:2.6.0)"
    )
    assert signature_text({"name": "sum", "terms": [[0.7, bleu], [0.3, judge]]}) == (
        'terms [[0.7, bleu (tok:13a|version:2.6.0)], [0.3, judge (sha256 0123456789ab, options {"temperature": 0})]]'
    )


def test_a_reward_that_does_not_beat_its_control_is_told(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", 0.5, None)
    make_run("grpo(bleu)", 0.5)
    make_run("grpo(shuffled(bleu))", 0.8, has_control_reward=True)
    (board,) = leaderboard(tmp_path / "runs", resamples=B)
    assert "grpo(bleu) is significantly better than its control grpo(shuffled(bleu)) in no metric" in board.notes
    assert not any("control row" in note for note in board.notes)


def test_a_control_with_fewer_errors_is_told(
    make_run: MakeRun, tmp_path: Path, with_wer: tuple[MetricInfo, ...]
) -> None:
    for own, shuffled, is_told in ((0.4, 0.8, True), (0.9, 0.3, False)):
        make_run("grpo(bleu)", own, metrics=with_wer[3:])
        make_run("grpo(shuffled(bleu))", shuffled, metrics=with_wer[3:], has_control_reward=True)
        (board,) = leaderboard(tmp_path / "runs", resamples=B)
        assert any("in no metric" in note for note in board.notes) == is_told


def test_only_what_was_trained_has_seeds_to_speak_of(controlled: Path) -> None:
    (board,) = leaderboard(controlled, resamples=B)
    assert not any("one seed" in note for note in board.notes)
    assert any(note.startswith("scores are means over seeds") for note in board.notes)


def test_what_is_not_finished_comes_first_then_what_is_not_read(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", 0.5, None)
    make_run("sft", 0.6)
    write_failure(make_run("grpo(bleu)", finished=False), ValueError("too long"))
    (make_run("grpo(comet)") / "run.json").write_text("{")
    (board,) = leaderboard(tmp_path / "runs", resamples=100)
    first, second, third, fourth = board.notes[:4]
    assert (first, second) == (
        "2 of 4 runs finished; not yet: grpo(bleu) seed 0, 1 that cannot be read",
        "grpo(bleu) seed 0 failed: ValueError: too long",
    )
    assert third.startswith("not read: ") and "grpo-comet-0" in third and fourth == ONE_SEED


def test_runs_that_were_not_made_alike_are_told(make_run: MakeRun, tmp_path: Path) -> None:
    versions = {"torch": "2.6.0", "numpy": "1.26.4"}
    made = {"versions": versions, "processor": "x86", "accelerator": None, "threads": 2, "commit": "0123456789abcdef+"}
    make_run("base", 0.5, None, provenance=made)
    make_run("sft", provenance=made)
    (board,) = leaderboard(tmp_path / "runs", resamples=100)
    assert not any("not all made alike" in note for note in board.notes)
    assert "2 runs made from a checkout with changes that no commit holds" in board.notes
    changed = {**made, "versions": {**versions, "torch": "2.7.0"}, "threads": 4, "commit": None}
    make_run("grpo(bleu)", provenance=changed)
    make_run("grpo(comet)", provenance={"commit": "other"}, finished=False)  # has made nothing yet
    (board,) = leaderboard(tmp_path / "runs", resamples=100)
    (note,) = [note for note in board.notes if note.startswith("the runs were not all made alike: ")]
    assert note.endswith("torch 2.6.0, 2.7.0; threads 2, 4; commit 0123456789ab, unknown")


@pytest.mark.parametrize(
    ("labels", "metrics", "expected"),
    [
        (("grpo(bleu)",), 3, None),
        (("grpo(bleu)", "grpo(comet)"), 3, "each learned metric is some row's reward (comet[tiny])"),
        (("grpo(bleu)",), 1, "no learned metric is measured"),
        (("sft",), 1, None),
    ],
)
def test_a_learned_metric_that_nobody_was_trained_on_is_missed(
    make_run: MakeRun,
    tmp_path: Path,
    with_wer: tuple[MetricInfo, ...],
    labels: tuple[str, ...],
    metrics: int,
    expected: str | None,
) -> None:
    make_run("base", 0.5, None, metrics=with_wer[:metrics])
    for label in labels:
        make_run(label, metrics=with_wer[:metrics])
    make_run("grpo(random)", has_control_reward=True, metrics=with_wer[:metrics])
    (board,) = leaderboard(tmp_path / "runs", resamples=100)
    told = [note for note in board.notes if "learned metric" in note]
    assert [note.startswith(expected or "") for note in told] == [True] * (expected is not None)


def test_warnings_are_told_with_the_seeds_that_had_them(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(3):
        make_run("grpo(bleu)", 0.6, seed, warnings=("odd",) * (seed > 0))
    (board,) = leaderboard(tmp_path / "runs", resamples=100)
    assert "grpo(bleu) seed 1, 2: odd" in board.notes
