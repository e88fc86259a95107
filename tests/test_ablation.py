"""Doing an ablation: alone, two at once, stopped and started again; through the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from speechbench.locks import held
from speechbench.runs import find_runs

GRID = ["--rewards", "bleu", "--limit", "6", "--out", "runs"]


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "speechbench", *words]
    return subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )


def until(happened: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    while not happened():
        if process.poll() is not None:
            pytest.fail(f"it ended too early: {process.communicate()}")
        time.sleep(0.05)


def steps_of(run: Path) -> list[int]:
    path = run / "train.jsonl"
    return [json.loads(line)["step"] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.slow
def test_two_at_once_share_the_runs_and_wait_for_what_another_holds(tmp_path: Path) -> None:
    words = ["ablate", *GRID, "--trainers", "sft,sft+grpo,grpo", "--steps", "2", "--json"]
    dry = start(tmp_path, *words, "--dry-run")
    planned = json.loads(dry.communicate()[0])
    folders = {run["run"]: tmp_path / planned["folder"] / run["id"] for run in planned["runs"]}
    assert list(folders) == ["base", "sft", "sft+grpo(bleu)", "grpo(bleu)"]
    words.remove("--json")
    with held(folders["sft"]) as ours:
        assert ours
        both = [start(tmp_path, *words) for _ in range(2)]
        until(lambda: all((folders[label] / "result.json").exists() for label in ("base", "grpo(bleu)")), both[0])
        assert not steps_of(folders["sft"]) and not steps_of(folders["sft+grpo(bleu)"])
    said = [process.communicate(timeout=250) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    boards = [out.partition("Runs:")[0] for out, _ in said]
    assert boards[0] == boards[1] and "sft+grpo(bleu)" in boards[0]
    told = f"sft seed 0 is being done by process {os.getpid()} on "
    assert all(told in errors for _, errors in said), said
    assert {label: steps_of(folder) for label, folder in folders.items()} == {
        "base": [], "sft": [1, 2], "sft+grpo(bleu)": [1, 2], "grpo(bleu)": [1, 2],
    }  # fmt: skip
    runs = {run.info.label: run for run in find_runs(tmp_path / "runs")}
    assert all(run.finished for run in runs.values())
    chain = runs["sft+grpo(bleu)"].info
    assert (chain.start, chain.trainer) == (runs["sft"].info.id, "sft+grpo")
    assert chain.config["start"]["max_steps"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_after_the_step_with_a_checkpoint_and_the_same_command_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    words = ["ablate", *GRID, "--trainers", "grpo", "--steps", "12"]
    process = start(tmp_path, *words)

    def training() -> list[Path]:
        return [path.parent for path in tmp_path.glob("runs/*/*/train.jsonl") if len(steps_of(path.parent)) >= 2]

    until(training, process)
    (run,) = training()
    process.send_signal(number)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 1, errors
    assert "stopping after this step" in errors and "the same command goes on from there" in errors
    assert "Traceback" not in errors
    done = steps_of(run)
    assert len(done) < 12 and not (run / "result.json").exists()
    assert (run / "checkpoints" / f"checkpoint-{done[-1]}" / "complete.json").exists()

    again = start(tmp_path, *words)
    _, errors = again.communicate(timeout=200)
    assert again.returncode == 0, errors
    assert steps_of(run) == list(range(1, 13)) and (run / "result.json").exists()
