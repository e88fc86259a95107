"""Doing an ablation: every planned run that is not finished, in order; then the leaderboard.

An unfinished run goes on from its last checkpoint; a run is finished when its result stands in its folder.
Several processes may work on one ablation: each run is done by the one that holds its folder. Where processes were
started together (`speechbench.distributed`), they are one of these: the main process does all but the training, which
they share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechbench import distributed, planning
from speechbench.engines import Engine, InProcess, engine_of
from speechbench.grid import PlannedRun
from speechbench.leaderboard import Board, leaderboard
from speechbench.one_run import model_folder
from speechbench.planning import Plan
from speechbench.progress import Progress

__all__ = ["Plan", "PlannedRun", "Training", "ablate", "board_of", "model_folder", "plan", "run_all", "train"]

plan = distributed.main_first()(planning.plan)


@dataclass(frozen=True)
class Training:
    """One training and what came of it.

    Attributes:
        board: Its row beside the base model's.
        model_folder: The trained model; `load_model` and `--model` take it.
    """

    board: Board
    model_folder: Path


def ablate(
    rewards: Sequence[str] = (),
    trainers: Sequence[str] | None = None,
    benchmark: str | None = None,
    model: str | None = None,
    seeds: Sequence[int] | None = None,
    controls: bool = False,
    steps: int | None = None,
    limit: int | None = None,
    config: Mapping[str, Mapping[str, Any]] | None = None,
    out: Path | str = "runs",
    progress: Progress | None = None,
    strict: bool = False,
    metrics: Sequence[str] = (),
    sampled_passes: int | None = None,
    sampled_temperature: float | None = None,
    sampled_top_p: float | None = None,
    recipe: str | None = None,
    sweep: Sequence[str] = (),
    sweep_trials: int | None = None,
    sweep_metric: str | None = None,
    sweep_seed: int | None = None,
    engine: str = "local",
    jobs: int | None = None,
    address: str | None = None,
    cpus: float | None = None,
    gpus: float | None = None,
    processes: int | None = None,
    report_to: Sequence[str] = (),
) -> Board:
    """Trains and measures every run of the grid that is not there yet, and ranks them.

    What the arguments mean and which errors they raise: `speechbench.planning.plan`; of a sweep, which comes first,
    `speechbench.sweep.plan_sweep`; where the runs are done: `speechbench.engines.engine_of`. A sweep is done in this
    process.

    Returns:
        The leaderboard of this grid's runs.
    """
    from speechbench.sweep import is_asked, plan_sweep, run_sweep  # it does its trials here

    progress, done_by = progress or Progress(), engine_of(engine, jobs, address, cpus, gpus, processes)
    is_swept = is_asked(sweep, sweep_trials, sweep_metric, sweep_seed)
    planned = plan(
        rewards, trainers, benchmark, model, seeds, controls, steps, limit, config, out, progress, strict, metrics,
        sampled_passes, sampled_temperature, sampled_top_p, recipe, processes, report_to,
    )  # fmt: skip
    if is_swept:
        planned = run_sweep(
            plan_sweep(planned, sweep, sweep_trials, sweep_metric, sweep_seed, progress), progress
        ).planned
    run_all(planned, progress, done_by)
    return board_of(planned)


def train(
    trainer: str,
    reward: str | None = None,
    benchmark: str | None = None,
    model: str | None = None,
    seed: int | None = None,
    steps: int | None = None,
    limit: int | None = None,
    config: Mapping[str, Mapping[str, Any]] | None = None,
    out: Path | str = "runs",
    progress: Progress | None = None,
    strict: bool = False,
    metrics: Sequence[str] = (),
    sampled_passes: int | None = None,
    sampled_temperature: float | None = None,
    sampled_top_p: float | None = None,
    recipe: str | None = None,
    report_to: Sequence[str] = (),
) -> Training:
    """Does one training and its evaluation, and the base model's, if they are not there yet.

    Args:
        trainer: As one of `plan`'s.
        reward: Spec; `None` for a trainer that takes none, or the recipe's.
        seed: Of training; by default 0.

    The others are `speechbench.planning.plan`'s, and so are the errors.
    """
    progress = progress or Progress()
    planned = plan(
        [] if reward is None else [reward], [trainer], benchmark, model, None if seed is None else [seed], False,
        steps, limit, config, out, progress, strict, metrics, sampled_passes, sampled_temperature, sampled_top_p,
        recipe, report_to=report_to,
    )  # fmt: skip
    run_all(planned, progress)
    return Training(board_of(planned), model_folder(planned.runs[-1]))


def board_of(planned: Plan) -> Board:
    """The leaderboard of a plan's runs, whatever else its folder holds."""
    (board,) = leaderboard(planned.folder, only=[run.id for run in planned.runs])
    return board


def run_all(planned: Plan, progress: Progress, engine: Engine | None = None) -> None:
    """Does every run of a plan that is not finished, each after the one it starts from.

    Args:
        planned: The runs.
        progress: Told of all.
        engine: Where they are done; by default in this process, one after the other.

    Raises:
        SpeechbenchError: If a run fails, after all others are done; if its folder, the model or its code was changed;
            what is finished stays. If processes that were started together planned different runs.
    """
    (engine or InProcess()).run_all(planned, progress)
