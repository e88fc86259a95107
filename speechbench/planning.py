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
from speechbench import recipes
from speechbench.answering import Drawing
from speechbench.asking import DEFAULT_TRAINERS, Asked, ask
from speechbench.benchmarks.base import Benchmark, Example
from speechbench.benchmarks.controls import INPUTS, controlled
from speechbench.benchmarks.fingerprint import fingerprint
from speechbench.benchmarks.loading import load_benchmark
from speechbench.benchmarks.telling import refuse_or_tell
from speechbench.distributed import world_size
from speechbench.errors import UsageError
from speechbench.evaluation import describe, load_metrics
from speechbench.grammar import parse_expression, slug
from speechbench.grid import Maker, PlannedRun
from speechbench.libraries import set_up
from speechbench.models.base import Sampling, SpeechModel
from speechbench.models.loading import code_hash, load_model
from speechbench.progress import Progress
from speechbench.registry import TRAINERS
from speechbench.reporting import check
from speechbench.rewards.base import Reward
from speechbench.rewards.loading import identity, load_reward, resolve
from speechbench.rewards.needs import require_met
from speechbench.settings import hashed
from speechbench.specs import Spec
from speechbench.stage_configs import StageConfigs
from speechbench.trainers.base import TrainResult

__all__ = ["CONTROL_REWARDS", "DEFAULT_TRAINERS", "Plan", "input_of", "plan", "plan_of", "replan"]

CONTROL_REWARDS = ("random", "confidence")
"""Added by `controls`, beside each reward shuffled: what a run gains under them it does not owe to the reward."""


@dataclass(frozen=True)
class Plan:
    """An ablation before it is done: what its runs share, and the runs in order.

    A run stands after the run it starts from. All plugs are held here as they were found: what is edited while the
    ablation goes on is the next one's.
    """

    asked: Asked
    benchmark: Benchmark
    model: SpeechModel
    examples: Sequence[Example]
    metrics: Sequence[Reward]
    trainers: Mapping[str, Callable[..., TrainResult]]
    configs: StageConfigs
    sampling: Sampling
    shared: Mapping[str, Any]
    folder: Path
    runs: tuple[PlannedRun, ...]

    @property
    def limit(self) -> int | None:
        """Learn from the first so many examples."""
        return self.asked.limit

    @property
    def sampled(self) -> Drawing | None:
        """How the second evaluation draws; `None` where there is none."""
        return self.asked.sampled

    @property
    def trained_on(self) -> list[Reward]:
        """The rewards of its runs."""
        return list(dict.fromkeys(run.reward for run in self.runs if run.reward is not None))

    @property
    def rewards(self) -> dict[str, Reward]:
        """All that is trained on or measured by, by resolved spec."""
        return {str(reward.spec): reward for reward in (*self.metrics, *self.trained_on)}


