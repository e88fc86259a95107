"""The training loop that all trainers share: transformers' Trainer, fed with rollouts instead of batches.

A trainer of the registry is a function `train(model, benchmark, reward, config) -> TrainResult`. Ours are
built on `SpeechTrainer`, which asks two things of a subclass: what to learn from (`roll_out`) and how
(`loss`). Rollouts are made when an accumulation window is fetched, so that the loss can be divided by the
number of tokens of the whole window on all processes.
"""

from __future__ import annotations

import json
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainingArguments

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.benchmarks.decoding import telling
from speechbench.errors import SpeechbenchError, writing
from speechbench.interrupts import Stop, graceful_stop
from speechbench.models.base import Completions, SpeechModel
from speechbench.rewards.base import Reward
from speechbench.rewards.measure import prepare
from speechbench.run_schema import CHECKPOINTS, TRAIN, TRAINED
from speechbench.trainers.checkpoints import (
    COMPLETE,
    keep_only,
    last_complete,
    mark_complete,
    step_of,
    truncate_log,
    write_folder,
)
from speechbench.trainers.config import TrainConfig, TrainResult
from speechbench.trainers.scoring import Scorer
from speechbench.trainers.watch import Watch

__all__ = ["Rollout", "SpeechTrainer", "TrainConfig", "TrainResult"]


class Rollout(Protocol):
    """What one forward pass learns from."""

    @property
    def completions(self) -> Completions:
        """The completions whose tokens the loss is averaged over."""


R = TypeVar("R", bound=Rollout)


