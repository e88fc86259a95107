"""Mixed-policy GRPO: some members of each group are references (arXiv 2509.16990, after 2504.14945)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice

import torch

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.models.base import Completions, Prompts, SpeechModel
from speechbench.rewards.base import Reward
from speechbench.trainers.base import TrainResult
from speechbench.trainers.grpo import Group, GrpoConfig, GrpoTrainer, Scored
from speechbench.trainers.losses import SHAPINGS


@dataclass(frozen=True)
class MixedGrpoConfig(GrpoConfig):
    """As GRPO's; `num_generations` counts the references: by default G − 1 samples and one of them.

    Attributes:
        num_references: How many members of the group are references; an example that has fewer gives its own again,
            from the first.
        references_in_baseline: Whether their rewards count in the group's mean and std, as in the paper. Otherwise
            all are compared with the samples alone, as in LUFFY's code; a group whose samples all have one reward
            then teaches only where its std has a floor or is not divided by.
        off_policy: What stands for the ratio of a reference's tokens: "none", π/1 (the paper); "luffy", π/(π + gamma),
            which lets rare tokens learn too (arXiv 2504.14945). Unclipped both.
        gamma: Of "luffy"; the smaller, the more the rare tokens' gradient is lifted.
        kl_on_references: Whether the KL is taken on references too, where k3 estimates none.

    Raises:
        UsageError: If a value makes no sense, or two do not together.
    """

    num_references: int = 1
    references_in_baseline: bool = True
    off_policy: str = "none"
    gamma: float = 0.1
    kl_on_references: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_one_of("off_policy", SHAPINGS)
        self.require_positive("gamma", "as 0.1")
        self.require(self.num_references >= 1, "num_references", "give 1 or more, or train with grpo")
        samples = 1 if self.references_in_baseline else 2
        why = "" if self.references_in_baseline else " to compare with (references_in_baseline=False)"
        self.require(
            self.num_generations - self.num_references >= samples,
            "num_references",
            f"of num_generations={self.num_generations} at least {samples} must be samples{why}: give at most "
            f"{self.num_generations - samples}, or raise num_generations",
        )

    def _notes(self, processes: int) -> Iterator[str]:
        yield from super()._notes(processes)
        if self.off_policy != "luffy":
            yield from self.inert("gamma", f"off_policy={self.off_policy!r} has none; set off_policy: luffy")
        if self.beta == 0:
            yield from self.inert("kl_on_references", "with beta=0 there is no KL")
        if not self.references_in_baseline and self.scale_rewards == "group" and self.std_floor == 0:
            yield (
                "references_in_baseline=False without std_floor: where a group's samples have nearly equal rewards, "
                "their reference's advantage has no bound; set std_floor, as 0.05"
            )


class MixedGrpoTrainer(GrpoTrainer):
    """GRPO over samples and references, whose ratio is π/1, unclipped and by default without KL."""

    config: MixedGrpoConfig

    @property
    def samples_per_prompt(self) -> int:
        """Less than the group: the references take places."""
        return self.config.num_generations - self.config.num_references

    def complete(self, prompts: Prompts, examples: list[Example]) -> tuple[Completions, torch.Tensor]:
        """Samples, with the tokenised references as the last members."""
        count = self.config.num_references
        sampled, off_policy_PG = super().complete(prompts, examples)
        references = self.speech_model.completions_of([list(islice(cycle(e.references), count)) for e in examples])
        is_overlong_PR = references.mask.sum(-1) > self.config.max_completion_length
        self.note(overlong_references=is_overlong_PR.float().mean().item())
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
        return mixed, torch.nn.functional.pad(off_policy_PG, (0, count), value=True)

    def in_baseline(self, off_policy_PG: torch.Tensor) -> torch.Tensor:
        """All, or the samples alone."""
        return super().in_baseline(off_policy_PG) if self.config.references_in_baseline else ~off_policy_PG

    def under_kl(self, off_policy_PG: torch.Tensor) -> torch.Tensor:
        """The samples, or all."""
        return torch.ones_like(off_policy_PG) if self.config.kl_on_references else super().under_kl(off_policy_PG)

    def shaped(self, probability_PGT: torch.Tensor) -> torch.Tensor:
        """The probability of a reference's tokens as `off_policy` shapes it."""
        return SHAPINGS[self.config.off_policy](probability_PGT, self.config.gamma)

    def compare(self, window: list[Scored]) -> list[Group]:
        """Also logs how the references weigh on their groups."""
        groups = super().compare(window)
        for group in groups:
            size_PG = group.advantages_PG.abs()
            self.note(
                reference_advantage_share=(size_PG[group.off_policy_PG].sum() / size_PG.sum().clamp(min=1e-9)).item()
            )
            own = group.advantages_PG[~group.off_policy_PG & ~group.rewards_PG.isnan()]
            if len(own):
                self.note(positive_on_policy_share=(own > 0).float().mean().item())
        return groups


def train(model: SpeechModel, benchmark: Benchmark, reward: Reward, config: MixedGrpoConfig) -> TrainResult:
    """Trains with mixed-policy GRPO on a reward.

    Raises:
        UsageError: If the configuration makes no sense.
        SpeechbenchError: If the reward fails on an example, or the training split is empty.
    """
    return MixedGrpoTrainer(model, benchmark, reward, config).run()
