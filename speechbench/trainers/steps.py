"""Where our work meets the steps of transformers' loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl

if TYPE_CHECKING:
    from speechbench.trainers.base import SpeechTrainer


class Steps(TrainerCallback):  # type: ignore[misc]
    """Looks at gradients before the optimizer does, and stops where someone asked to."""

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
