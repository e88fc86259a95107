"""Doing an ablation: every planned run that is not finished, in order; then the leaderboard.

An unfinished run goes on from its last checkpoint; a run is finished when its result stands in its folder.
Several processes may work on one ablation: each run is done by the one that holds its folder.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechbench.benchmarks.fingerprint import fingerprint
from speechbench.errors import SpeechbenchError
from speechbench.evaluation import describe, evaluate, peak_memory_bytes
from speechbench.grid import PlannedRun, lasting_name
from speechbench.health import health
from speechbench.leaderboard import Board, leaderboard
from speechbench.locks import held, holder
from speechbench.models.base import SpeechModel
from speechbench.models.loading import code_hash, load_model
from speechbench.planning import DEFAULT_TRAINERS, Plan, input_of, plan
from speechbench.progress import Progress
from speechbench.provenance import provenance
from speechbench.rewards.base import total_usage
from speechbench.run_files import remove_temporary
from speechbench.run_schema import TRAINED, Result, RunInfo
from speechbench.runs import check_sealed, make_sure_of_run, read_run, write_result, write_run, write_samples
from speechbench.settings import described
from speechbench.trainers.base import TrainResult

__all__ = ["Plan", "PlannedRun", "Training", "ablate", "board_of", "model_folder", "plan", "run_all", "train"]

_WAIT = 1.0  # seconds between looks at runs that someone else does


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
    trainers: Sequence[str] = DEFAULT_TRAINERS,
    benchmark: str = "covost2-mini",
    model: str = "tiny",
    seeds: Sequence[int] = (0,),
    controls: bool = False,
    steps: int | None = None,
    limit: int | None = None,
    config: Mapping[str, Mapping[str, Any]] | None = None,
    out: Path | str = "runs",
    progress: Progress | None = None,
    strict: bool = False,
    metrics: Sequence[str] = (),
) -> Board:
    """Trains and measures every run of the grid that is not there yet, and ranks them.

    What the arguments mean and which errors they raise: `speechbench.planning.plan`.

    Returns:
        The leaderboard of this grid's runs.
    """
    progress = progress or Progress()
    planned = plan(
        rewards, trainers, benchmark, model, seeds, controls, steps, limit, config, out, progress, strict, metrics
    )
    run_all(planned, progress)
    return board_of(planned)


def train(
    trainer: str,
    reward: str | None = None,
    benchmark: str = "covost2-mini",
    model: str = "tiny",
    seed: int = 0,
    steps: int | None = None,
    limit: int | None = None,
    config: Mapping[str, Mapping[str, Any]] | None = None,
    out: Path | str = "runs",
    progress: Progress | None = None,
    strict: bool = False,
    metrics: Sequence[str] = (),
) -> Training:
    """Does one training and its evaluation, and the base model's, if they are not there yet.

    Args:
        trainer: As one of `plan`'s.
        reward: Spec; `None` for a trainer that takes none.
        seed: Of training.

    The others are `speechbench.planning.plan`'s, and so are the errors.
    """
    progress = progress or Progress()
    rewards = [] if reward is None else [reward]
    planned = plan(
        rewards, [trainer], benchmark, model, [seed], False, steps, limit, config, out, progress, strict, metrics
    )
    run_all(planned, progress)
    return Training(board_of(planned), model_folder(planned.runs[-1]))


def board_of(planned: Plan) -> Board:
    """The leaderboard of a plan's runs, whatever else its folder holds."""
    (board,) = leaderboard(planned.folder, only=[run.id for run in planned.runs])
    return board


def model_folder(run: PlannedRun) -> Path:
    """Where a run's trained model stands once it is finished."""
    return run.folder / TRAINED


def run_all(planned: Plan, progress: Progress) -> None:
    """Does every run of a plan that is not finished, in order.

    What another process holds is left to it; then its result is waited for, or its place taken if it goes.

    Raises:
        SpeechbenchError: If a run fails, or its folder, the model or its code was changed; what is finished stays.
    """
    progress.plan(sum(_units(planned, run) for run in planned.runs))
    for run in planned.runs:
        _announce(planned, run)
    left = dict(enumerate(planned.runs, start=1))
    told: set[str] = set()
    while left:
        before = len(left)
        for number, run in list(left.items()):
            if run.is_finished:
                progress.start(_name(run), number, len(planned.runs))
                progress.skip(_units(planned, run))
                _report(planned, run, progress)
                del left[number]
                continue
            if run.start is not None and not run.start.is_finished:
                continue
            with held(run.folder) as ours:
                if ours and not run.is_finished:  # else it was finished between the look and the lock
                    progress.start(_name(run), number, len(planned.runs))
                    _do(planned, run, progress)
                    _report(planned, run, progress)
                    del left[number]
                elif not ours and run.id not in told:
                    told.add(run.id)
                    progress.tell(f"{_name(run)} is being done by {holder(run.folder)}: left to it")
        if len(left) == before:
            if "waiting" not in told:
                told.add("waiting")
                progress.tell("waiting for what others do; Ctrl-C leaves it to them")
            time.sleep(_WAIT)


def _units(planned: Plan, run: PlannedRun) -> int:
    return len(planned.examples) + run.steps


def _name(run: PlannedRun) -> str:
    return run.label if run.seed is None else f"{run.label} seed {run.seed}"


