"""Mixed-policy GRPO: one member of each group is the reference (arXiv 2509.16990, after 2504.14945)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.models.base import Completions, Prompts, SpeechModel
from speechbench.rewards.base import Reward
from speechbench.trainers.base import TrainResult
from speechbench.trainers.grpo import Group, GrpoConfig, GrpoTrainer


@dataclass(frozen=True)
class MixedGrpoConfig(GrpoConfig):
    """As GRPO's; `num_generations` counts the reference: G − 1 samples and it."""


class MixedGrpoTrainer(GrpoTrainer):
    """GRPO over G − 1 samples and the reference, whose ratio is π/1, unclipped and without KL."""

    @property
    def samples_per_prompt(self) -> int:
        """One less than the group: the reference takes a place."""
        return self.config.num_generations - 1

    def complete(self, prompts: Prompts, examples: list[Example]) -> tuple[Completions, torch.Tensor]:
        """Samples, with the tokenised reference as the last member."""
        sampled, off_policy_PG = super().complete(prompts, examples)
        references = self.speech_model.completions_of([[e.references[0]] for e in examples])
        is_overlong_P1 = references.mask.sum(-1) > self.config.max_completion_length
        self.note(overlong_references=is_overlong_P1.float().mean().item())
        longest = max(sampled.tokens.shape[-1], references.tokens.shape[-1])
        end = self.speech_model.end_token

        def join(samples: torch.Tensor, reference: torch.Tensor, fill: int) -> torch.Tensor:
            return torch.cat(
                [torch.nn.functional.pad(x, (0, longest - x.shape[-1]), value=fill) for x in (samples, reference)],
                dim=1,
            )

        mixed = Completions(
            join(sampled.tokens, references.tokens, end),
            join(sampled.mask, references.mask, 0),
            torch.cat([sampled.finished, references.finished], dim=1),
        )
        return mixed, torch.nn.functional.pad(off_policy_PG, (0, 1), value=True)

    def roll_out(self, examples: list[Example]) -> Group:
        """Also logs how the reference weighs on the group."""
        group = super().roll_out(examples)
        size_PG = group.advantages_PG.abs()
        own_PG = group.advantages_PG[~group.off_policy_PG]
        self.note(
            reference_advantage_share=(size_PG[group.off_policy_PG].sum() / size_PG.sum().clamp(min=1e-9)).item(),
            positive_on_policy_share=(own_PG > 0).float().mean().item(),
        )
        return group


def train(model: SpeechModel, benchmark: Benchmark, reward: Reward, config: MixedGrpoConfig) -> TrainResult:
    """Trains with mixed-policy GRPO on a reward.

    Raises:
        UsageError: If the configuration makes no sense.
        SpeechbenchError: If the reward fails on an example, or the training split is empty.
    """
    return MixedGrpoTrainer(model, benchmark, reward, config).run()