class SpeechTrainer(Trainer, ABC, Generic[R]):  # type: ignore[misc]
    """transformers' Trainer over examples and rollouts.

    Attributes:
        reward: What is trained on; set before `__init__` where there is one, which prepares and watches it.
    """

    reward: Reward | None = None

    def __init__(self, model: SpeechModel, benchmark: Benchmark, config: TrainConfig) -> None:
        self.config = config
        self.speech_model = model
        self.seconds: dict[str, float] = {"sampling": 0.0, "scoring": 0.0, "learning": 0.0}
        self._logged: dict[str, list[float]] = {}
        self._window_ready = 0.0
        self._stop = Stop()
        self.scorer = None if self.reward is None else Scorer(self.reward, int(os.environ.get("RANK", 0)))
        self.watch = Watch(self.subject, config, self.reward)
        examples = benchmark.load("train", config.limit)
        if not examples:
            raise SpeechbenchError(f"benchmark {benchmark.name}: its training split is empty")
        super().__init__(
            model=model,
            args=TrainingArguments(
                output_dir=str(config.output_dir / CHECKPOINTS),
                max_steps=config.max_steps,
                learning_rate=config.learning_rate,
                per_device_train_batch_size=min(config.per_device_train_batch_size, len(examples)),
                gradient_accumulation_steps=config.gradient_accumulation_steps,
                warmup_ratio=config.warmup_ratio,
                lr_scheduler_type=config.lr_scheduler_type,
                weight_decay=config.weight_decay,
                max_grad_norm=config.max_grad_norm,
                save_steps=config.save_steps,
                seed=config.seed,
                data_seed=config.seed,
                logging_steps=1,
                logging_nan_inf_filter=False,  # it would log a mean in place of a NaN
                report_to=[],
                disable_tqdm=True,
                remove_unused_columns=False,
                dataloader_drop_last=True,
                dataloader_pin_memory=torch.cuda.is_available(),
                use_cpu=not torch.cuda.is_available(),
                label_names=[],
            ),
            train_dataset=examples,
            data_collator=telling(model.expect),
        )
        self.model_accepts_loss_kwargs = True  # the loss is already divided by the window's tokens
        self.remove_callback(PrinterCallback)
        self.add_callback(_Steps(self))
        if self.reward is not None:
            prepare(self.reward, examples)

    @abstractmethod
    def roll_out(self, examples: list[Example]) -> R:
        """Makes what one forward pass learns from: completions and, where there is one, their rewards."""

    @abstractmethod
    def loss(self, model: torch.nn.Module, rollout: R, tokens: torch.Tensor) -> torch.Tensor:
        """The loss of one rollout, summed over its tokens and divided by `tokens`, those of the whole window."""

    def begin_scoring(
        self, texts: list[list[str]], examples: list[Example], logprobs_PG: torch.Tensor | None = None
    ) -> Callable[[], torch.Tensor]:
        """Starts to score hypotheses; a reward that waits for something outside does so beside other work.

        Args:
            texts: The hypotheses of each prompt's group.
            examples: The prompts.
            logprobs_PG: Mean log-probability of each hypothesis' tokens under the policy, where it is known.

        Returns:
            What gives, when they are needed, the rewards on unit scale, NaN where the reward does not apply;
            float64 [prompt, member].
        """
        assert self.scorer is not None, "set self.reward before SpeechTrainer.__init__"
        return self.scorer.begin(texts, examples, self.config.seed, self.state.global_step, logprobs_PG)

    @property
    def subject(self) -> str:
        """What trains on what, as sentences begin: "sft+grpo on reward BLEU"; without an ablation, by the class."""
        of_class = re.sub(r"(?<!^)(?=[A-Z])", "-", type(self).__name__.removesuffix("Trainer")).lower()
        name = self.config.trainer or of_class
        return name if self.reward is None else f"{name} on reward {self.reward.display}"

    @property
    def can_stop(self) -> bool:
        """Whether a checkpoint of the present step holds all that is needed to go on."""
        return True

    def roll_out_window(self, batches: list[list[Example]]) -> list[R]:
        """The rollouts of an accumulation window."""
        return [self.roll_out(batch) for batch in batches]

    def note(self, **values: float) -> None:
        """Logs values with the current step; several of one name are averaged."""
        for name, value in values.items():
            self._logged.setdefault(name, []).append(float(value))

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """A context that adds its wall time to `seconds[kind]`."""
        start = time.perf_counter()
        yield
        self.seconds[kind] += time.perf_counter() - start

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
        self.require_finite("loss", loss)
        return loss

    def require_finite(self, what: str, value: torch.Tensor) -> None:
        """Stops the training at a NaN or an infinity, before the optimizer puts it into the weights.

        Raises:
            SpeechbenchError: With the step and the remedy.
        """
        if not torch.isfinite(value):
            raise SpeechbenchError(
                f"{self.subject}: the {what} of step {self.state.global_step + 1} is {value.item()}, so training "
                f"stopped: lower learning_rate (now {self.config.learning_rate:g}) or max_grad_norm (now "
                f"{self.config.max_grad_norm:g}) in --config"
            )

    def step_learned(self) -> None:
        """Called when an optimizer step is done."""
        self.seconds["learning"] += time.perf_counter() - self._window_ready

    def is_to_stop(self) -> bool:
        """Whether someone asked to stop, and this is a place to do so."""
        return self._stop.asked and self.can_stop

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Writes one line a step to train.jsonl, reports it, and tells what is wrong with it."""
        if "loss" not in logs:
            return  # the Trainer's own summary at the end
        means = {name: sum(values) / len(values) for name, values in self._logged.items()}
        self._logged.clear()
        seconds: dict[str, Any] = dict(self.seconds)
        line: dict[str, Any] = {"step": self.state.global_step, **logs, **means, "seconds": seconds}
        if self.scorer is not None:
            seconds["rewards"] = dict(self.scorer.seconds)
            if parts := self.scorer.means():
                line["parts"] = parts
            if self.scorer.usage:
                line["usage"] = dict(self.scorer.usage)
        warnings = self.watch.hear(line)
        if warnings:
            line["warnings"] = warnings
        path = self.config.output_dir / TRAIN
        with writing(path), path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        self.config.progress.step({**logs, **means, "step": self.state.global_step, "steps": self.config.max_steps})
        for warning in warnings:
            self.config.progress.tell(warning)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        self.speech_model.save(Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self.speech_model.load_weights(Path(resume_from_checkpoint))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir)
        checkpoint = folder / f"checkpoint-{self.state.global_step}"
        with writing(checkpoint, checkpoint):
            super()._save_checkpoint(model, trial)
            scoring = None if self.scorer is None else self.scorer.save(checkpoint)
            mark_complete(checkpoint, {"seconds": self.seconds, "scoring": scoring})
        keep_only(folder, checkpoint)

    def _go_on(self, checkpoint: Path) -> None:
        """From what stands in a checkpoint beside what transformers reads."""
        counted = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))
        self.seconds.update(counted["seconds"])
        if self.scorer is not None:
            self.scorer.go_on(checkpoint, counted["scoring"])

    def run(self) -> TrainResult:
        """Trains, going on from the last complete checkpoint where there is one.

        Raises:
            KeyboardInterrupt: If SIGINT or SIGTERM came: after the present step, whose checkpoint is then there,
                or at the second of them at once.
            SpeechbenchError: If the loss or a gradient is not finite, or a checkpoint cannot be written.
        """
        folder = Path(self.args.output_dir)
        checkpoint = last_complete(folder)
        step = 0 if checkpoint is None else step_of(checkpoint)
        if checkpoint is not None:
            self._go_on(checkpoint)
        keep_only(folder, checkpoint)
        self.config.output_dir.mkdir(parents=True, exist_ok=True)
        self.watch.hear_again(truncate_log(self.config.output_dir / TRAIN, step))
        if step < self.config.max_steps:
            with graceful_stop(self.config.progress.tell) as self._stop:
                self.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            if self._stop.asked:
                raise KeyboardInterrupt
            if self.scorer is not None:
                self.scorer.require_applied()
        else:
            self._load_from_checkpoint(str(checkpoint))
        trained = self.config.output_dir / TRAINED
        write_folder(trained, self.speech_model.save)
        usage = {} if self.scorer is None else dict(self.scorer.usage)
        return TrainResult(trained, self.config.max_steps, dict(self.seconds), self.watch.warnings, usage)


class _Steps(TrainerCallback):  # type: ignore[misc]
    """Where our work meets the steps of transformers' loop."""

    def __init__(self, trainer: SpeechTrainer[Any]) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        gradients = [p.grad for p in self.trainer.speech_model.parameters() if p.grad is not None]
        self.trainer.require_finite("gradient norm", torch.nn.utils.get_total_norm(gradients))

    def on_step_end(self, _: Any, __: Any, control: TrainerControl, **___: Any) -> None:
        self.trainer.step_learned()
        if self.trainer.is_to_stop():
            control.should_save = control.should_training_stop = True

    def on_save(self, _: Any, __: Any, control: TrainerControl, **___: Any) -> None:
        if self.trainer.is_to_stop():  # asked while the checkpoint was written
            control.should_training_stop = True
