"""What every reward and metric is: one scorer, used to train on unit scale and to measure on the field's.

As a reward it gives one number per hypothesis. As a metric it gives sufficient statistics per segment,
whose sum over a corpus gives the corpus score through one of `speechbench.aggregate.AGGREGATES`;
so corpus scores of thousands of bootstrap resamples are one matrix product.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import UsageError
from speechbench.specs import Spec


@dataclass(frozen=True)
class Batch:
    """Hypotheses to score, each with its example.

    The hypotheses of one prompt's group stand next to each other and share the same `Example` object.

    Attributes:
        hypotheses: Texts the model wrote.
        examples: For each hypothesis its example.
        seeds: For each hypothesis a number that depends on (seed, step, example, member) alone: the only
            randomness a reward may use.
        logprobs: For each hypothesis the mean log-probability of its tokens under the model that wrote it, in nats;
            `None` where no model is at hand, as in measuring.
        groups: For each hypothesis the name of its group; where there are none, its example's id is.
    """

    hypotheses: Sequence[str]
    examples: Sequence[Example]
    seeds: Sequence[int]
    logprobs: Sequence[float] | None = None
    groups: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.examples, (list, tuple)):  # what makes each example anew has no same object twice
            object.__setattr__(self, "examples", list(self.examples))

    @property
    def group_names(self) -> Sequence[str]:
        """For each hypothesis the name of its group."""
        return [example.id for example in self.examples] if self.groups is None else self.groups

    @classmethod
    def of(cls, hypotheses: Sequence[str], examples: Sequence[Example]) -> Batch:
        """A batch for measuring: the seeds are the positions."""
        return cls(hypotheses, examples, range(len(hypotheses)))

    def select(self, rows: Sequence[int]) -> Batch:
        """The batch of these rows alone, in this order."""
        return replace(
            self,
            hypotheses=[self.hypotheses[row] for row in rows],
            examples=[self.examples[row] for row in rows],
            seeds=[self.seeds[row] for row in rows],
            logprobs=None if self.logprobs is None else [self.logprobs[row] for row in rows],
            groups=None if self.groups is None else [self.groups[row] for row in rows],
        )


class Reward(ABC):
    """A scorer. Subclasses are registered and take their parameters as keyword arguments.

    Attributes:
        spec: How it was asked for, with defaults of the benchmark filled in; set by `load_reward`.
        display: What a column is called ("BLEU", "comet[tiny]").
        family: "overlap", "embedding", "learned", "exact", "control" or "combined".
        range: Lowest and highest unit-scale score; infinite where there is no bound.
        maximum: What a reference scores against itself, on unit scale, whatever it says (unless there is nothing
            in it to count); `None` where that is not sure, as for METEOR and for learned scorers.
        scale: Field's scale over unit scale: 100 for most metrics.
        lower_is_better: Whether the metric, on the field's scale, is an error; the reward never is.
        several_references: How more than one counts: "pooled" (statistics over all of them), "best" (the one that
            fits best), "first" (the others are not looked at), "none" (no reference is).
        needs: Which of "reference", "source", "audio" an example must have; "logprobs" and "group" (all
            hypotheses of a prompt together) are asked of the batch.
        languages: Target languages it is meant for; empty for any.
        aggregate: Name in `speechbench.aggregate.AGGREGATES`.
        extra: What to install, as in `pip install 'speechbench[extra]'`; empty for none.
        incidental: Parameters that cannot change a score, or that the signature tells of in a way that lasts (a
            checkpoint's hash and own name instead of the way to it): another value is no other run.
        is_pure: Whether a score depends on example and text alone (in a neural scorer, but for its last bits), so that
            it can be kept: not on the batch's seeds and log-probabilities, nor on what else is in the batch.
        waits: Whether scoring waits for something outside this process, so that other work may go on meanwhile.
        citation: Paper or library the score comes from.
    """

    spec: Spec
    display: str
    family: str = "exact"
    range: tuple[float, float] = (0.0, 1.0)
    maximum: float | None = None
    scale: float = 100.0
    lower_is_better: bool = False
    several_references: str = "best"
    needs: frozenset[str] = frozenset({"reference"})
    languages: frozenset[str] = frozenset()
    aggregate: str = "mean"
    extra: str = ""
    incidental: frozenset[str] = frozenset()
    is_pure: bool = False
    waits: bool = False
    citation: ClassVar[str] = ""

    def prepare(self, examples: Sequence[Example]) -> None:
        """Called with all examples that are going to be scored, before the first of them is.

        Args:
            examples: The training split that hypotheses will be written for, or the test items of a measurement.
        """

    @abstractmethod
    def score(self, batch: Batch) -> list[float | None]:
        """Scores each hypothesis on unit scale, higher is better; `None` means that it does not apply."""

    def statistics(self, batch: Batch) -> npt.NDArray[np.float64]:
        """Sufficient statistics, shape [segment, statistic]; by default the score and a count."""
        return mean_statistics(self.score(batch), self.scale)

    def segments(self, scores: Sequence[float | None], statistics: npt.NDArray[np.float64]) -> list[float | None]:
        """The metric's value of each segment on the field's scale; by default the score times `scale`.

        Args:
            scores: What `score` gave.
            statistics: Shape [segment, statistic], of the same hypotheses.
        """
        return [None if score is None else score * self.scale for score in scores]

    @property
    def statistics_are_scores(self) -> bool:
        """Whether `statistics` holds nothing but the scores, so that who has these need not score again."""
        return type(self).statistics is Reward.statistics

    def signature(self) -> Mapping[str, Any]:
        """Everything the score depends on: name, version, parameters, checkpoint, library version."""
        return {}

    def usage(self) -> Mapping[str, float]:
        """What scoring has used up so far that someone pays for, as tokens of a judge; nothing by default."""
        return {}

    def part_seconds(self) -> Mapping[str, float]:
        """Wall time that each part's scoring has taken so far, by its display; nothing where there are no parts."""
        return {}

    def check(self, benchmark: Benchmark) -> None:
        """Refuses benchmarks that this scorer was not made for.

        Raises:
            UsageError: If it must not be used there.
        """


def mean_statistics(scores: Sequence[float | None], scale: float) -> npt.NDArray[np.float64]:
    """What the aggregate "mean" takes: [score on the field's scale, 1] per segment, zeros where none applies.

    Returns:
        Shape [segment, 2].
    """
    return np.array([(0.0, 0.0) if s is None else (s * scale, 1.0) for s in scores]).reshape(-1, 2)


def total_usage(usages: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """What several have used up, by what it is."""
    total: dict[str, float] = {}
    for usage in usages:
        for what, amount in usage.items():
            total[what] = total.get(what, 0.0) + amount
    return total


def no_logprobs(reward: str) -> UsageError:
    """What to raise where a reward needs the batch's log-probabilities and there are none."""
    return UsageError(
        f"reward {reward} needs the log-probabilities of the model that wrote the hypotheses, which are at hand only "
        "in training: train on it with `speechbench ablate --rewards`, and choose another metric"
    )
