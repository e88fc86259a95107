"""Runs in several processes: the same to the last bit as in one, whoever is killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from speechbench.locks import claimed
from speechbench.run_status import status
from tests.commands import outcomes, start, steps_of, training, two_folders, until

GRID = ["ablate", "--rewards", "bleu", "--limit", "6", "--out", "runs", "--config", "settings.yaml"]
SETTINGS = """
sft: {max_steps: 4, save_steps: 2}
grpo: {max_steps: 20, save_steps: 2, num_generations: 4, max_completion_length: 16}
mixed-grpo: {max_steps: 20, save_steps: 2, num_generations: 4, max_completion_length: 16}
"""


@pytest.mark.slow
def test_killed_workers_a_killed_driver_and_two_of_them_change_nothing(tmp_path: Path) -> None:
    undisturbed, disturbed = two_folders(tmp_path, SETTINGS)
    alone = start(undisturbed, *GRID)

    two = start(disturbed, *GRID, "--jobs", "2")
    runs = disturbed / "runs"
    until(lambda: len(training(runs, 3)) == 2, two)
    first, second = training(runs, 3)
    victim, other = claimed(first), claimed(second)
    assert victim is not None and other is not None and two.pid not in (victim.process, other.process)
    os.kill(victim.process, signal.SIGKILL)  # a worker dies: it is replaced
    until(lambda: (its := claimed(first)) and its.process != victim.process and len(steps_of(first)) >= 5, two)
    workers = {other.process, *(its.process for run in (first, second) if (its := claimed(run)))}
    two.kill()  # its workers end after the step that they are at
    two.communicate()
    end = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    (found,) = status(runs)
    states = {run.folder: run.state for run in found.runs}
    assert states[first] == "stopped" and "running" not in states.values()

    for again in [start(disturbed, *GRID, "--jobs", "2") for _ in range(2)]:  # two drivers share what is left
        _, errors = again.communicate(timeout=200)
        assert again.returncode == 0, errors
    _, errors = alone.communicate(timeout=200)
    assert alone.returncode == 0, errors
    assert outcomes(runs) == outcomes(undisturbed / "runs") and len(outcomes(runs)) == 4
    assert not list(runs.rglob("*.tmp")) and not list(runs.rglob(".now.json"))


@pytest.mark.slow
def test_ctrl_c_lets_all_workers_end_their_step_and_a_run_that_fails_keeps_none_from_being_done(tmp_path: Path) -> None:
    settings = "{max_steps: 16, save_steps: 8, num_generations: 4, max_completion_length: 16}"
    (tmp_path / "settings.yaml").write_text(f"grpo: {settings}\nmixed-grpo: {settings}\n")
    (tmp_path / "mine.py").write_text(
        "def broken(completions, **columns):\n    return [float('nan') for _ in completions]\n"
    )
    words = [*GRID, "--rewards", "bleu,./mine.py:broken", "--trainers", "grpo,mixed-grpo", "--jobs", "2"]
    process = start(tmp_path, *words)
    until(lambda: len(training(tmp_path / "runs", 2)) == 2, process)
    both = training(tmp_path / "runs", 2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "the same command goes on from there" in errors, errors
    assert "Traceback" not in errors
    for run in both:
        done = steps_of(run)[-1]
        assert (run / "checkpoints" / f"checkpoint-{done}" / "complete.json").exists()

    process = start(tmp_path, *words)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 1 and "Traceback" not in errors, errors
    assert "grpo(broken) seed 0 failed: reward" in errors and "the others go on" in errors
    assert errors.rstrip().splitlines()[-1].startswith("speechbench: reward")
    (found,) = status(tmp_path / "runs")
    assert {run.name: run.state for run in found.runs} == {
        "grpo(broken) seed 0": "failed",
        "mixed-grpo(broken) seed 0": "failed",
        "base": "finished",
        "grpo(bleu) seed 0": "finished",
        "mixed-grpo(bleu) seed 0": "finished",
    }
    assert "nan" in (found.runs[0].reason or "")
