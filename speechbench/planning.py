"""Which runs an ablation is made of: the grid, resolved, each run known by its id.

A run's id is a hash of all that decides its outcome: resolved configuration, data, weights, reward,
metrics and version. So the same run is never done twice, an edited reward is a new run, and an unfinished
run is found again. A trainer of several stages, `sft+grpo`, is a run for each stage; the later starts from
the model that the earlier trained, whatever else builds on that one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import speechbench
from speechbench.answering import PAPER, Drawing
from speechbench.benchmarks.base import Benchmark, Example
from speechbench.benchmarks.controls import INPUTS, controlled
from speechbench.benchmarks.fingerprint import fingerprint
from speechbench.benchmarks.loading import load_benchmark
from speechbench.benchmarks.telling import refuse_or_tell
from speechbench.distributed import world_size
from speechbench.errors import UsageError
from speechbench.evaluation import describe, load_metrics
from speechbench.grammar import slug
from speechbench.grid import Maker, PlannedRun, hashed
from speechbench.libraries import set_up
from speechbench.models.base import Sampling, SpeechModel
from speechbench.models.loading import code_hash, load_model
from speechbench.progress import Progress
from speechbench.registry import TRAINERS
from speechbench.rewards.base import Reward
from speechbench.rewards.loading import identity, load_reward
from speechbench.settings import configure
from speechbench.specs import Spec
from speechbench.trainers.base import TrainConfig, TrainResult
from speechbench.trainers.validation import measured_by

DEFAULT_TRAINERS = ("sft", "grpo", "mixed-grpo")
CONTROL_REWARDS = ("random", "confidence")
"""Added by `controls`, beside each reward shuffled: what a run gains under them it does not owe to the reward."""


@dataclass(frozen=True)
class Plan:
    """An ablation before it is done: what its runs share, and the runs in order.

    A run stands after the run it starts from. All plugs are held here as they were found: what is edited while the
    ablation goes on is the next one's.
    """

    benchmark: Benchmark
    model: SpeechModel
    examples: Sequence[Example]
    metrics: Sequence[Reward]
    trainers: Mapping[str, Callable[..., TrainResult]]
    sampling: Sampling
    shared: Mapping[str, Any]
    folder: Path
    runs: tuple[PlannedRun, ...]
    limit: int | None = None
    sampled: Drawing | None = None


def plan(
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
    sampled_passes: int = 0,
    sampled_temperature: float = PAPER.temperature,
    sampled_top_p: float = PAPER.top_p,
) -> Plan:
    """Resolves what is to be run; makes the benchmark's data if that is not there yet.

    Args:
        rewards: Specs; each is trained on once per seed and per trainer that takes a reward.
        trainers: Names, or several joined by "+": `sft+grpo` does GRPO from the model that SFT trained.
        benchmark: Spec.
        model: Spec, run folder or checkpoint folder: the base that all runs start from.
        seeds: Of training; the base is measured once.
        controls: Also train on `random`, `confidence` and each reward `shuffled`, and measure the base model on
            silence, on the instruction alone and on the transcript in place of the speech.
        steps: Optimizer steps of every trainer, instead of each trainer's own.
        limit: Learn from and test on at most so many examples.
        config: By trainer, fields of its configuration. What stands under `sft+grpo` holds for GRPO after SFT,
            on top of what stands under `grpo`.
        out: Where the ablation's folder is made.
        progress: Told of what takes long.
        strict: End at anything missing or broken in the data, instead of doing without.
        metrics: Specs of what is measured; the benchmark's own if there are none.
        sampled_passes: Beside the greedy evaluation, answer the test examples so many times over, sampling.
        sampled_temperature: Of that sampling.
        sampled_top_p: Of that sampling: draws among the likeliest tokens whose probabilities sum to it.

    Raises:
        UsageError: If a name, a value or a combination is wrong.
        MissingError: If an extra, a checkpoint or a data set is missing.
        SpeechbenchError: If the data is broken or the folder cannot be written.
    """
    progress = progress or Progress()
    set_up()
    _check_lists(rewards=rewards, trainers=trainers, seeds=seeds)
    _check_numbers(seeds, steps, limit)
    sampled = _sampled(sampled_passes, sampled_temperature, sampled_top_p)
    loaded = load_benchmark(benchmark)
    chains = {name: name.split("+") for name in dict.fromkeys(trainers)}
    functions = {stage: TRAINERS.get(stage) for stages in chains.values() for stage in stages}
    configs = _configs(chains, functions, loaded, {"max_steps": steps, "limit": limit}, config or {})
    measured = load_metrics(loaded, metrics)
    scored = _load_rewards(rewards, loaded, measured, controls)
    _check_rewards_are_used(rewards, configs)
    loaded.prepare(progress.advance)
    base = load_model(model)
    examples, learned = loaded.load("test", limit), loaded.load("train", limit)
    refuse_or_tell(loaded, progress, strict)
    longest = max([loaded.max_completion_length, *(c.max_completion_length for c in configs.values())])
    sampling = Sampling(temperature=0.0, max_tokens=longest)
    shared: dict[str, Any] = {
        "version": speechbench.__version__,
        "benchmark": loaded.name,
        "data": {"test": fingerprint(examples, progress.advance), "train": fingerprint(learned, progress.advance)},
        "model": base.name,
        "weights": base.fingerprint,
        "evaluation": {key: value for key, value in dataclasses.asdict(sampling).items() if key != "top_p"},  # greedy
        "metrics": [{**dataclasses.asdict(describe(metric)), "name": identity(metric)} for metric in measured],
    }
    if validations := _validations(loaded, configs, measured):
        shared["validation"] = validations
    if sampled is not None:
        shared["sampled"] = dataclasses.asdict(sampled)
    if world_size() > 1:  # a step learns from the examples of all processes
        shared["processes"] = world_size()
    code = code_hash(model)
    if code is not None:  # a model of the user's own: when its file is edited, it is another
        shared["model_file"] = code
    folder = Path(out) / f"{slug(loaded.name)}-{slug(base.name)}-{hashed(shared)[:8]}"
    maker = Maker(folder, shared, configs)
    runs = [maker.base()]
    for control in INPUTS if controls else ():
        if controlled(control, examples) is None:
            progress.tell(f"{control} is left out: not every test example of {loaded.name} has a transcript")
        else:
            runs.append(maker.base(control))
    for seed in seeds:
        for name, stages in chains.items():
            takes_reward = any(configs[name, place].uses_reward for place in range(len(stages)))
            for reward in scored if takes_reward else [None]:
                runs += maker.chain(name, reward, seed)
    once = tuple({run.id: run for run in runs}.values())
    return Plan(loaded, base, examples, measured, functions, sampling, shared, folder, once, limit, sampled)


def input_of(planned: Plan, run: PlannedRun) -> Sequence[Example]:
    """The test examples as a run's model is given them."""
    if run.control is None:
        return planned.examples
    changed = controlled(run.control, planned.examples)
    assert changed is not None  # such a run is not planned
    return changed


