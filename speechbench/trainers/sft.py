"""Supervised fine-tuning: minus the log-probability of the reference, a group of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.models.base import Completions, SpeechModel
from speechbench.rewards.base import Reward
from speechbench.trainers.base import SpeechTrainer, TrainConfig, TrainResult


@dataclass(frozen=True)
class SftConfig(TrainConfig):
    """Defaults chosen for the embedded model, on covost2-mini's validation split (docs/embedded-model.md)."""

    uses_reward: ClassVar[bool] = False

    max_steps: int = 100
    per_device_train_batch_size: int = 16


@dataclass(frozen=True)
class References:
    """Examples and their first reference as the only completion of each."""

    examples: list[Example]
    completions: Completions


class SftTrainer(SpeechTrainer[References]):
    """Cross-entropy per token of the reference, the end token included."""

    def roll_out(self, examples: list[Example]) -> References:
        """The references, tokenised."""
        return References(examples, self.speech_model.completions_of([[e.references[0]] for e in examples]))

    def loss(self, model: torch.nn.Module, rollout: References, tokens: torch.Tensor) -> torch.Tensor:
        """−Σ log π(reference) / tokens."""
        logprobs_P1T, entropy_P1T = model(rollout.examples, rollout.completions)
        lengths_P1 = rollout.completions.mask.sum(-1)
        self.note(
            entropy=entropy_P1T.sum().item() / int(rollout.completions.mask.sum()),
            completion_length=lengths_P1.float().mean().item(),
            overlong_references=(lengths_P1 > self.config.max_completion_length).float().mean().item(),
        )
        loss: torch.Tensor = -logprobs_P1T.sum() / tokens
        return loss


def train(model: SpeechModel, benchmark: Benchmark, reward: Reward | None, config: SftConfig) -> TrainResult:
    """Fine-tunes on the references; takes no reward.

    Raises:
        SpeechbenchError: If the training split is empty.
    """
    return SftTrainer(model, benchmark, config).run()
