"""What a training is told, and what it leaves behind."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from speechbench.errors import UsageError, did_you_mean
from speechbench.progress import Progress
from speechbench.run_schema import Best
from speechbench.trainers import precision

SCHEDULERS = (
    "constant", "constant_with_warmup", "cosine", "cosine_with_restarts", "inverse_sqrt", "linear", "polynomial",
)  # fmt: skip
"""Schedules of transformers that need nothing but the warm-up and the number of steps."""
_SEEDS = 2**32  # what numpy's global generator takes, which transformers seeds too


@dataclass(frozen=True)
class TrainConfig:
    """What every trainer can be told; names are those of `transformers.TrainingArguments` where those exist.

    Attributes:
        output_dir: Folder of the run; checkpoints and the log are written there, and training goes on from
            the last checkpoint found there.
        max_steps: Optimizer steps.
        learning_rate: Peak of AdamW's, after the warm-up.
        per_device_train_batch_size: Examples per forward pass.
        gradient_accumulation_steps: Forward passes per optimizer step.
        warmup_ratio: Share of the steps over which the learning rate rises.
        lr_scheduler_type: As transformers names them; one of `SCHEDULERS`.
        weight_decay: AdamW's.
        max_grad_norm: Gradients are clipped to this norm; 0 for no clipping.
        max_completion_length: Longest completion in tokens, the end token included; an ablation
            takes the benchmark's where none is set.
        save_steps: Steps between checkpoints.
        seed: Of the order of examples and of sampling; from 0 to 2^32 − 1.
        limit: Learn from the first so many training examples only; `None` for all.
        eval_steps: Steps between measurements on the benchmark's validation split, the last step's besides; the
            model that did best there is the trained model. `None`: no validation, the last model is.
        metric_for_best_model: Spec of the metric that says which is best; `None` for the benchmark's first.
        eval_limit: Measure on the first so many validation examples only; `None` for all.
        bf16: Sample, score and learn under bfloat16's autocast; weights, optimizer and validation keep the precision
            of the weights.
        gradient_checkpointing: Compute the language model's activations again in the backward pass instead of
            keeping them: less memory, about a third more time to learn.
        progress: Told of each step and of what a person should know; no part of a run's identity.
        trainer: What the ablation calls this trainer, earlier stages included ("sft+grpo"): for messages.

    Raises:
        UsageError: If a value makes no sense; the message names the field, the value and the fix.
    """

    uses_reward: ClassVar[bool] = True

    output_dir: Path
    max_steps: int = 50
    learning_rate: float = 2e-4
    per_device_train_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    warmup_ratio: float = 0.05
    lr_scheduler_type: str = "linear"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    max_completion_length: int = 200
    save_steps: int = 20
    seed: int = 0
    limit: int | None = None
    eval_steps: int | None = None
    metric_for_best_model: str | None = None
    eval_limit: int | None = None
    bf16: bool = False
    gradient_checkpointing: bool = False
    progress: Progress = field(default_factory=Progress, compare=False, repr=False)
    trainer: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        self.require(self.max_steps >= 1, "max_steps", "training takes at least one step")
        self.require_positive("learning_rate", "as 1e-5")
        for name in ("per_device_train_batch_size", "gradient_accumulation_steps", "save_steps"):
            self.require(getattr(self, name) >= 1, name, "give 1 or more")
        self.require(0 <= self.warmup_ratio <= 1, "warmup_ratio", "it is a share of the steps: give 0 to 1, as 0.05")
        self.require_not_negative("weight_decay", "0 for none")
        self.require_not_negative("max_grad_norm", "0 for no clipping")
        self.require(self.max_completion_length >= 1, "max_completion_length", "a completion has at least one token")
        self.require(0 <= self.seed < _SEEDS, "seed", f"give a whole number from 0 to {_SEEDS - 1}")
        self.require(self.limit is None or self.limit >= 1, "limit", "give 1 or more, or leave it out for all examples")
        self._check_validation()
        self.require_one_of("lr_scheduler_type", SCHEDULERS)

    def _check_validation(self) -> None:
        self.require(
            self.eval_steps is None or self.eval_steps >= 1, "eval_steps", "give 1 or more, or leave it out for none"
        )
        self.require(
            self.eval_limit is None or self.eval_limit >= 1, "eval_limit", "give 1 or more, or leave it out for all"
        )
        for name in ("metric_for_best_model", "eval_limit"):
            self.require(
                getattr(self, name) is None or self.eval_steps is not None,
                name,
                "it acts on validation alone, of which there is none: set eval_steps too, or leave it out",
            )

    def require(self, holds: bool, name: str, fix: str) -> None:
        """Refuses the value of a field unless something holds of it; for `__post_init__`, here and in subclasses.

        Raises:
            UsageError: With the field's name, its value and the fix.
        """
        if not holds:
            raise UsageError(f"{name}={getattr(self, name)!r}: {fix}")

    def require_one_of(self, name: str, known: Iterable[str]) -> None:
        """Refuses a field that is none of the words that are known, with the nearest of them.

        Raises:
            UsageError: With the field's name, its value and the fix.
        """
        words = list(known)
        self.require(getattr(self, name) in words, name, did_you_mean(str(getattr(self, name)), words))

    def require_positive(self, name: str, example: str) -> None:
        """Refuses a field that is not a finite number above 0."""
        value = getattr(self, name)
        self.require(math.isfinite(value) and value > 0, name, f"give a number above 0, {example}")

    def require_not_negative(self, name: str, example: str) -> None:
        """Refuses a field that is not a finite number of 0 or more."""
        value = getattr(self, name)
        self.require(math.isfinite(value) and value >= 0, name, f"give 0 or more, {example}")

    def notes(self, processes: int = 1) -> list[str]:
        """What a person should know of options that they set: those that do nothing as the others are, and traps.

        Args:
            processes: How many train together.

        Returns:
            Sentences, each naming the option, why, and the remedy where there is one; none for the defaults.
        """
        return list(self._notes(processes))

    def is_set(self, name: str) -> bool:
        """Whether a field is away from its default."""
        (default,) = (field.default for field in dataclasses.fields(self) if field.name == name)
        return bool(getattr(self, name) != default)

    def inert(self, name: str, why: str) -> Iterator[str]:
        """The note on an option that does nothing, if it was set."""
        if self.is_set(name):
            yield f"{name}={getattr(self, name)!r} changes nothing: {why}"

    def _notes(self, processes: int) -> Iterator[str]:
        """For subclasses to add to."""
        launched = precision.launched()
        if launched not in ("no", "bf16" if self.bf16 else "no"):
            yield (
                f"mixed_precision: {launched} of accelerate's configuration changes nothing, since a run records its "
                "precision: set bf16 in --config, or give the model a dtype"
            )
        if self.lr_scheduler_type == "constant":
            why = "lr_scheduler_type='constant' has no warm-up; set lr_scheduler_type: constant_with_warmup"
            yield from self.inert("warmup_ratio", why)
        if self.eval_steps is not None and self.eval_steps >= self.max_steps:
            yield (
                f"eval_steps={self.eval_steps} chooses nothing: of max_steps={self.max_steps} only the last is "
                "measured; lower eval_steps"
            )


@dataclass(frozen=True)
class TrainResult:
    """What a training left behind.

    Attributes:
        model_folder: The trained model, as `SpeechModel.save` wrote it: `config.output_dir / "checkpoints" / "final"`.
        steps: Optimizer steps taken, those before a resumption included.
        seconds: Wall time by kind of work ("sampling", "scoring", "learning"; "validation" where there was any), of
            all sessions together.
        warnings: What a person should know of how it went, each one sentence with the remedy.
        usage: What scoring and validation used up that someone pays for, as `Reward.usage` says it.
        best: Which step's model it is, and why; `None` where there was no validation: then it is the last step's.
    """

    model_folder: Path
    steps: int
    seconds: Mapping[str, float]
    warnings: tuple[str, ...] = ()
    usage: Mapping[str, float] = field(default_factory=dict)
    best: Best | None = None
