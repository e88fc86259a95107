"""Doing an ablation: every planned run that is not finished, in order; then the leaderboard.

An unfinished run goes on from its last checkpoint; a run is finished when its result stands in its folder.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

from speechbench.evaluation import describe, evaluate, peak_memory_bytes
from speechbench.health import health
from speechbench.leaderboard import Board, leaderboard
from speechbench.models.loading import load_model
from speechbench.planning import Plan, PlannedRun, described, plan
from speechbench.progress import Progress
from speechbench.provenance import provenance
from speechbench.registry import TRAINERS
from speechbench.run_schema import Result, RunInfo
from speechbench.runs import read_run, write_result, write_run, write_samples
from speechbench.trainers.base import TrainResult

__all__ = ["Plan", "PlannedRun", "ablate", "board_of", "plan", "run_all"]


def ablate(rewards: Sequence[str], *, progress: Progress | None = None, **grid: Any) -> Board:
    """Trains and measures every run of the grid that is not there yet, and ranks them.

    Args:
        rewards: As for `plan`.
        progress: Told of what goes on.
        **grid: As for `plan`.

    Returns:
        The leaderboard of this grid's runs.
    """
    progress = progress or Progress()
    planned = plan(rewards, progress=progress, **grid)
    run_all(planned, progress)
    return board_of(planned)


def board_of(planned: Plan) -> Board:
    """The leaderboard of a plan's runs, whatever else its folder holds."""
    (board,) = leaderboard(planned.folder, only=[run.id for run in planned.runs])
    return board


def run_all(planned: Plan, progress: Progress) -> None:
    """Does every run of a plan that is not finished, in order."""
    tests = len(planned.examples)
    progress.plan(sum(tests + run.steps for run in planned.runs))
    for run in planned.runs:
        if not (run.folder / "run.json").exists():
            _announce(planned, run)
    for number, run in enumerate(planned.runs, start=1):
        progress.start(f"{run.label}{'' if run.seed is None else f' seed {run.seed}'}", number, len(planned.runs))
        if run.is_finished:
            progress.skip(tests + run.steps)
        else:
            _do(planned, run, progress)
        result = read_run(run.folder).result
        assert result is not None
        summary = ", ".join(
            f"{m.display} {value:.1f}" for m in planned.metrics if (value := result.metrics[str(m.spec)]) is not None
        )
        progress.finish(run.label, result.seconds["total"], summary)


def _announce(planned: Plan, run: PlannedRun) -> None:
    """Writes what the run is: it is then planned, and counts as such on the board until it has a result."""
    config = {} if run.config is None else described(run.config)
    if run.reward is not None:  # an edited reward is another row
        config["reward_signature"] = dict(run.reward.signature())
    write_run(
        run.folder,
        RunInfo(
            id=run.id,
            label=run.label,
            trainer=run.trainer,
            reward=None if run.reward is None else str(run.reward.spec),
            seed=run.seed,
            model=planned.model.name,
            model_fingerprint=planned.model.fingerprint,
            benchmark=planned.benchmark.name,
            data_fingerprint=planned.shared["data"]["test"],
            config=config,
            metrics=tuple(describe(metric) for metric in planned.metrics),
            provenance=provenance(),
        ),
    )


def _do(planned: Plan, run: PlannedRun, progress: Progress) -> None:
    """Trains, evaluates, and writes the result last."""
    seconds = {"sampling": 0.0, "scoring": 0.0, "learning": 0.0}
    model, steps = planned.model, 0
    if run.trainer is not None and run.config is not None:
        model = load_model(planned.model.name)
        config = dataclasses.replace(run.config, progress=progress)
        trained: TrainResult = TRAINERS.get(run.trainer)(model, planned.benchmark, run.reward, config)
        seconds.update(trained.seconds)
        steps = trained.steps
    train = sum(seconds.values())
    start = time.perf_counter()
    evaluation = evaluate(model, planned.examples, planned.metrics, planned.sampling, progress)
    seconds.update(evaluation=time.perf_counter() - start, train=train)
    seconds["total"] = train + seconds["evaluation"]
    write_samples(run.folder, evaluation.samples)
    write_result(
        run.folder,
        Result(evaluation.metrics, health(evaluation.samples), seconds, peak_memory_bytes(), steps),
    )
