"""What an ablation will cost, told before it starts: steps, passes, tokens, calls of rewards, answers.

Counted from the plan alone, nothing is run. Steps, passes, prompts, samples and answers are exact; tokens are upper
bounds, every completion taken to be as long as `max_completion_length` allows, references too. Seconds of audio are an
estimate from some of the recordings.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

from speechbench.benchmarks.base import Example
from speechbench.grid import PlannedRun, lasting_name
from speechbench.planning import Plan, input_of
from speechbench.rewards.base import Reward
from speechbench.trainers.config import TrainConfig
from speechbench.trainers.grpo_config import GrpoConfig
from speechbench.trainers.validation import measured_by

_HEARD = 50
"""Recordings whose lengths are looked up for the mean."""


@dataclass(frozen=True)
class Cost:
    """What one run costs, or several; tokens and calls at most, seconds about.

    Attributes:
        steps: Optimizer steps.
        forward_passes: Of the language model over prompts with their completions: those that are learned from, and
            those that only score, of the model before training and of a reward's log-probabilities.
        prompts: Examples that are trained on, each as often as it comes.
        sampled_completions: Written while training; of a trainer of one's own `num_generations` to a prompt, where it
            has that.
        sampled_tokens: In these.
        learned_tokens: In the loss, over all steps.
        reward_calls: Hypotheses that each reward scores while training, by its spec; what it has scored already is not
            counted off.
        validation_answers: Written to measure while training.
        final_answers: Written to measure the finished model on the split that rows stand on, sampled ones included.
        answer_tokens: In both.
        audio_seconds: Of speech through the encoder, about: where that is frozen each recording counts once.
    """

    steps: int = 0
    forward_passes: int = 0
    prompts: int = 0
    sampled_completions: int = 0
    sampled_tokens: int = 0
    learned_tokens: int = 0
    reward_calls: Mapping[str, int] = field(default_factory=dict)
    validation_answers: int = 0
    final_answers: int = 0
    answer_tokens: int = 0
    audio_seconds: float = 0.0


@dataclass(frozen=True)
class RunCost:
    """What a run costs from its beginning.

    Attributes:
        run: The run.
        cost: Of the whole run, finished or not.
        is_finished: Whether it is done already, and so costs no more.
    """

    run: PlannedRun
    cost: Cost
    is_finished: bool


@dataclass(frozen=True)
class Costs:
    """What an ablation costs.

    Attributes:
        runs: In their order.
    """

    runs: tuple[RunCost, ...]

    @property
    def unfinished(self) -> int:
        """How many runs are not finished."""
        return sum(not run.is_finished for run in self.runs)

    @property
    def total(self) -> Cost:
        """Of all runs that are not finished."""
        return total(run.cost for run in self.runs if not run.is_finished)

    def as_json(self) -> dict[str, Any]:
        """By the run's id, and in all."""
        return {
            "runs": {run.run.id: dataclasses.asdict(run.cost) for run in self.runs},
            "unfinished": dataclasses.asdict(self.total),
        }


def total(costs: Iterable[Cost]) -> Cost:
    """The sum of several."""
    return _over(list(costs), sum)


def most(costs: Iterable[Cost]) -> Cost:
    """Of each figure the largest; of one cost at least."""
    return _over(list(costs), max)


def _over(costs: Sequence[Cost], of_all: Callable[[Iterable[Any]], Any]) -> Cost:
    names = {field.name for field in dataclasses.fields(Cost)} - {"reward_calls"}
    calls = dict.fromkeys(name for cost in costs for name in cost.reward_calls)
    return Cost(
        **{name: of_all(getattr(cost, name) for cost in costs) for name in names},
        reward_calls={name: of_all(cost.reward_calls.get(name, 0) for cost in costs) for name in calls},
    )


def costs(planned: Plan) -> Costs:
    """Counts what each run of a plan costs.

    Raises:
        SpeechbenchError: If a recording cannot be read.
    """
    lengths = lengths_of(planned)
    return Costs(tuple(RunCost(run, cost_of(planned, run, lengths), run.is_finished) for run in planned.runs))


@dataclass(frozen=True)
class Lengths:
    """Mean seconds of speech of the examples that are trained on, and of those that are measured on."""

    train: float
    test: float


def lengths_of(planned: Plan) -> Lengths:
    """Looks up the lengths of some recordings of a plan.

    Raises:
        SpeechbenchError: If one cannot be read.
    """
    learned = planned.benchmark.load("train", planned.limit)
    return Lengths(_mean_seconds(learned), _mean_seconds(planned.examples))


