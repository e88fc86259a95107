"""Doing an ablation: every planned run that is not finished, in order; then the leaderboard.

An unfinished run goes on from its last checkpoint; a run is finished when its result stands in its folder.
Several processes may work on one ablation: each run is done by the one that holds its folder. Where processes were
started together (`speechbench.distributed`), they are one of these: the main process does all but the training, which
they share.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechbench import distributed, planning
from speechbench.errors import SpeechbenchError
from speechbench.grid import PlannedRun
from speechbench.leaderboard import Board, leaderboard
from speechbench.locks import held, holder
from speechbench.one_run import do_run, info_of, model_folder, name_of, train_run
from speechbench.planning import Plan
from speechbench.progress import Progress
from speechbench.runs import check_sealed, make_sure_of_run, read_run

__all__ = ["Plan", "PlannedRun", "Training", "ablate", "board_of", "model_folder", "plan", "run_all", "train"]

_WAIT = 1.0  # seconds between looks at runs that someone else does

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
) -> Board:
    """Trains and measures every run of the grid that is not there yet, and ranks them.

    What the arguments mean and which errors they raise: `speechbench.planning.plan`; of a sweep, which comes first,
    `speechbench.sweep.plan_sweep`.

    Returns:
        The leaderboard of this grid's runs.
    """
    from speechbench.sweep import is_asked, plan_sweep, run_sweep  # it does its trials here

    progress = progress or Progress()
    is_swept = is_asked(sweep, sweep_trials, sweep_metric, sweep_seed)
    planned = plan(
        rewards, trainers, benchmark, model, seeds, controls, steps, limit, config, out, progress, strict, metrics,
        sampled_passes, sampled_temperature, sampled_top_p, recipe,
    )  # fmt: skip
    if is_swept:
        planned = run_sweep(
            plan_sweep(planned, sweep, sweep_trials, sweep_metric, sweep_seed, progress), progress
        ).planned
    run_all(planned, progress)
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
        recipe,
    )  # fmt: skip
    run_all(planned, progress)
    return Training(board_of(planned), model_folder(planned.runs[-1]))


def board_of(planned: Plan) -> Board:
    """The leaderboard of a plan's runs, whatever else its folder holds."""
    (board,) = leaderboard(planned.folder, only=[run.id for run in planned.runs])
    return board


def run_all(planned: Plan, progress: Progress) -> None:
    """Does every run of a plan that is not finished, in order.

    What another process holds is left to it; then its result is waited for, or its place taken if it goes. Of processes
    that were started together, all return when all runs are finished.

    Raises:
        SpeechbenchError: If a run fails, or its folder, the model or its code was changed; what is finished stays. If
            processes that were started together planned different runs.
    """
    _check_all_planned_the_same(planned)
    if distributed.is_main():
        _lead(planned, progress)
        distributed.from_main(None)
    else:
        _take_part(planned)


def _check_all_planned_the_same(planned: Plan) -> None:
    plans = distributed.from_all([run.id for run in planned.runs])
    for rank, ids in enumerate(plans):
        if ids != plans[0]:
            raise SpeechbenchError(
                f"process {rank} of {len(plans)} planned other runs than the main one: give all the same command, "
                "code, data and model, and versions of the libraries"
            )


def _take_part(planned: Plan) -> None:
    """Trains what the main process is about to train, for as long as there is something."""
    while (place := distributed.from_main()) is not None:
        train_run(planned, planned.runs[place], Progress())


def _lead(planned: Plan, progress: Progress) -> None:
    progress.plan(sum(_units(planned, run) for run in planned.runs))
    for run in planned.runs:
        _announce(planned, run)
    left = dict(enumerate(planned.runs, start=1))
    told: set[str] = set()
    while left:
        before = len(left)
        for number, run in list(left.items()):
            if run.is_finished:
                progress.start(name_of(run), number, len(planned.runs))
                progress.skip(_units(planned, run))
                _report(planned, run, progress)
                del left[number]
                continue
            if run.start is not None and not run.start.is_finished:
                continue
            with held(run.folder) as ours:
                if ours and not run.is_finished:  # else it was finished between the look and the lock
                    progress.start(name_of(run), number, len(planned.runs))
                    do_run(planned, run, progress)
                    _report(planned, run, progress)
                    del left[number]
                elif not ours and run.id not in told:
                    told.add(run.id)
                    progress.tell(f"{name_of(run)} is being done by {holder(run.folder)}: left to it")
        if len(left) == before:
            if "waiting" not in told:
                told.add("waiting")
                progress.tell("waiting for what others do; Ctrl-C leaves it to them")
            time.sleep(_WAIT)


def _units(planned: Plan, run: PlannedRun) -> int:
    passes = 1 + (0 if planned.sampled is None else planned.sampled.passes)
    return passes * len(planned.examples) + run.steps


def _announce(planned: Plan, run: PlannedRun) -> None:
    """Makes sure that the folder is this run's: what was changed in it is better known before the work.

    The run then counts on the board as planned, until it has a result. What someone else holds, is theirs to announce.
    """
    if run.is_finished:
        make_sure_of_run(run.folder, info_of(planned, run))
        check_sealed(run.folder)
        return
    with held(run.folder) as ours:
        if ours:
            make_sure_of_run(run.folder, info_of(planned, run))


def _report(planned: Plan, run: PlannedRun, progress: Progress) -> None:
    result = read_run(run.folder).result
    assert result is not None
    scores = [(m.display, result.metrics[str(m.spec)]) for m in planned.metrics]
    summary = ", ".join(f"{name} {score:.1f}" for name, score in scores if score is not None)
    progress.finish(run.label, result.seconds["total"], summary)