def plan(
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
    processes: int | None = None,
    report_to: Sequence[str] = (),
) -> Plan:
    """Resolves what is to be run; makes the benchmark's data if that is not there yet.

    What is `None` is the recipe's; without one, the default.

    Args:
        rewards: Specs; each is trained on once per seed and per trainer that takes a reward. None: the recipe's.
        trainers: Names, or several joined by "+": `sft+grpo` does GRPO from the model that SFT trained; by default
            `DEFAULT_TRAINERS`.
        benchmark: Spec; by default covost2-mini.
        model: Spec, run folder or checkpoint folder: the base that all runs start from; by default tiny.
        seeds: Of training, by default 0; the base is measured once.
        controls: Also train on `random`, `confidence` and each reward `shuffled`, and measure the base model on
            silence, on the instruction alone and on the transcript in place of the speech.
        steps: Optimizer steps of every trainer, instead of each trainer's own.
        limit: Learn from and test on at most so many examples.
        config: By trainer, fields of its configuration. What stands under `sft+grpo` holds for GRPO after SFT,
            on top of what stands under `grpo`; under `grpo(bleu)` or `sft+grpo(bleu)`, for the runs on that reward
            alone, on top of both.
        out: Where the ablation's folder is made.
        progress: Told of what takes long.
        strict: End at anything missing or broken in the data, instead of doing without.
        metrics: Specs of what is measured; by default the recipe's, without one the benchmark's own.
        sampled_passes: Also answer the test examples so many times over, sampling; by default 0.
        sampled_temperature: Of that sampling; by default the paper's 0.9.
        sampled_top_p: Of that sampling, as `speechbench.models.base.Sampling` has it; by default the paper's 0.9.
        recipe: A name of `speechbench.recipes.list`; what is given here stands on top of it.
        processes: That train each run together; `None` for those that this one was started with.
        report_to: Experiment trackers that hear of every training: "tensorboard", "wandb", "trackio".

    Raises:
        UsageError: If a name, a value or a combination is wrong.
        MissingError: If an extra, a checkpoint or a data set is missing.
        SpeechbenchError: If the data is broken or the folder cannot be written.
    """
    given = {
        "rewards": rewards or None, "trainers": trainers, "benchmark": benchmark, "model": model, "seeds": seeds,
        "metrics": metrics or None, "sampled_passes": sampled_passes, "sampled_temperature": sampled_temperature,
        "sampled_top_p": sampled_top_p,
    }  # fmt: skip
    others = {"controls": controls, "steps": steps, "limit": limit, "strict": strict, "report_to": check(report_to)}
    asked = ask(recipe, given, config or {}, out=Path(out), processes=processes or world_size(), **others)
    return plan_of(asked, progress or Progress())


def replan(planned: Plan, progress: Progress | None = None, **changes: Any) -> Plan:
    """A plan with some of what was asked changed; the model and the rewards that are there are not loaded again.

    Args:
        planned: What is changed.
        progress: Told of what takes long.
        **changes: Fields of `Asked`, but for the benchmark and the model.
    """
    return plan_of(dataclasses.replace(planned.asked, **changes), progress or Progress(), planned)


def plan_of(asked: Asked, progress: Progress, before: Plan | None = None) -> Plan:
    """As `plan`, with its errors, of what was asked already.

    From a plan `before` the model, the data and the rewards are taken where they are the same.
    """
    set_up()
    loaded = load_benchmark(asked.benchmark) if before is None else before.benchmark
    chains = {name: name.split("+") for name in dict.fromkeys(asked.trainers)}
    functions = {stage: TRAINERS.get(stage) for stages in chains.values() for stage in stages}
    wanted = [str(resolve(spec, loaded)) for spec in _specs(asked.rewards, asked.controls)]
    common = {"max_steps": asked.steps, "limit": asked.limit}
    configs = StageConfigs(chains, functions, loaded, common, asked.config, wanted)
    if asked.rewards_are_the_recipes and not any(map(configs.takes_reward, chains)):
        asked = dataclasses.replace(asked, rewards=())
    known = {} if before is None else before.rewards
    measured = load_metrics(loaded, asked.metrics, known)
    scored = _load_rewards(asked.rewards, loaded, {**known, **{str(m.spec): m for m in measured}}, asked.controls)
    specs = [str(reward.spec) for reward in scored]
    _check_rewards_are_used(asked.rewards, chains, configs)
    base = load_model(asked.model) if before is None else before.model
    examples, data = _data(asked, loaded, progress, before)
    if before is None:
        refuse_or_tell(loaded, progress, asked.strict)
        for trained_on in scored:
            require_met(trained_on, loaded.load("train", asked.limit), loaded.name)
    longest = max([loaded.max_completion_length, *(c.max_completion_length for c in configs.used(specs))])
    sampling = Sampling(temperature=0.0, max_tokens=longest)
    shared = _shared(asked, loaded, base, data, sampling, measured, configs.validations(specs, measured))
    tested = "" if asked.split == "test" else f"-{asked.split}"  # its board shall not be taken for a test's
    folder = asked.out / f"{slug(loaded.name)}-{slug(base.name)}{tested}-{hashed(shared)[:8]}"
    maker = Maker(folder, shared, configs)
    runs = [maker.base()]
    for control in INPUTS if asked.controls else ():
        if controlled(control, examples) is None:
            progress.tell(f"{control} is left out: not every {asked.split} example of {loaded.name} has a transcript")
        else:
            runs.append(maker.base(control))
    for seed in asked.seeds:
        for name in chains:
            for reward in scored if configs.takes_reward(name) else [None]:
                runs += maker.chain(name, reward, seed)
    once = tuple({run.id: run for run in runs}.values())
    return Plan(asked, loaded, base, examples, measured, functions, configs, sampling, shared, folder, once)


