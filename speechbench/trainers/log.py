"""A training's log: one line a step, and what is wrong with it said in words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from speechbench import distributed
from speechbench.errors import writing
from speechbench.rewards.base import total_usage
from speechbench.run_schema import TRAIN
from speechbench.trainers.checkpoints import truncate_log
from speechbench.trainers.config import TrainConfig
from speechbench.trainers.scoring import Scorer
from speechbench.trainers.watch import Watch


class Log:
    """Writes train.jsonl, reports each step to the training's progress, and tells warnings.

    Args:
        config: Of the training.
        scorer: Of its reward; `None` where it takes none.
        watch: Hears every line.
    """

    def __init__(self, config: TrainConfig, scorer: Scorer | None, watch: Watch) -> None:
        self.config = config
        self.scorer = scorer
        self.watch = watch
        self.path = config.output_dir / TRAIN

    def write(
        self, step: int, logs: Mapping[str, float], noted: Mapping[str, list[float]], seconds: Mapping[str, float]
    ) -> None:
        """Writes the line of a step; called on all processes that train together, and written by the main one.

        Args:
            step: Optimizer steps done.
            logs: What the Trainer says of it, "loss" among it.
            noted: What this process noted in it: the mean over all processes is logged.
            seconds: Wall time so far by kind of work.

        Raises:
            SpeechbenchError: If it cannot be written.
        """
        parts, usage = ({}, {}) if self.scorer is None else (self.scorer.means(), self.scorer.usage)
        everyones = distributed.from_all(
            {"noted": noted, "parts": {n: [mean] for n, mean in parts.items()}, "usage": usage}
        )
        if not distributed.is_main():
            return
        values = {**logs, **_means(each["noted"] for each in everyones)}
        spent: dict[str, Any] = dict(seconds)
        line: dict[str, Any] = {"step": step, **values, "seconds": spent}
        if self.scorer is not None:
            spent["rewards"] = dict(self.scorer.seconds)
            if parts := _means(each["parts"] for each in everyones):
                line["parts"] = parts
            if usage := total_usage(each["usage"] for each in everyones):
                line["usage"] = usage
        warnings = self.watch.hear(line)
        if warnings:
            line["warnings"] = warnings
        with writing(self.path), self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        self.config.progress.step({**values, "step": step, "steps": self.config.max_steps})
        for warning in warnings:
            self.config.progress.tell(warning)

    def go_on(self, step: int) -> None:
        """Keeps the lines up to a step, and knows what was warned of in them; tells what to know of the options.

        Raises:
            SpeechbenchError: If the file cannot be written.
        """
        self.watch.hear_again(truncate_log(self.path, step))
        for note in self.watch.notes:
            self.config.progress.tell(note)


def _means(noted: Iterable[Mapping[str, list[float]]]) -> dict[str, float]:
    """The mean of each value over all that was noted of it."""
    values: dict[str, list[float]] = {}
    for each in noted:
        for name, some in each.items():
            values.setdefault(name, []).extend(some)
    return {name: sum(all_) / len(all_) for name, all_ in values.items()}
