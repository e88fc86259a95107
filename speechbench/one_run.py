"""One run: trained, evaluated, and written down, the result last."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from speechbench import distributed
from speechbench.benchmarks.base import Example
from speechbench.benchmarks.fingerprint import fingerprint
from speechbench.errors import SpeechbenchError
from speechbench.evaluation import Evaluation, describe, evaluate, evaluate_passes, peak_memory_bytes
from speechbench.grid import PlannedRun, lasting_name
from speechbench.health import health
from speechbench.models.base import SpeechModel
from speechbench.models.loading import code_hash, load_model
from speechbench.planning import Plan, input_of
from speechbench.progress import Progress
from speechbench.provenance import provenance
from speechbench.reporting import reported
from speechbench.rewards.base import total_usage
from speechbench.rewards.combined import families_of
from speechbench.run_files import remove_temporary
from speechbench.run_now import recorded
from speechbench.run_schema import FAILURE, TRAINED, Best, Result, RunInfo, Sampled, run_name
from speechbench.runs import read_run, write_failure, write_passes, write_result, write_run, write_samples
from speechbench.settings import described
from speechbench.trainers.base import TrainResult
from speechbench.trainers.sharding import is_sharded


def name_of(run: PlannedRun) -> str:
    """What a run is called in messages."""
    return run_name(run.label, run.seed)


def model_folder(run: PlannedRun) -> Path:
    """Where a run's trained model stands once it is finished."""
    return run.folder / TRAINED


def info_of(planned: Plan, run: PlannedRun) -> RunInfo:
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
        data_fingerprint=planned.shared["data"][planned.asked.split],
        config=_config(run),
        metrics=tuple(describe(metric) for metric in planned.metrics),
        start=None if run.start is None else run.start.id,
        control=run.control,
        reward_families=() if run.reward is None else families_of(run.reward),
        has_control_reward=run.reward is not None and run.reward.family == "control",
        split=planned.asked.split,
        provenance={
            **provenance(),
            "data": dict(planned.benchmark.provenance()),
            "model": dict(planned.model.provenance()),
        },
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
                f"{name_of(run.start)} is finished, but the model to go on from is gone from {folder}: remove "
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


def train_run(planned: Plan, run: PlannedRun, progress: Progress) -> tuple[SpeechModel, TrainResult]:
    """What all processes do of a run; the folder is held by the main one."""
    assert run.stage is not None and run.config is not None
    _check_data(planned)
    model = _model_to_train(planned, run)
    config = dataclasses.replace(run.config, progress=progress, trainer="+".join(run.stages))
    reward = run.reward if config.uses_reward else None
    trained = planned.trainers[run.stage](model, planned.benchmark, reward, config)
    _check_trained(run, trained)
    if is_sharded(model):  # to be measured, it is needed whole
        model = load_model(planned.model.name)
        model.load_weights(trained.model_folder)
    return model, trained


def do_run(planned: Plan, run: PlannedRun, progress: Progress) -> None:
    """Trains, evaluates, and writes the result last; the folder is held.

    Where it fails, the folder says why until it is tried again.
    """
    try:
        with (
            recorded(progress, run.folder, run.steps) as progress,
            reported(progress, planned, run) as progress,
        ):
            _do_run(planned, run, progress)
    except Exception as error:
        with suppress(OSError, SpeechbenchError):  # what failed is what is to be told
            write_failure(run.folder, error)
        raise


def _do_run(planned: Plan, run: PlannedRun, progress: Progress) -> None:
    remove_temporary(run.folder)
    (run.folder / FAILURE).unlink(missing_ok=True)
    write_run(run.folder, info_of(planned, run))  # its provenance is that of whoever does it
    seconds = {"sampling": 0.0, "scoring": 0.0, "learning": 0.0}
    model, steps = planned.model, 0
    warnings: tuple[str, ...] = ()
    used: Mapping[str, float] = {}
    best: Best | None = None
    if run.stage is not None:
        distributed.from_main(planned.runs.index(run))  # the others wait in speechbench.ablation
        model, trained = train_run(planned, run, progress)
        seconds.update(trained.seconds)
        steps, warnings, used, best = trained.steps, trained.warnings, trained.usage, trained.best
    train = sum(seconds.values())
    start = time.perf_counter()
    examples = input_of(planned, run)
    evaluation = evaluate(model, examples, planned.metrics, planned.sampling, progress)
    passes = _passes(planned, model, examples, progress)
    seconds.update(evaluation=time.perf_counter() - start, train=train)
    seconds["total"] = train + seconds["evaluation"]
    usage = total_usage([used, evaluation.usage, *(its.usage for its in passes)])
    write_samples(run.folder, evaluation.samples)
    if passes:
        write_passes(run.folder, [its.samples for its in passes])
    healthy, memory, sampled = health(evaluation.samples), peak_memory_bytes(), _sampled(planned, passes)
    tokens = {
        "train": round(sum(line.get("tokens", 0.0) for line in read_run(run.folder).log)),
        "evaluation": sum(sample.tokens for sample in evaluation.samples),
    }
    result = Result(evaluation.metrics, healthy, seconds, memory, steps, warnings, usage, best, sampled, tokens)
    write_result(run.folder, result)


def _passes(planned: Plan, model: SpeechModel, examples: Sequence[Example], progress: Progress) -> Sequence[Evaluation]:
    """The second evaluation, whose answers are sampled: each of its passes; none where none was asked for."""
    if planned.sampled is None:
        return []
    sampling = planned.sampled.sampling(planned.sampling.max_tokens)
    return evaluate_passes(model, examples, planned.metrics, sampling, planned.sampled.passes, progress)


def _sampled(planned: Plan, passes: Sequence[Evaluation]) -> Sampled | None:
    if planned.sampled is None:
        return None
    scores = {str(metric.spec): tuple(its.metrics[str(metric.spec)] for its in passes) for metric in planned.metrics}
    return Sampled(planned.sampled.temperature, planned.sampled.top_p, scores)
