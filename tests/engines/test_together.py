"""Runs that several processes train together, started by a worker: as `accelerate launch` of the whole command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from speechbench.engines import engine_of
from speechbench.engines.doing import DIED, Doer, doer_of
from speechbench.engines.in_process import InProcess
from speechbench.engines.local import Local
from speechbench.engines.together import Launcher
from speechbench.errors import UsageError
from speechbench.planning import plan
from speechbench.sweep import plan_sweep
from tests.commands import outcomes, start, steps_of, training, two_folders, until
from tests.test_distributed_training import LAUNCHERS

GRID = [
    "ablate",
    "--rewards",
    "bleu",
    "--trainers",
    "grpo",
    "--limit",
    "16",
    "--out",
    "runs",
    "--config",
    "settings.yaml",
]
SETTINGS = """
grpo: {max_steps: 12, save_steps: 4, num_generations: 4, max_completion_length: 16, per_device_train_batch_size: 2}
"""
LAUNCHED = [*LAUNCHERS["accelerate"], "-m", "speechbench"]


@pytest.mark.slow
def test_a_run_of_two_processes_is_stopped_and_goes_on_to_what_accelerate_launch_comes_to(tmp_path: Path) -> None:
    launched, started = two_folders(tmp_path, SETTINGS)
    process = start(started, *GRID, "--processes", "2")
    until(lambda: training(started / "runs", 2), process)
    (run,) = training(started / "runs", 2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "the same command goes on from there" in errors, errors
    assert "Traceback" not in errors
    stopped = steps_of(run)[-1]
    assert stopped < 12 and (run / "checkpoints" / f"checkpoint-{stopped}" / "complete.json").exists()
    again = start(started, *GRID, "--processes", "2")
    _, errors = again.communicate(timeout=200)
    assert again.returncode == 0, errors
    subprocess.run([sys.executable, "-m", *LAUNCHED, *GRID], cwd=launched, check=True, capture_output=True,
                   env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=200)  # fmt: skip
    assert outcomes(started / "runs") == outcomes(launched / "runs") and len(outcomes(started / "runs")) == 2


@pytest.mark.slow
def test_what_fails_in_one_of_the_processes_is_the_runs_reason(few_manifest: Path, tmp_path: Path) -> None:
    settings = {"grpo": {"num_generations": 2, "max_completion_length": 8}}
    planned = plan(
        ["bleu"],
        ["grpo"],
        f"manifest(path={few_manifest})",
        out=tmp_path,
        limit=2,
        steps=1,
        processes=4,
        config=settings,
    )
    doer = doer_of(planned.asked)
    assert isinstance(doer, Launcher)
    outcome = doer.do(planned.runs[1].id)
    assert "4 processes cannot share 2 training examples" in str(outcome.error)


def test_processes_that_end_without_a_word_have_died(
    few_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan([], ["sft"], f"manifest(path={few_manifest})", out=tmp_path, processes=2)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    outcome = Launcher(planned.asked).do("1")
    assert outcome.state == DIED and "2 processes ended without a word, with exit status 1" in str(outcome.error)


def test_processes_are_part_of_a_runs_id_and_start_workers_of_their_own(few_manifest: Path, tmp_path: Path) -> None:
    one, two = (plan([], ["sft"], f"manifest(path={few_manifest})", out=tmp_path, processes=n) for n in (1, 2))
    assert {run.id for run in one.runs}.isdisjoint(run.id for run in two.runs)
    assert isinstance(doer_of(one.asked), Doer) and isinstance(doer_of(two.asked), Launcher)
    assert isinstance(engine_of(processes=1), InProcess)
    assert engine_of(processes=2) == Local(1) and engine_of(jobs=3, processes=2) == Local(3)
    with pytest.raises(UsageError, match="processes=0 should be a whole number of at least 1"):
        engine_of(processes=0)
    with pytest.raises(
        UsageError, match=r"processes=2 with a sweep, which this process does itself: .*accelerate launch"
    ):
        plan_sweep(two, ["learning_rate=5e-5,2e-4"])
