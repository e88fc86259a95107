"""Validation while training: the model measured on the benchmark's validation split, and the best of them kept.

The best model is a folder of its own beside the checkpoints, and a checkpoint says which it is: a training that was
killed goes on with the best of its checkpoint, whatever was measured after it. It stays as long as a checkpoint does
that names it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speechbench import distributed
from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.evaluation import evaluate
from speechbench.models.base import Sampling, SpeechModel
from speechbench.progress import Relay
from speechbench.rewards.base import Reward, total_usage
from speechbench.rewards.loading import load_reward
from speechbench.rewards.measure import check_metric, prepare
from speechbench.run_schema import CHECKPOINTS, Best
from speechbench.trainers.checkpoints import BEST, keep_only, markers, write_folder
from speechbench.trainers.config import TrainConfig


class Validation:
    """Measures a model on the validation split as the test split is measured, greedily, and keeps the best.

    Args:
        model: What trains.
        benchmark: Its validation split is what is measured on.
        config: Of the training, with `eval_steps`.
        reward: What is trained on: where it is the metric or a part of it, it is not made again.

    Attributes:
        name: What the score is called in the log.
        best: The best so far; the earliest of equals.
        usage: What measuring has used up so far that someone pays for, as `Reward.usage` says it.

    Raises:
        UsageError: If the benchmark has no validation split, or there is no such metric.
        SpeechbenchError: If the metric lacks something.
    """

    def __init__(self, model: SpeechModel, benchmark: Benchmark, config: TrainConfig, reward: Reward | None) -> None:
        self.model = model
        self.config = config
        self.metric, self.examples = measured_by(benchmark, config, _known(reward))
        prepare(self.metric, self.examples)
        self.name = f"eval_{self.metric.spec}"
        self.best: Best | None = None
        self.usage: dict[str, float] = {}
        self._sampling = Sampling(temperature=0.0, max_tokens=benchmark.max_completion_length)
        self._folder = config.output_dir / CHECKPOINTS

    def is_due(self, step: int) -> bool:
        """Whether the model is to be measured after a step: every `eval_steps`, and after the last."""
        assert self.config.eval_steps is not None
        return step % self.config.eval_steps == 0 or step == self.config.max_steps

    def measure(self, step: int) -> float:
        """Measures the model after a step, and keeps it if it is the best so far.

        Returns:
            The corpus score, on the field's scale.

        Raises:
            SpeechbenchError: If the metric fails or applies to no example, or the model cannot be written.
        """
        score = 0.0
        if distributed.is_main():
            score = self._score()
            if self._is_best(score):
                write_folder(self._folder / f"{BEST}-{step}", self.model.save)
        score = float(distributed.from_main(score))
        if self._is_best(score):
            self.best = Best(step, str(self.metric.spec), score)
            self.remove_what_nothing_needs()
        return score

    def save(self) -> dict[str, Any]:
        """What a checkpoint holds of it under "validation", as JSON can write it."""
        return {"best": None if self.best is None else dataclasses.asdict(self.best), "usage": self.usage}

    def remove_what_nothing_needs(self) -> None:
        """Deletes the models that are neither the best nor what a whole checkpoint would go on with as the best."""
        if distributed.is_main():
            saved = [marker.get("validation") for marker in markers(self._folder)]
            kept = [Best(**each["best"]) for each in saved if each and each["best"]]
            keep_only(self._folder, *(self._folder_of(best) for best in [*kept, self.best] if best), kind=BEST)

    def go_on(self, saved: Mapping[str, Any] | None) -> None:
        """Goes on from what `save` returned; from nothing where there was no validation, or by another metric.

        Raises:
            SpeechbenchError: If the best model's folder is gone.
        """
        best = saved and saved["best"] and Best(**saved["best"])
        if saved and best and best.metric == str(self.metric.spec):
            self.best, self.usage = best, dict(saved["usage"])
            folder = self._folder_of(best)
            if not folder.is_dir():
                raise SpeechbenchError(
                    f"the best model so far is gone from {folder}: remove the folder {folder.parent}, and the same "
                    "command trains anew"
                )
        self.remove_what_nothing_needs()

    def restore(self, step: int) -> None:
        """Gives the model the weights of the best; `step` is the one whose weights it has."""
        if self.best is not None and self.best.step != step:
            self.model.load_weights(self._folder_of(self.best))

    def _score(self) -> float:
        shown = _Aside(self.config.progress)
        evaluation = evaluate(self.model, self.examples, [self.metric], self._sampling, progress=shown)
        self.usage = total_usage([self.usage, evaluation.usage])
        score = evaluation.metrics[str(self.metric.spec)]
        if score is None:
            raise SpeechbenchError(
                f"metric {self.metric.display} applies to none of the {len(self.examples)} validation examples: name "
                "another as metric_for_best_model in --config"
            )
        return score

    def _is_best(self, score: float) -> bool:
        if self.best is None:
            return True
        return score < self.best.score if self.metric.lower_is_better else score > self.best.score

    def _folder_of(self, best: Best) -> Path:
        return self._folder / f"{BEST}-{best.step}"


class _Aside(Relay):
    """Reports an evaluation as work between two steps."""

    def advance(self, what: str, done: int, total: int) -> None:
        self.aside("validating", done, total)


def _known(reward: Reward | None) -> dict[str, Reward]:
    """The reward and its parts by their specs, so that each checkpoint is held once."""
    parts = [] if reward is None else [reward, *getattr(reward, "parts", ())]
    return {str(part.spec): part for part in parts if hasattr(part, "spec")}


def measured_by(
    benchmark: Benchmark, config: TrainConfig, known: Mapping[str, Reward]
) -> tuple[Reward, Sequence[Example]]:
    """The metric that a training with `eval_steps` chooses its best model by, and the examples it does so on.

    Args:
        benchmark: Of the training.
        config: Of the training.
        known: Rewards that are loaded already, by their specs.

    Raises:
        UsageError: If the benchmark has no validation split, or there is no such metric.
    """
    metric = load_reward(config.metric_for_best_model or benchmark.metrics[0], benchmark, known)
    check_metric(metric)
    return metric, _validation_split(benchmark, config)


def _validation_split(benchmark: Benchmark, config: TrainConfig) -> Sequence[Example]:
    examples: Sequence[Example] = []
    reason = ""
    try:
        examples = benchmark.load("validation", config.eval_limit)
    except (UsageError, MissingError) as error:  # files that are lacking were so before, for train
        reason = f" ({error})"
    if not examples:
        raise UsageError(
            f"eval_steps={config.eval_steps}: benchmark {benchmark.name} has no validation split{reason} to choose the "
            "best model on: leave eval_steps out, or take a benchmark that has one"
        )
    return examples