def _shared(
    asked: Asked,
    benchmark: Benchmark,
    model: SpeechModel,
    data: Mapping[str, str],
    sampling: Sampling,
    metrics: Sequence[Reward],
    validations: Sequence[Any],
) -> dict[str, Any]:
    """What all runs share, as it is hashed."""
    shared: dict[str, Any] = {
        "version": speechbench.__version__,
        "benchmark": benchmark.name,
        "data": data,
        "model": model.name,
        "weights": model.fingerprint,
        "evaluation": {key: value for key, value in dataclasses.asdict(sampling).items() if key != "top_p"},  # greedy
        "metrics": [{**dataclasses.asdict(describe(metric)), "name": identity(metric)} for metric in metrics],
    }
    if validations:
        shared["validation"] = validations
    if asked.sampled is not None:
        shared["sampled"] = dataclasses.asdict(asked.sampled)
    if asked.processes > 1:  # a step learns from the examples of all processes
        shared["processes"] = asked.processes
    if (code := code_hash(asked.model)) is not None:  # of the user's own: when its file is edited, it is another
        shared["model_file"] = code
    return shared


def _data(
    asked: Asked, benchmark: Benchmark, progress: Progress, before: Plan | None
) -> tuple[Sequence[Example], Mapping[str, str]]:
    """What is measured on, and the fingerprints of that and of what is trained on, by split."""
    where = (asked.split, asked.split_limit, asked.limit)
    if before is not None and where == (before.asked.split, before.asked.split_limit, before.asked.limit):
        return before.examples, before.shared["data"]
    with recipes.saying_where(asked.recipe, benchmark.name):
        benchmark.prepare(progress.advance)
        examples = benchmark.load(asked.split, asked.split_limit or asked.limit)
        learned = benchmark.load("train", asked.limit)
    return examples, {
        asked.split: fingerprint(examples, progress.advance),
        "train": fingerprint(learned, progress.advance),
    }


def input_of(planned: Plan, run: PlannedRun) -> Sequence[Example]:
    """The examples that are measured on, as a run's model is given them."""
    if run.control is None:
        return planned.examples
    changed = controlled(run.control, planned.examples)
    assert changed is not None  # such a run is not planned
    return changed


def _specs(rewards: Sequence[str], controls: bool) -> list[Spec]:
    """All that may be trained on: no control reward is shuffled, but which are controls only the rewards know."""
    named = [parse_expression(spec) for spec in rewards]
    added = [*map(Spec, CONTROL_REWARDS), *(Spec("shuffled", arguments=(spec,)) for spec in named)]
    return [*named, *(added if controls else [])]


def _load_rewards(
    specs: Sequence[str], benchmark: Benchmark, known: Mapping[str, Reward], controls: bool
) -> list[Reward]:
    known = dict(known)  # so that each checkpoint is held once

    def load(spec: str | Spec) -> Reward:
        reward = load_reward(spec, benchmark, known)
        return known.setdefault(str(reward.spec), reward)

    named = [load(spec) for spec in specs]
    if controls:
        real = [reward for reward in named if reward.family != "control"]
        named += [load(spec) for spec in CONTROL_REWARDS]
        named += [load(Spec("shuffled", arguments=(reward.spec,))) for reward in real]
    return list(dict.fromkeys(named))


def _check_rewards_are_used(rewards: Sequence[str], chains: Mapping[str, Sequence[str]], configs: StageConfigs) -> None:
    takes_one = any(map(configs.takes_reward, chains))
    if takes_one and not rewards:
        raise UsageError("no reward is named: give --rewards, or only trainers that take none")
    if rewards and not takes_one:
        raise UsageError(
            f"none of the trainers ({', '.join(chains)}) takes a reward: leave {', '.join(rewards)} out, or add grpo"
        )
