"""What GRPO is told, which of it makes no sense together, and which of it does nothing in the given set-up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from speechbench.trainers.config import TrainConfig
from speechbench.trainers.losses import LOSS_TYPES, RATIOS, Bounds

_SCALES = ("group", "batch", "none")
_ESTIMATORS = ("k3", "k3_ratio", "k1_reward")
_OF_TOKENS = ("dapo", "bnpo", "dr_grpo", "cispo")  # they weigh a completion by its length, whatever its ratio is


@dataclass(frozen=True)
class GrpoConfig(TrainConfig):
    """The paper's, but for learning rate and steps: those were chosen as SFT's were. For a model of billions of
    parameters the paper searched learning rates from 1e-6 to 5e-5.

    Names and meanings are TRL's 1.16 where it has the option.

    Attributes:
        num_generations: G, the size of the group.
        temperature: Of sampling, and of the probabilities in the loss.
        loss_type: "dapo", the paper's: all tokens of a step count alike. "grpo": all samples do, whatever their length.
            "dr_grpo": the tokens' sum over samples · `max_completion_length`. "bnpo": the tokens of each forward pass
            count alike, and so do the passes. "cispo": as "dapo", but the ratio, cut at `epsilon_high`, is a weight
            without gradient. Only completions with tokens in the loss are counted; TRL's "grpo" and "dr_grpo" count
            those that were masked and those without a reward too.
        importance_sampling_level: "token": each has its ratio; "sequence": a completion has one, the geometric mean of
            its tokens' (GSPO), for `loss_type` "grpo" only. References of mixed-grpo keep their tokens' own.
        beta: Weight of the KL to the model before training; 0: there is no such model, and no pass through it.
        kl_estimator: "k3" in the loss, as the paper has it (TRL's use_bias_correction_kl=False); "k3_ratio": k3 times
            the ratio, TRL's default; "k1_reward": the log-ratio, summed over a completion's tokens as they were
            sampled, taken off its reward before rewards are compared (TRL's RLOO).
        epsilon: The ratio is clipped to [1 − epsilon, 1 + epsilon_high]. With one update per batch of samples, as
            here, the ratio is 1 and nothing is clipped; it acts from the second update of `num_iterations` on.
        epsilon_high: `None` for `epsilon`; DAPO's paper has 0.28. For "cispo" the bound itself, 1 or more.
        num_iterations: Optimizer steps taken on each batch of samples. The examples that come up meanwhile are passed
            over: of each epoch, shuffled anew, every `num_iterations`-th window of batches is sampled.
        scale_rewards: Advantages are divided by the std of the rewards: of the "group", of the "batch" (all that one
            step learns from, on all processes), or by nothing ("none").
        std_floor: Least std that is divided by; as ever, 1e-4 is added to it.
        mask_truncated_completions: Completions that were cut stay in the group's mean and std but leave the loss.

    Raises:
        UsageError: If a value makes no sense, or two do not together.
    """

    num_generations: int = 8
    temperature: float = 1.0
    loss_type: str = "dapo"
    importance_sampling_level: str = "token"
    beta: float = 0.02
    kl_estimator: str = "k3"
    epsilon: float = 0.2
    epsilon_high: float | None = None
    num_iterations: int = 1
    scale_rewards: str = "group"
    std_floor: float = 0.0
    mask_truncated_completions: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.num_generations >= 2, "num_generations", "a group needs at least 2 members to compare")
        self.require_positive("temperature", "as 1.0")
        self.require_one_of("loss_type", LOSS_TYPES)
        self.require_one_of("importance_sampling_level", RATIOS)
        self.require_one_of("kl_estimator", _ESTIMATORS)
        self.require_one_of("scale_rewards", _SCALES)
        self.require_not_negative("beta", "as 0.02")
        self.require(
            0 < self.epsilon < 1,
            "epsilon",
            "the ratio is clipped to at least 1 − epsilon: give a number between 0 and 1, as 0.2",
        )
        self.require(self.num_iterations >= 1, "num_iterations", "give 1 or more")
        self.require_not_negative("std_floor", "as 0.05; 0 for none")
        self.require(
            self.save_steps % self.num_iterations == 0,
            "save_steps",
            f"samples are not kept in checkpoints, so give a multiple of num_iterations={self.num_iterations}",
        )
        self.require(
            self.importance_sampling_level == "token" or self.loss_type not in _OF_TOKENS,
            "importance_sampling_level",
            f"loss_type={self.loss_type!r} sums over tokens, so that a completion would count by its length and not "
            "once: set loss_type: grpo, as GSPO has it, or importance_sampling_level: token",
        )
        high, is_cap = self.epsilon_high, self.loss_type == "cispo"
        self.require(
            not is_cap or (high is not None and math.isfinite(high) and high >= 1),
            "epsilon_high",
            "with loss_type='cispo' it is the bound of the ratio itself, which is 1 where a sample was just drawn: "
            "give a number of 1 or more, as 5.0",
        )
        if high is not None:
            self.require_positive("epsilon_high", "as 0.28")

    @property
    def bounds(self) -> Bounds:
        """How far the ratio may go."""
        return Bounds(self.epsilon, self.epsilon if self.epsilon_high is None else self.epsilon_high)

    def _notes(self, processes: int) -> Iterator[str]:
        yield from super()._notes(processes)
        is_cispo = self.loss_type == "cispo"
        if self.num_iterations == 1:
            one = "with one update per batch of samples (num_iterations=1) the ratio is 1"
            if is_cispo:  # which asks for epsilon_high, so nothing more is said of it
                yield f"loss_type='cispo' trains as 'dapo' does, only the logged loss differs: {one}"
            else:
                yield from self.inert("epsilon_high", one)
            yield from self.inert("epsilon", one)
            if self.beta == 0 or self.kl_estimator != "k3_ratio":  # the ratio of k3_ratio has a gradient of its own
                yield from self.inert("importance_sampling_level", one)
        elif is_cispo:
            yield from self.inert("epsilon", "loss_type='cispo' bounds the ratio by epsilon_high alone")
        if self.loss_type == "bnpo" and self.gradient_accumulation_steps * processes == 1:
            yield (
                "loss_type='bnpo' trains as 'dapo' does: with one forward pass per step (gradient_accumulation_steps=1 "
                "on one process) the tokens of the pass are those of the step"
            )
        if self.loss_type == "dr_grpo" and self.scale_rewards != "none":
            yield (
                f"loss_type='dr_grpo' with scale_rewards={self.scale_rewards!r} is half of Dr. GRPO, whose paper "
                "divides by no std: for both halves set scale_rewards: none"
            )
        if self.beta == 0:
            yield from self.inert("kl_estimator", "with beta=0 there is no KL")
        if self.scale_rewards == "none":
            yield from self.inert("std_floor", "with scale_rewards='none' nothing is divided by")
