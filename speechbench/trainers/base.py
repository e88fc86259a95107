"""The training loop that all trainers share: transformers' Trainer, fed with rollouts instead of batches.

A trainer of the registry is a function `train(model, benchmark, reward, config) -> TrainResult`. Ours are
built on `SpeechTrainer`, which asks two things of a subclass: what to learn from (`roll_out`) and how
(`loss`). Rollouts are made when an accumulation window is fetched, so that the loss can be divided by the
number of tokens of the whole window on all processes.
"""

from __future__ import annotations

import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from transformers import PrinterCallback, Trainer

from speechbench import distributed
from speechbench.benchmarks.base import Benchmark, Example
from speechbench.benchmarks.decoding import telling
from speechbench.errors import SpeechbenchError, writing
from speechbench.interrupts import Stop, graceful_stop
from speechbench.models.base import Completions, SpeechModel
from speechbench.rewards.base import Reward, total_usage
from speechbench.rewards.measure import prepare
from speechbench.run_schema import TRAINED
from speechbench.trainers import precision, sharding
from speechbench.trainers.arguments import training_arguments
from speechbench.trainers.checkpoints import COMPLETE, Kept, last_complete, mark_complete, step_of, write_folder
from speechbench.trainers.config import TrainConfig, TrainResult
from speechbench.trainers.log import Log
from speechbench.trainers.memory_errors import saying_what_to_lower
from speechbench.trainers.scoring import Scorer
from speechbench.trainers.steps import Steps, diverged, norm_of_weights
from speechbench.trainers.validation import Validation
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
        self.scorer = None if self.reward is None else Scorer(self.reward, distributed.rank())
        learning = set() if sharding.holds_copies() else {p.dtype for p in model.parameters() if p.requires_grad}
        self.watch = Watch(self.subject, config, self.reward, learning)
        self.lines = Log(config, self.scorer, self.watch)
        examples = benchmark.load("train", config.limit)
        if not examples:
            raise SpeechbenchError(f"benchmark {benchmark.name}: its training split is empty")
        with precision.told(config.bf16):
            super().__init__(
                model=model,
                args=training_arguments(config, len(examples)),
                train_dataset=examples,
                data_collator=telling(model.expect),
            )
        self.kept = Kept(Path(self.args.output_dir))
        sharding.check(self.accelerator, config)
        self.bones = sharding.skeleton(model) if self.is_fsdp_enabled else None
        self.model_accepts_loss_kwargs = True  # the loss is already divided by the window's tokens
        self.remove_callback(PrinterCallback)
        self.add_callback(Steps(self))
        if self.reward is not None:
            prepare(self.reward, examples)
        self.validation = None
        if config.eval_steps is not None:
            self.validation = Validation(model, benchmark, config, self.reward)
            self.seconds["validation"] = 0.0

    @abstractmethod
    def roll_out(self, examples: list[Example]) -> R:
        """Makes what one forward pass learns from: completions and, where there is one, their rewards."""

    @abstractmethod
    def loss(self, model: torch.nn.Module, rollout: R, tokens: torch.Tensor) -> torch.Tensor:
        """The loss of one rollout, summed over its tokens and divided by `tokens`, those of the whole window."""

    def begin_scoring(
        self,
        texts: list[list[str]],
        examples: list[Example],
        logprobs_PG: torch.Tensor | None = None,
        off_policy_PG: torch.Tensor | None = None,
    ) -> Callable[[], torch.Tensor]:
        """Starts to score hypotheses; a reward that waits for something outside does so beside other work.

        Args:
            texts: The hypotheses of each prompt's group.
            examples: The prompts.
            logprobs_PG: Mean log-probability of each hypothesis' tokens under the policy, where it is known.
            off_policy_PG: Which the policy did not write, bool: the logged means of a reward's parts leave them out.

        Returns:
            What gives, when they are needed, the rewards on unit scale, NaN where the reward does not apply;
            float64 [prompt, member].
        """
        assert self.scorer is not None, "set self.reward before SpeechTrainer.__init__"
        c, step = self.config, self.state.global_step
        return self.scorer.begin(texts, examples, c.seed, step, logprobs_PG, off_policy_PG)

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
        # In eval mode, since layers that checkpoint their activations keep no KV cache in train mode, and in the
        # precision of the loss, so that the ratio to the policy that wrote the samples is 1 where it should be.
        self.speech_model.eval()
        with self.accelerator.autocast(), sharding.whole(self.speech_model):
            rollouts = self.roll_out_window(batches)
        tokens = torch.stack([r.completions.mask.sum() for r in rollouts]).sum()
        self._window_ready = time.perf_counter()
        everyones = self.accelerator.reduce(tokens.to(device), "sum")
        self.note(tokens=everyones)
        return [{"rollout": r} for r in rollouts], everyones

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, R], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The subclass' loss; times the processes, whose gradients the wrapper averages."""
        loss: torch.Tensor = self.loss(model, inputs["rollout"], num_items_in_batch) * self.accelerator.num_processes
        self.require_finite(f"loss of step {self.state.global_step + 1}", loss)
        return loss

    def require_finite(self, what: str, value: torch.Tensor) -> None:
        """Stops the training at a NaN or an infinity, before it gets into the weights or from them into a checkpoint.

        Raises:
            DivergedError: With the step and the remedy.
        """
        if not torch.isfinite(value):
            raise diverged(self.subject, self.config, what, value, *self.kept.diverged(self.state.global_step))

    def step_learned(self) -> None:
        """Called when an optimizer step is done, before it is logged and saved."""
        self.seconds["learning"] += time.perf_counter() - self._window_ready
        step = self.state.global_step
        if self.validation is not None and self.validation.is_due(step):
            with self.timed("validation"):
                self.note(**{self.validation.name: self.validation.measure(step)})
            if self.scorer is not None:
                self.scorer.pass_over()

    def is_to_stop(self) -> bool:
        """Whether someone asked one of the processes to stop, and this is a place to do so: the same on all."""
        self._stop.asked = any(distributed.from_all(self._stop.asked))
        return self._stop.asked and self.can_stop

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Logs a step with what was noted in it."""
        if "loss" not in logs:
            return  # the Trainer's own summary at the end
        self.lines.write(self.state.global_step, logs, self._logged, self.seconds)
        self._logged.clear()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        sharding.unsharded(self.speech_model, self.bones, state_dict).save(Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        sharding.load_weights(self.speech_model, self.bones, Path(resume_from_checkpoint))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        step = self.state.global_step
        self.require_finite(f"norm of the weights after step {step}", norm_of_weights(self.speech_model))
        checkpoint = Path(self.args.output_dir) / f"checkpoint-{step}"
        with writing(checkpoint, checkpoint):
            super()._save_checkpoint(model, trial)
            # Of each process, and all of its files are there.
            scoring = distributed.from_all(None if self.scorer is None else self.scorer.save(checkpoint))
            validation = None if self.validation is None else self.validation.save()
            if distributed.is_main():
                mark_complete(checkpoint, {"seconds": self.seconds, "scoring": scoring, "validation": validation})
        self.kept.written()
        distributed.from_main()  # to stop here would stop the main process too, however far it is
        if self.validation is not None:
            self.validation.remove_what_nothing_needs()

    def _go_on(self, checkpoint: Path | None) -> int:
        """From what stands in a checkpoint beside what transformers reads; the step it was written after."""
        step, counted = 0, {}
        if checkpoint is not None:
            step, counted = step_of(checkpoint), json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))
            self.seconds.update(counted["seconds"])
            distributed.require_as_many(len(counted["scoring"]), checkpoint)
            if self.scorer is not None:
                self.scorer.go_on(checkpoint, counted["scoring"][distributed.rank()])
        if self.validation is not None:
            self.validation.go_on(counted.get("validation"))
        if distributed.is_main():
            self.kept.begin()
            self.config.output_dir.mkdir(parents=True, exist_ok=True)
            self.lines.go_on(step)
        return step

    def run(self) -> TrainResult:
        """Trains, going on from the last complete checkpoint where there is one.

        Raises:
            KeyboardInterrupt: If SIGINT or SIGTERM came: after the present step, whose checkpoint is then there,
                or at the second of them at once.
            SpeechbenchError: If the loss or a gradient is not finite, memory is short, or a checkpoint cannot be
                written.
        """
        found = last_complete(Path(self.args.output_dir))
        name = distributed.from_main(found and found.name)
        checkpoint = None if name is None else Path(self.args.output_dir) / name
        if self._go_on(checkpoint) < self.config.max_steps:
            self._learn(checkpoint)
        else:
            self._load_from_checkpoint(str(checkpoint))
        if self.validation is not None:
            self.validation.restore(self.config.max_steps)
        trained = self.config.output_dir / TRAINED
        state = sharding.whole_state(self.speech_model)
        if distributed.is_main():
            write_folder(trained, sharding.unsharded(self.speech_model, self.bones, state).save)
            self.kept.newest_is_good()
        if self.validation is not None:
            self.validation.remove_what_nothing_needs()
        used = total_usage(part.usage for part in (self.scorer, self.validation) if part is not None)
        usage = total_usage(distributed.from_all(used))  # once the trained model is there
        best = None if self.validation is None else self.validation.best
        return TrainResult(trained, self.config.max_steps, dict(self.seconds), self.watch.warnings, usage, best)

    def _learn(self, checkpoint: Path | None) -> None:
        """The steps that are left."""
        if self.config.gradient_checkpointing:
            self.speech_model.gradient_checkpointing_enable()
        with (
            graceful_stop(self.config.progress.tell) as self._stop,
            saying_what_to_lower(self.subject, self.config, lambda: self.state.global_step + 1),
        ):
            self.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            stopped = any(distributed.from_all(self._stop.asked))
        self.accelerator.unwrap_model(self.model_wrapped, keep_fp32_wrapper=False)  # no autocast from here on
        if self.config.gradient_checkpointing:
            self.speech_model.gradient_checkpointing_disable()
        if stopped:
            raise KeyboardInterrupt
        if self.scorer is not None:
            self.scorer.require_applied()
