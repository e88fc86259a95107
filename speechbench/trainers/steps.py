"""Where our work meets the steps of transformers' loop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl

from speechbench import distributed
from speechbench.errors import DivergedError
from speechbench.trainers.config import TrainConfig

if TYPE_CHECKING:
    from speechbench.trainers.base import SpeechTrainer


def diverged(
    subject: str, config: TrainConfig, what: str, value: torch.Tensor, good: Path | None, ruined: Path | None
) -> DivergedError:
    """The error of a value that is no finite number.

    Args:
        subject: Of the sentence: what trains on what.
        config: Of the training.
        what: Whose value it is, and of which step.
        value: Not finite.
        good: The last checkpoint from which a step went well, if there is one.
        ruined: The checkpoint whose weights gave the value, if there is one: it counts no more.
    """
    norm = config.max_grad_norm
    bound = f"lower max_grad_norm (now {norm:g})" if norm else "set max_grad_norm: 1 (now 0, no clipping)"
    left = f"{good} holds the last" if good else "no checkpoint holds"
    left += " weights that were seen to give a finite one" + (f"; {ruined.name} counts no more" if ruined else "")
    return DivergedError(
        f"{subject}: the {what} is {value.item()}, so training stopped: lower learning_rate "
        f"(now {config.learning_rate:g}) or {bound} in --config ({left})"
    )


def norm_of_weights(model: torch.nn.Module) -> torch.Tensor:
    """Of those that learn, all together; called on all processes."""
    return torch.nn.utils.get_total_norm([p.detach() for p in model.parameters() if p.requires_grad])


class Steps(TrainerCallback):  # type: ignore[misc]
    """Looks at gradients before the optimizer does, and stops where someone asked to."""

    def __init__(self, trainer: SpeechTrainer[Any]) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        gradients = [p.grad for p in self.trainer.speech_model.parameters() if p.grad is not None]
        what = f"gradient norm of step {self.trainer.state.global_step + 1}"
        self.trainer.require_finite(what, torch.nn.utils.get_total_norm(gradients))
        if distributed.is_main():  # gradients are those of all processes: each saw a finite loss
            self.trainer.kept.newest_is_good()

    def on_step_end(self, _: Any, __: Any, control: TrainerControl, **___: Any) -> None:
        self.trainer.step_learned()
        if self.trainer.is_to_stop():
            control.should_save = control.should_training_stop = True

    def on_save(self, _: Any, __: Any, control: TrainerControl, **___: Any) -> None:
        if self.trainer.is_to_stop():  # asked while the checkpoint was written
            control.should_training_stop = True
