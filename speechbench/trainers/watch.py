"""Health while training: what goes wrong early is said in words, once, with the remedy.

The remedies are those of arXiv 2509.16990 and of trials on the embedded model: GRPO from a base of BLEU 4
stayed there, where supervised fine-tuning reached 56 in as many steps.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from speechbench.distributed import world_size
from speechbench.rewards.base import Reward
from speechbench.trainers.config import TrainConfig

if TYPE_CHECKING:
    import torch

WINDOW = 5
"""Steps that a value is averaged over: one batch of few prompts says little. Where samples serve several steps, only
those are logged and counted that drew fresh ones."""
FIRST = 3
"""Steps that show where training starts from; the warm-up has moved the weights little by then."""
MOST_SILENT = 0.5
"""Above this share of groups with equal rewards, most of what was sampled and scored is for nothing."""
LEAST_START = 0.05
"""Share of the reward's range: a base below it seldom writes anything that is worth reinforcing."""
MOST_EMPTY = 0.1
MOST_TRUNCATED = 0.2
MOST_KL = 1.0
"""Nats per token. On the embedded model 25 healthy runs stayed below 0.42 (mean over `WINDOW` steps) and one on a
random reward, which ruined the model, passed 1 at its 14th step on the way to 2.5."""
MOST_OVERLONG = 0.05
"""Share of references over the limit: a few outliers are in every corpus."""

_WATCHED = {"zero_variance_groups", "empty", "truncated", "kl", "overlong_references"}


class Watch:
    """Hears each logged line and warns of what it means.

    Args:
        subject: What trains on what, as sentences begin: "grpo on reward BLEU".
        config: Of the training; its values are named in the remedies.
        reward: What is trained on; `None` where the trainer takes none. Of a control's rewards nothing is
            expected, so nothing is said of them.
        dtypes: Of the weights that learn.

    Attributes:
        notes: What is known before anything is trained: of the options, as `TrainConfig.notes` says it, and of weights
            that are too coarse to learn.
    """

    def __init__(
        self, subject: str, config: TrainConfig, reward: Reward | None, dtypes: Collection[torch.dtype] = ()
    ) -> None:
        self.subject = subject
        self.config = config
        self.reward = None if reward is None or reward.family == "control" else reward
        notes = [*config.notes(world_size()), *_coarse(dtypes, config)]
        self.notes = tuple(f"{subject}: {note}" for note in notes)
        self._said: dict[str, str] = {}
        self._last: defaultdict[str, deque[tuple[int, float]]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._first: list[float] = []

    @property
    def warnings(self) -> tuple[str, ...]:
        """All that was said so far, the notes first."""
        return (*self.notes, *self._said.values())

    def hear(self, line: Mapping[str, Any]) -> list[str]:
        """Takes in one line of the log.

        Args:
            line: "step" and the step's means by name, of which none need be there: "reward" on unit scale,
                "kl" in nats per token, and shares from 0 to 1: "zero_variance_groups", "empty", "truncated",
                "overlong_references".

        Returns:
            What is to be said now for the first time.
        """
        for name in _WATCHED & line.keys():
            self._last[name].append((line["step"], line[name]))
        if len(self._first) < FIRST and "reward" in line:
            self._first.append(line["reward"])
        found = {kind: f"{self.subject}: {text}" for kind, text in self._findings() if kind not in self._said}
        self._said.update(found)
        return list(found.values())

    def hear_again(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Takes in what an earlier session logged and said."""
        for line in lines:
            self.hear(line)

    def _findings(self) -> Iterator[tuple[str, str]]:
        """Everything that is wrong now, with a name for each kind."""
        if self.reward is not None:
            yield from self._of_reward(self.reward)
        yield from self._of_outputs()
        kl, steps = self._mean("kl")
        if kl > MOST_KL:
            yield (
                "kl",
                f"the KL to the model before training is {kl:.1f} nats per token over {steps}, and the model may be "
                f"falling apart: lower {self._now('learning_rate')} or raise {self._now('beta')} in --config",
            )

    def _of_reward(self, reward: Reward) -> Iterator[tuple[str, str]]:
        silent, steps = self._mean("zero_variance_groups")
        if silent > MOST_SILENT:
            yield (
                "zero variance",
                f"in {silent:.0%} of the groups of {steps} all rewards are equal, which teaches nothing: take a "
                f"finer-grained reward, raise {self._now('num_generations')} or {self._now('temperature')} in "
                f"--config, or {self._better_start}",
            )
        low, high = reward.range
        if len(self._first) == FIRST and math.isfinite(low) and math.isfinite(high):
            start = sum(self._first) / FIRST
            if start < low + LEAST_START * (high - low):
                yield (
                    "start",
                    f"the mean reward of the first {FIRST} steps is {start:.3f} on a range from {low:g} to {high:g}, "
                    f"too little to learn from: {self._better_start}",
                )

    def _of_outputs(self) -> Iterator[tuple[str, str]]:
        limit = self._now("max_completion_length")
        empty, steps = self._mean("empty")
        if empty > MOST_EMPTY:
            yield (
                "empty",
                f"{empty:.0%} of the outputs of {steps} are empty: {self._better_start}, or take a reward that "
                "punishes it",
            )
        truncated, steps = self._mean("truncated")
        if truncated > MOST_TRUNCATED:
            yield (
                "truncated",
                f"{truncated:.0%} of the outputs of {steps} were cut before their end: raise {limit} in --config, "
                f"{self._better_start}, or take a reward that punishes length",
            )
        overlong, steps = self._mean("overlong_references")
        if overlong > MOST_OVERLONG:
            yield (
                "overlong",
                f"{overlong:.0%} of the references of {steps} are longer than an answer may be: they are learned whole "
                f"but answers are cut there, so raise {limit} in --config",
            )

    @property
    def _better_start(self) -> str:
        """How to start from a model that does better already."""
        trainer = self.config.trainer or "grpo"
        if trainer.startswith("sft+"):
            return "give its SFT stage more steps (max_steps of sft in --config)"
        return f"start from SFT (--trainers sft+{trainer})"

    def _mean(self, name: str) -> tuple[float, str]:
        """Mean of a logged value over the window, and which steps that is; −inf while there are too few."""
        steps, values = zip(*self._last[name], strict=True) if self._last[name] else ((), ())
        if len(values) < WINDOW:
            return -math.inf, ""
        return sum(values) / WINDOW, f"steps {steps[0]} to {steps[-1]}"

    def _now(self, name: str) -> str:
        value = getattr(self.config, name, None)
        return name if value is None else f"{name} (now {value:g})"


def _coarse(dtypes: Collection[torch.dtype], config: TrainConfig) -> Iterator[str]:
    for dtype in sorted({dtype for dtype in dtypes if dtype.itemsize < 4}, key=str):
        yield (
            f"the weights that learn are held in {str(dtype).removeprefix('torch.')}, which rounds away most steps of "
            f"learning_rate {config.learning_rate:g}: give the model lora_rank=16, or dtype=float32 and set bf16: true"
        )
