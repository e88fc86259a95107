"""The training loop that all trainers share: transformers' Trainer, fed with rollouts instead of batches.

A trainer of the registry is a function `train(model, benchmark, reward, config) -> TrainResult`. Ours are
built on `SpeechTrainer`, which asks two things of a subclass: what to learn from (`roll_out`) and how
(`loss`). Rollouts are made when an accumulation window is fetched, so that the loss can be divided by the
number of tokens of the whole window on all processes.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import SpeechbenchError
from speechbench.models.base import Completions, SpeechModel
from speechbench.progress import Progress
from speechbench.trainers.checkpoints import COMPLETE, last_complete, truncate_log


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
        lr_scheduler_type: As transformers names them.
        weight_decay: AdamW's.
        max_grad_norm: Gradients are clipped to this norm.
        max_completion_length: Longest completion in tokens, the end token included; an ablation
            takes the benchmark's where none is set.
        save_steps: Steps between checkpoints.
        seed: Of the order of examples and of sampling.
        limit: Learn from the first so many training examples only; `None` for all.
        progress: Told of each step and of what a person should know; no part of a run's identity.
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
    progress: Progress = field(default_factory=Progress, compare=False, repr=False)


@dataclass(frozen=True)
class TrainResult:
    """What a training left behind.

    Attributes:
        model_folder: The trained model, as `SpeechModel.save` wrote it.
        steps: Optimizer steps taken, those before a resumption included.
        seconds: Wall time by kind of work ("sampling", "scoring", "learning"), of all sessions together.
        warnings: What a person should know of how it went, each one sentence with the remedy.
    """

    model_folder: Path
    steps: int
    seconds: Mapping[str, float]
    warnings: tuple[str, ...] = ()


class Rollout(Protocol):
    """What one forward pass learns from."""

    @property
    def completions(self) -> Completions:
        """The completions whose tokens the loss is averaged over."""


R = TypeVar("R", bound=Rollout)


class SpeechTrainer(Trainer, ABC, Generic[R]):  # type: ignore[misc]
    """transformers' Trainer over examples and rollouts."""

    def __init__(self, model: SpeechModel, benchmark: Benchmark, config: TrainConfig) -> None:
        self.config = config
        self.speech_model = model
        self.seconds: dict[str, float] = {"sampling": 0.0, "scoring": 0.0, "learning": 0.0}
        self._logged: dict[str, list[float]] = {}
        self._window_ready = 0.0
        examples = benchmark.load("train", config.limit)
        if not examples:
            raise SpeechbenchError(f"benchmark {benchmark.name}: its training split is empty")
        super().__init__(
            model=model,
            args=TrainingArguments(
                output_dir=str(config.output_dir / "checkpoints"),
                max_steps=config.max_steps,
                learning_rate=config.learning_rate,
                per_device_train_batch_size=min(config.per_device_train_batch_size, len(examples)),
                gradient_accumulation_steps=config.gradient_accumulation_steps,
                warmup_ratio=config.warmup_ratio,
                lr_scheduler_type=config.lr_scheduler_type,
                weight_decay=config.weight_decay,
                max_grad_norm=config.max_grad_norm,
                save_steps=config.save_steps,
                save_total_limit=2,
                seed=config.seed,
                data_seed=config.seed,
                logging_steps=1,
                report_to=[],
                disable_tqdm=True,
                remove_unused_columns=False,
                dataloader_drop_last=True,
                dataloader_pin_memory=torch.cuda.is_available(),
                use_cpu=not torch.cuda.is_available(),
                label_names=[],
            ),
            train_dataset=examples,
            data_collator=list,
        )
        self.model_accepts_loss_kwargs = True  # the loss is already divided by the window's tokens
        self.remove_callback(PrinterCallback)
        self.add_callback(_Clock(self))

    @abstractmethod
    def roll_out(self, examples: list[Example]) -> R:
        """Makes what one forward pass learns from: completions and, where there is one, their rewards."""

    @abstractmethod
    def loss(self, model: torch.nn.Module, rollout: R, tokens: torch.Tensor) -> torch.Tensor:
        """The loss of one rollout, summed over its tokens and divided by `tokens`, those of the whole window."""

    def roll_out_window(self, batches: list[list[Example]]) -> list[R]:
        """The rollouts of an accumulation window."""
        return [self.roll_out(batch) for batch in batches]

    def note(self, **values: float) -> None:
        """Logs values with the current step; several of one name are averaged."""
        for name, value in values.items():
            self._logged.setdefault(name, []).append(float(value))

    def timed(self, kind: str) -> _Timer:
        """A context that adds its wall time to `seconds[kind]`."""
        return _Timer(self.seconds, kind)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list[Any], Any]:
        """Fetches an accumulation window and makes its rollouts, now that all of its tokens can be counted."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not batches:  # the Trainer asks once too often in an epoch that it resumed within
            return [], None
        rollouts = self.roll_out_window(batches)
        tokens = torch.stack([r.completions.mask.sum() for r in rollouts]).sum()
        self._window_ready = time.perf_counter()
        return [{"rollout": r} for r in rollouts], self.accelerator.reduce(tokens.to(device), "sum")

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, R], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The subclass' loss; times the processes, whose gradients the wrapper averages."""
        loss: torch.Tensor = self.loss(model, inputs["rollout"], num_items_in_batch) * self.accelerator.num_processes
        return loss

    def step_learned(self) -> None:
        """Called when an optimizer step is done."""
        self.seconds["learning"] += time.perf_counter() - self._window_ready

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Writes one line a step to train.jsonl and reports it."""
        if "loss" not in logs:
            return  # the Trainer's own summary at the end
        means = {name: sum(values) / len(values) for name, values in self._logged.items()}
        self._logged.clear()
        line = {"step": self.state.global_step, **logs, **means, "seconds": dict(self.seconds)}
        with (self.config.output_dir / "train.jsonl").open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        self.config.progress.step({**logs, **means, "step": self.state.global_step, "steps": self.config.max_steps})

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        self.speech_model.save(Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self.speech_model.load_weights(Path(resume_from_checkpoint))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        (folder / COMPLETE).write_text(json.dumps(self.seconds))

    def run(self) -> TrainResult:
        """Trains, going on from the last complete checkpoint where there is one."""
        checkpoint = last_complete(Path(self.args.output_dir))
        step = 0
        if checkpoint is not None:
            step = int(checkpoint.name.rpartition("-")[2])
            self.seconds.update(json.loads((checkpoint / COMPLETE).read_text()))
        self.config.output_dir.mkdir(parents=True, exist_ok=True)
        truncate_log(self.config.output_dir / "train.jsonl", step)
        if step < self.config.max_steps:
            self.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        else:
            self._load_from_checkpoint(str(checkpoint))
        folder = Path(self.args.output_dir) / "final"
        self.speech_model.save(folder)
        return TrainResult(folder, self.config.max_steps, dict(self.seconds))


class _Timer:
    def __init__(self, seconds: dict[str, float], kind: str) -> None:
        self.seconds, self.kind = seconds, kind

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds[self.kind] += time.perf_counter() - self.start


class _Clock(TrainerCallback):  # type: ignore[misc]
    def __init__(self, trainer: SpeechTrainer[Any]) -> None:
        self.trainer = trainer

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.trainer.step_learned()