def _validations(
    benchmark: Benchmark, configs: Mapping[tuple[str, int], TrainConfig], metrics: Sequence[Reward]
) -> list[Any]:
    """By what and on what the trainings that ask for it choose their best model, as it is hashed."""
    known = {str(metric.spec): metric for metric in metrics}
    found = {}
    for config in configs.values():
        if config.eval_steps is not None:
            metric, examples = measured_by(benchmark, config, known)
            by = {"metric": identity(metric), "signature": dict(metric.signature()), "data": fingerprint(examples)}
            found[hashed(by)] = by
    return [found[key] for key in sorted(found)]


def _load_rewards(
    specs: Sequence[str], benchmark: Benchmark, metrics: Sequence[Reward], controls: bool
) -> list[Reward]:
    known = {str(metric.spec): metric for metric in metrics}  # so that each checkpoint is held once

    def load(spec: str | Spec) -> Reward:
        reward = load_reward(spec, benchmark, known)
        return known.setdefault(str(reward.spec), reward)

    named = [load(spec) for spec in specs]
    if controls:
        real = [reward for reward in named if reward.family != "control"]
        named += [load(spec) for spec in CONTROL_REWARDS]
        named += [load(Spec("shuffled", arguments=(reward.spec,))) for reward in real]
    return list(dict.fromkeys(named))


def _configs(
    chains: Mapping[str, Sequence[str]],
    functions: Mapping[str, Callable[..., TrainResult]],
    benchmark: Benchmark,
    common: Mapping[str, int | None],
    sections: Mapping[str, Mapping[str, Any]],
) -> dict[tuple[str, int], TrainConfig]:
    """The configuration of every stage of every chain, by the chain's name and the stage's place."""
    parts = {  # each stage's own name, and its name with those before it
        (name, place): (stage, "+".join(stages[: place + 1]))
        for name, stages in chains.items()
        for place, stage in enumerate(stages)
    }
    known = {section for both in parts.values() for section in both}
    for section, settings in sections.items():
        for part in str(section).split("+"):
            TRAINERS.get(part)
        if not isinstance(settings, Mapping):
            raise UsageError(
                f"configuration of {section}: {settings!r} should hold settings, as in learning_rate: 1e-5"
            )
        if section not in known:
            raise UsageError(f"configuration of {section!r}: that trainer is not among {', '.join(chains)}")
    defaults = {"max_completion_length": benchmark.max_completion_length}
    given = {key: value for key, value in common.items() if value is not None}
    return {
        at: configure(
            whole, functions[stage], {**sections.get(stage, {}), **sections.get(whole, {}), **given}, defaults
        )
        for at, (stage, whole) in parts.items()
    }


def _check_rewards_are_used(rewards: Sequence[str], configs: Mapping[tuple[str, int], TrainConfig]) -> None:
    takes_one = any(config.uses_reward for config in configs.values())
    if takes_one and not rewards:
        raise UsageError("no reward is named: give --rewards, or only trainers that take none")
    if rewards and not takes_one:
        trainers = ", ".join(dict.fromkeys(name for name, _ in configs))
        raise UsageError(
            f"none of the trainers ({trainers}) takes a reward: leave {', '.join(rewards)} out, or add grpo"
        )


def _sampled(passes: int, temperature: float, top_p: float) -> Drawing | None:
    """How the second evaluation draws; `None` where none is asked for."""
    if passes == 0:
        if (temperature, top_p) != (PAPER.temperature, PAPER.top_p):
            raise UsageError("sampled_temperature and sampled_top_p change nothing without sampled_passes: give it too")
        return None
    if temperature == 0:
        raise UsageError("sampled_temperature=0 is greedy, as the first evaluation is: give a number above 0, as 0.9")
    return Drawing(temperature, top_p, passes)


def _check_lists(**lists: object) -> None:
    for what, value in lists.items():
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise UsageError(f"{what}={value!r} should be a list, as in {what}=[{value!r}]")
        if not value and what != "rewards":
            raise UsageError(f"{what} is empty: name at least one")


def _check_numbers(seeds: Sequence[int], steps: int | None, limit: int | None) -> None:
    for what, value, least in (("steps", steps, 1), ("limit", limit, 1), *(("seed", seed, 0) for seed in seeds)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            raise UsageError(f"{what}={value!r} should be a whole number, {least} or more")
