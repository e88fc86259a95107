"""The command as users call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from speechbench.cli import main

SMALL = ["--limit", "6", "--steps", "2"]


def call(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (["ablate", "--rewards", "blue"], "unknown reward 'blue': did you mean 'bleu'?"),
        (["ablate", "--rewards", "bleu", "--trainers", "grop"], "unknown trainer 'grop': did you mean 'grpo'?"),
        (["ablate", "--rewards", "bleu", "--benchmark", "covost2-min"], "did you mean 'covost2-mini'?"),
        (["ablate", "--rewards", "bleu", "--model", "tinny"], "unknown model 'tinny': did you mean 'tiny'?"),
        (["ablat"], "Did you mean 'ablate'?"),
        (["ablate", "--rewards", "./nowhere.py:brevity"], "there is no file"),
        (["ablate", "--rewards", "bleu(smooth=exp)"], "smooth"),
        (["ablate", "--rewards", "bleu", "--seeds", "one"], "no list of whole numbers"),
        (["ablate", "--rewards", "bleu", "--steps", "0"], "--steps"),
        (["ablate"], "no reward is named"),
        (["train", "--trainer", "grpo", "--reward", "bleu,chrf"], "give one reward, not 2"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_status_2(words: list[str], nearest: str) -> None:
    result = call(*words)
    assert result.exit_code == 2, result.output
    assert nearest in result.output and "Traceback" not in result.output


def test_comet_tiny_is_refused_outside_the_mini_corpora(few_manifest: Path) -> None:
    result = call("ablate", "--rewards", "comet(model=tiny)", "--benchmark", f"manifest(path={few_manifest})")
    assert result.exit_code == 2 and "mini" in result.output


def test_the_light_commands_load_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom speechbench.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'transformers', 'sacrebleu') if m in sys.modules], file=sys.stderr)"
    )
    for words in (["--help"], ["ablate", "--help"], ["rewards", "list"], ["leaderboard", str(tmp_path)]):
        done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
        assert done.stderr.splitlines()[-1] == "[]", words


def test_a_call_that_fails_leaves_earlier_answers_alone(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text("kept\n")
    result = call("eval", "--samples", str(tmp_path / "answers.jsonl"), "--model", "tinny", "--limit", "2")
    assert result.exit_code == 2 and "did you mean 'tiny'?" in result.output
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("answers.jsonl", "kept\n")]


def test_eval_says_which_metrics_count_errors() -> None:
    result = call("eval", "--limit", "2", "--metrics", "chrf,wer", "--quiet")
    assert result.exit_code == 0 and "WER ↓" in result.output and "chrF ↓" not in result.output


@pytest.mark.slow
def test_the_main_job_in_small_resumes_and_shows_itself_again(tmp_path: Path) -> None:
    """Base, SFT and both GRPOs on a custom reward and BLEU, from one command; the second call does nothing."""
    (tmp_path / "brevity.py").write_text(
        "def brevity(completions, **columns):\n    return [1 / (1 + len(text.split())) for text in completions]\n"
    )
    words = ["ablate", "--rewards", "bleu,./brevity.py:brevity", *SMALL, "--out", "runs"]
    environment = {**os.environ, "COLUMNS": "120"}

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "speechbench", *words], cwd=tmp_path, capture_output=True, text=True, env=environment
        )

    planned = json.loads(command(*words, "--dry-run", "--json").stdout)
    labels = [run["run"] for run in planned["runs"]]
    assert labels == ["base", "sft", "grpo(bleu)", "grpo(brevity)", "mixed-grpo(bleu)", "mixed-grpo(brevity)"]
    assert not (tmp_path / "runs").exists()
    first = command(*words)
    assert first.returncode == 0, first.stderr
    for shown in (*labels, "one seed: ranks checkpoints, not rewards", "slots", "BLEU"):
        assert shown in first.stdout
    results = {path: path.read_bytes() for path in tmp_path.glob("runs/*/*/result.json")}
    assert len(results) == 6

    unfinished = next(path for path in results if "mixed-grpo(brevity)" in (path.parent / "run.json").read_text())
    unfinished.unlink()
    again = command(*words, "--json")
    assert again.returncode == 0, again.stderr
    before, after = json.loads(results[unfinished]), json.loads(unfinished.read_bytes())
    assert before["metrics"] == after["metrics"]
    assert all(path.read_bytes() == content for path, content in results.items() if path != unfinished)

    board = command("leaderboard", "runs", "--json")
    assert board.returncode == 0 and json.loads(board.stdout) == json.loads(again.stdout)
    trained = unfinished.parent
    measured = command("eval", "--model", str(trained), "--limit", "6", "--json")
    assert json.loads(measured.stdout)["metrics"]["BLEU"] == pytest.approx(after["metrics"]["bleu"]["corpus"])

    (tmp_path / "brevity.py").write_text(
        "def brevity(completions, **columns):\n    return [0.5 for _ in completions]\n"
    )
    one = command("train", "--trainer", "grpo", "--reward", "bleu", *SMALL, "--out", "runs")
    assert one.returncode == 0 and "Trained model: runs" in one.stdout  # the ablation's own run, found again
    assert len(list(tmp_path.glob("runs/*/*/result.json"))) == 6

    edited = json.loads(command(*words, "--dry-run", "--json").stdout)
    states = {run["run"]: run["state"] for run in edited["runs"]}
    assert states["grpo(bleu)"] == "finished" and states["grpo(brevity)"] == "new"
