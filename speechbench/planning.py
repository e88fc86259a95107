"""Which runs an ablation is made of: the grid, resolved, each run known by its id.

A run's id is a hash of all that decides its outcome: resolved configuration, data, weights, reward,
metrics and version. So the same run is never done twice, an edited reward is a new run, and an unfinished
run is found again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import speechbench
from speechbench.benchmarks.base import Benchmark, Example
from speechbench.benchmarks.fingerprint import fingerprint
from speechbench.benchmarks.loading import load_benchmark
from speechbench.errors import UsageError
from speechbench.evaluation import describe, load_metrics
from speechbench.libraries import set_up
from speechbench.models.base import Sampling, SpeechModel
from speechbench.models.loading import load_model
from speechbench.progress import Progress
from speechbench.registry import REWARDS, TRAINERS
from speechbench.rewards.base import Reward
from speechbench.rewards.loading import load_reward
from speechbench.specs import parse
from speechbench.trainers.base import TrainConfig, TrainResult

_SHOWN_PROBLEMS = 5
DEFAULT_TRAINERS = ("sft", "grpo", "mixed-grpo")
_NOT_IDENTITY = ("output_dir", "progress", "seed", "save_steps")  # of a configuration: they do not change the outcome


@dataclass(frozen=True)
class PlannedRun:
    """One run of the grid.

    Attributes:
        id: Hash of all that decides the outcome.
        label: What its row is called.
        trainer: Name in the registry; `None` for the base model, which is only measured.
        reward: `None` where the trainer takes none.
        seed: `None` for the base model.
        config: What the trainer is told; `None` for the base model.
        folder: Where it is kept.
    """

    id: str
    label: str
    trainer: str | None
    reward: Reward | None
    seed: int | None
    config: TrainConfig | None
    folder: Path

    @property
    def steps(self) -> int:
        """Optimizer steps of its training; 0 for the base model."""
        return 0 if self.config is None else self.config.max_steps

    @property
    def is_finished(self) -> bool:
        """Whether its result is there."""
        return (self.folder / "result.json").exists()


@dataclass(frozen=True)
class Plan:
    """An ablation before it is done: what its runs share, and the runs in order."""

    benchmark: Benchmark
    model: SpeechModel
    examples: Sequence[Example]
    metrics: Sequence[Reward]
    sampling: Sampling
    shared: Mapping[str, Any]
    folder: Path
    runs: tuple[PlannedRun, ...]


def plan(
    rewards: Sequence[str],
    trainers: Sequence[str] = DEFAULT_TRAINERS,
    benchmark: str = "covost2-mini",
    model: str = "tiny",
    seeds: Sequence[int] = (0,),
    steps: int | None = None,
    limit: int | None = None,
    config: Mapping[str, Mapping[str, Any]] | None = None,
    out: Path | str = "runs",
    progress: Progress | None = None,
) -> Plan:
    """Resolves what is to be run; makes the benchmark's data if that is not there yet.

    Args:
        rewards: Specs; each is trained on once per seed and per trainer that takes a reward.
        trainers: Names.
        benchmark: Spec.
        model: Spec, run folder or checkpoint folder: the base that all runs start from.
        seeds: Of training; the base is measured once.
        steps: Optimizer steps of every trainer, instead of each trainer's own.
        limit: Learn from and test on at most so many examples.
        config: By trainer's name, fields of its configuration.
        out: Where the ablation's folder is made.
        progress: Told of what takes long.

    Raises:
        UsageError: If a name, a value or a combination is wrong.
        MissingError: If an extra, a checkpoint or a data set is missing.
    """
    progress = progress or Progress()
    set_up()
    loaded = load_benchmark(benchmark)
    functions = {name: TRAINERS.get(name) for name in dict.fromkeys(trainers)}
    shared_settings = {"max_steps": steps, "limit": limit}
    resolved = {
        name: _configure(name, function, loaded, shared_settings, (config or {}).get(name, {}))
        for name, function in functions.items()
    }
    _check_config_names(config or {}, functions)
    metrics = load_metrics(loaded)
    measured = {str(metric.spec): metric for metric in metrics}
    named = (load_reward(spec, loaded) for spec in rewards)
    scored = {str(r.spec): measured.get(str(r.spec), r) for r in named}  # a checkpoint is held once
    if not scored and any(c.uses_reward for c in resolved.values()):
        raise UsageError("no reward is named: give --rewards, or only trainers that take none")
    loaded.prepare(progress.advance)
    base = load_model(model)
    examples, learned = loaded.load("test", limit), loaded.load("train", limit)
    for problem in loaded.problems[:_SHOWN_PROBLEMS]:
        progress.tell(f"{problem.where}: {problem.what}")
    if len(loaded.problems) > _SHOWN_PROBLEMS:
        progress.tell(f"{len(loaded.problems)} such problems: `speechbench benchmarks check {loaded.name!r}` lists all")
    longest = max([loaded.max_completion_length, *(c.max_completion_length for c in resolved.values())])
    sampling = Sampling(temperature=0.0, max_tokens=longest)
    shared = {
        "version": speechbench.__version__,
        "benchmark": loaded.name,
        "data": {"test": fingerprint(examples), "train": fingerprint(learned)},
        "model": base.name,
        "weights": base.fingerprint,
        "evaluation": dataclasses.asdict(sampling),
        "metrics": [dataclasses.asdict(describe(metric)) for metric in metrics],
    }
    folder = Path(out) / f"{_slug(loaded.name)}-{_slug(base.name)}-{_hash(shared)[:8]}"
    cells: list[tuple[str | None, Reward | None, int | None, TrainConfig | None]] = [(None, None, None, None)]
    for seed in seeds:
        for name, c in resolved.items():
            for reward in scored.values() if c.uses_reward else [None]:
                cells.append((name, reward, seed, dataclasses.replace(c, seed=seed)))
    runs = [_plan_run(folder, shared, *cell) for cell in cells]
    return Plan(loaded, base, examples, metrics, sampling, shared, folder, tuple(runs))


def _plan_run(
    folder: Path, shared: Mapping[str, Any], trainer: str | None, reward: Reward | None, seed: int | None,
    config: TrainConfig | None,
) -> PlannedRun:  # fmt: skip
    identity = {
        **shared,
        "trainer": trainer,
        "trainer_file": TRAINERS.file_hash(trainer) if trainer else None,
        "reward": None if reward is None else _identity(reward),
        "seed": seed,
        "config": None if config is None else described(config),
    }
    id_ = _hash(identity)[:16]
    short = "base" if trainer is None else trainer.rpartition(":")[2]
    label = short if reward is None else f"{short}({_short(reward)})"
    config = None if config is None else dataclasses.replace(config, output_dir=folder / id_)
    return PlannedRun(id_, label, trainer, reward, seed, config, folder / id_)


def _identity(reward: Reward) -> dict[str, Any]:
    """What makes a reward this one; of one from a file its text counts (in the signature), not where it lies."""
    is_from_file = REWARDS.file_hash(reward.spec.name) is not None
    return {"spec": _short(reward) if is_from_file else str(reward.spec), "signature": dict(reward.signature())}


def _short(reward: Reward) -> str:
    """A reward as a row is called: without its file, and comet without the checkpoint that the column names."""
    name = reward.spec.name.rpartition(":")[2]
    parameters = {k: v for k, v in reward.spec.parameters.items() if (reward.spec.name, k) != ("comet", "model")}
    return str(dataclasses.replace(reward.spec, name=name, parameters=parameters))


def described(config: TrainConfig) -> dict[str, Any]:
    """A configuration as it is hashed and written: without folder, seed and what only concerns this process."""
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.name not in _NOT_IDENTITY}


def _configure(
    name: str,
    function: Callable[..., TrainResult],
    benchmark: Benchmark,
    shared: Mapping[str, Any],
    own: Mapping[str, Any],
) -> TrainConfig:
    kind = typing.get_type_hints(function).get("config")
    if not (isinstance(kind, type) and issubclass(kind, TrainConfig)):
        raise UsageError(f"trainer {name}: its parameter `config` must be annotated with a subclass of TrainConfig")
    values = {"max_completion_length": benchmark.max_completion_length, **own}
    known = {f.name for f in dataclasses.fields(kind)} - {"output_dir", "progress", "seed"}
    for key in values:
        if key not in known:
            raise UsageError(f"configuration of {name}: there is no {key!r}; there are: {', '.join(sorted(known))}")
    values.update({key: value for key, value in shared.items() if value is not None})
    made = kind(output_dir=Path(), **values)
    if made.max_steps < 1:
        raise UsageError(f"trainer {name}: max_steps={made.max_steps}, but training takes at least one step")
    return made


def _check_config_names(config: Mapping[str, Any], functions: Mapping[str, Any]) -> None:
    for name in config:
        TRAINERS.get(name)
        if name not in functions:
            raise UsageError(f"configuration of {name!r}: that trainer is not among {', '.join(functions)}")


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _slug(spec: str) -> str:
    """A spec as part of a folder's name: the plug's name, of a path its last part."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(parse(spec).name).name).strip("-.")