def cost_of(planned: Plan, run: PlannedRun, lengths: Lengths) -> Cost:
    """What a run costs from its beginning, finished or not; `planned` need not hold it, but what it shares."""
    passes = 1 + (0 if planned.sampled is None else planned.sampled.passes)
    tested = len(planned.examples)
    is_heard = any(example.audio is not None for example in input_of(planned, run)[:1])
    heard = is_heard * tested * (1 if _is_frozen(planned) else min(passes, 2))  # all sampled passes hear at once
    tests = Cost(
        final_answers=passes * tested,
        answer_tokens=passes * tested * planned.sampling.max_tokens,
        audio_seconds=heard * lengths.test,
    )
    if run.config is None:
        return tests
    return total([tests, _of_validation(planned, run.config, lengths), _of_training(planned, run, lengths)])


def _of_validation(planned: Plan, config: TrainConfig, lengths: Lengths) -> Cost:
    if config.eval_steps is None:
        return Cost()
    _, examples = measured_by(planned.benchmark, config, planned.rewards)
    times = math.ceil(config.max_steps / config.eval_steps)  # after the last step too
    heard = (1 if _is_frozen(planned) else times) * len(examples)
    answers = times * len(examples)
    return Cost(
        validation_answers=answers,
        answer_tokens=answers * planned.benchmark.max_completion_length,
        audio_seconds=heard * lengths.train,
    )


def _of_training(planned: Plan, run: PlannedRun, lengths: Lengths) -> Cost:
    config = run.config
    assert config is not None
    reward = run.reward if config.uses_reward else None
    learned = len(planned.benchmark.load("train", config.limit))
    processes = planned.asked.processes
    batch = min(config.per_device_train_batch_size, learned // processes or 1) * processes
    windows = _windows(config, max(1, learned // batch))
    passes, fresh = sum(windows), _fresh(windows, getattr(config, "num_iterations", 1))
    prompts = passes * batch
    group = int(getattr(config, "num_generations", 0))
    samples = fresh * batch * (group - int(getattr(config, "num_references", 0)))
    in_loss = prompts * (group if isinstance(config, GrpoConfig) else 1)
    scoring = fresh * _scoring_passes(config, reward)
    return Cost(
        steps=config.max_steps,
        forward_passes=(passes + scoring) * processes,
        prompts=prompts,
        sampled_completions=samples,
        sampled_tokens=samples * config.max_completion_length,
        learned_tokens=in_loss * config.max_completion_length,
        reward_calls={} if reward is None else {lasting_name(part): fresh * batch * group for part in _parts(reward)},
        audio_seconds=(min(prompts, learned) if _is_frozen(planned) else prompts) * lengths.train,
    )


def _windows(config: TrainConfig, batches: int) -> list[int]:
    """Forward passes that each step learns from: the last step of an epoch has what is left of its batches."""
    whole, rest = divmod(batches, config.gradient_accumulation_steps)
    epoch = [config.gradient_accumulation_steps] * whole + [rest] * (rest > 0)
    return list(islice(cycle(epoch), config.max_steps))


def _fresh(windows: Sequence[int], iterations: int) -> int:
    """Batches that are sampled for: in every so many-th step, and where a step has not as many as were sampled last."""
    found = held = 0
    for step, size in enumerate(windows):
        if step % iterations == 0 or size != held:
            held = size
            found += size
    return found


def _scoring_passes(config: TrainConfig, reward: Reward | None) -> int:
    """Passes over fresh samples without a gradient, in each batch."""
    asks = reward is not None and "logprobs" in reward.needs
    if not isinstance(config, GrpoConfig):
        return int(asks)
    is_kl_in_reward = config.kl_estimator == "k1_reward" and config.beta > 0
    return int(asks or config.num_iterations > 1 or is_kl_in_reward) + int(config.beta > 0)


def _parts(reward: Reward) -> Sequence[Reward]:
    """The rewards that a sum or a product is made of; else the reward itself."""
    parts = getattr(reward, "parts", ())
    return [leaf for part in parts for leaf in _parts(part)] or [reward]


def _is_frozen(planned: Plan) -> bool:
    return bool(getattr(planned.model, "encoder_is_frozen", False))


def _mean_seconds(examples: Sequence[Example]) -> float:
    """Of speech in an example, from some that are spread over all."""
    step = max(1, math.ceil(len(examples) / _HEARD))
    some = [examples[place] for place in range(0, len(examples), step)]
    return sum(0.0 if e.audio is None else e.audio.seconds() for e in some) / max(1, len(some))