def _announce(planned: Plan, run: PlannedRun) -> None:
    """Makes sure that the folder is this run's: what was changed in it is better known before the work.

    The run then counts on the board as planned, until it has a result. What someone else holds, is theirs to announce.
    """
    if run.is_finished:
        make_sure_of_run(run.folder, _info(planned, run))
        check_sealed(run.folder)
        return
    with held(run.folder) as ours:
        if ours:
            make_sure_of_run(run.folder, _info(planned, run))


def _report(planned: Plan, run: PlannedRun, progress: Progress) -> None:
    result = read_run(run.folder).result
    assert result is not None
    scores = [(m.display, result.metrics[str(m.spec)]) for m in planned.metrics]
    summary = ", ".join(f"{name} {score:.1f}" for name, score in scores if score is not None)
    progress.finish(run.label, result.seconds["total"], summary)


def _info(planned: Plan, run: PlannedRun) -> RunInfo:
    """What the run is, as its folder says."""
    return RunInfo(
        id=run.id,
        label=run.label,
        trainer="+".join(run.stages) or None,
        reward=None if run.reward is None else lasting_name(run.reward),
        seed=run.seed,
        model=planned.model.name,
        model_fingerprint=planned.model.fingerprint,
        benchmark=planned.benchmark.name,
        data_fingerprint=planned.shared["data"]["test"],
        config=_config(run),
        metrics=tuple(describe(metric) for metric in planned.metrics),
        start=None if run.start is None else run.start.id,
        control=run.control,
        has_control_reward=run.reward is not None and run.reward.family == "control",
        provenance={**provenance(), "data": dict(planned.benchmark.provenance())},
    )


def _config(run: PlannedRun) -> dict[str, Any]:
    """All settings that tell one row of the board from another, those of earlier stages included."""
    config = {} if run.config is None else described(run.config)
    if run.reward is not None:  # an edited reward is another row
        config["reward_signature"] = dict(run.reward.signature())
    if run.start is not None:
        config["start"] = _config(run.start)
    return config


def _model_to_train(planned: Plan, run: PlannedRun) -> SpeechModel:
    """The base model once more, as it was when the ablation was planned; with the weights of the stage before."""
    name = planned.model.name
    unchanged = code_hash(name) == planned.shared.get("model_file")
    model = load_model(name)
    if not unchanged or model.fingerprint != planned.model.fingerprint:
        raise SpeechbenchError(f"model {name} was changed while the ablation went on: run the same command again")
    if run.start is not None:
        folder = model_folder(run.start)
        if not folder.is_dir():
            raise SpeechbenchError(
                f"{_name(run.start)} is finished, but the model to go on from is gone from {folder}: remove "
                f"{run.start.folder} and run the same command again"
            )
        model.load_weights(folder)
    return model


def _check_data(planned: Plan) -> None:
    """Refuses to train on other data than the run is known by."""
    if fingerprint(planned.benchmark.load("train", planned.limit)) != planned.shared["data"]["train"]:
        raise SpeechbenchError(
            f"the training data of {planned.benchmark.name} was changed while the ablation went on: run the same "
            "command again, which takes what was finished before for another ablation"
        )


def _check_trained(run: PlannedRun, trained: object) -> None:
    if not isinstance(trained, TrainResult):
        raise SpeechbenchError(
            f"trainer {run.stage} returned {type(trained).__name__}: it should return a "
            "speechbench.trainers.base.TrainResult"
        )
    if trained.model_folder != model_folder(run) or not model_folder(run).is_dir():
        raise SpeechbenchError(
            f"trainer {run.stage} left its model in {trained.model_folder}: it should save it to "
            f"{model_folder(run)}, which is config.output_dir / 'checkpoints' / 'final'"
        )


def _do(planned: Plan, run: PlannedRun, progress: Progress) -> None:
    """Trains, evaluates, and writes the result last; the folder is held."""
    remove_temporary(run.folder)
    write_run(run.folder, _info(planned, run))  # its provenance is that of whoever does it
    seconds = {"sampling": 0.0, "scoring": 0.0, "learning": 0.0}
    model, steps = planned.model, 0
    warnings: tuple[str, ...] = ()
    used: Mapping[str, float] = {}
    if run.stage is not None and run.config is not None:
        _check_data(planned)
        model = _model_to_train(planned, run)
        config = dataclasses.replace(run.config, progress=progress, trainer="+".join(run.stages))
        reward = run.reward if config.uses_reward else None
        trained = planned.trainers[run.stage](model, planned.benchmark, reward, config)
        _check_trained(run, trained)
        seconds.update(trained.seconds)
        steps, warnings, used = trained.steps, trained.warnings, trained.usage
    train = sum(seconds.values())
    start = time.perf_counter()
    evaluation = evaluate(model, input_of(planned, run), planned.metrics, planned.sampling, progress)
    seconds.update(evaluation=time.perf_counter() - start, train=train)
    seconds["total"] = train + seconds["evaluation"]
    usage = total_usage([used, evaluation.usage])
    write_samples(run.folder, evaluation.samples)
    write_result(
        run.folder,
        Result(evaluation.metrics, health(evaluation.samples), seconds, peak_memory_bytes(), steps, warnings, usage),
    )
