"""What a reader must know stands under the board, in words that fit the runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from speechbench.leaderboard import leaderboard, to_json, to_markdown
from speechbench.runs import Score, read_run, write_result, write_samples

MakeRun = Callable[..., Path]


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
