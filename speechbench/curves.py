"""Best-of-n and pass@k: what a model's samples hold, beside what its one answer shows.

Both tell sharpening from learning: what only moves probability onto answers that were there already raises the score of
one answer, not that of the best of many. N samples of each example give estimates for every n and k up to N.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from speechbench.aggregate import AGGREGATES
from speechbench.errors import UsageError
from speechbench.run_schema import MetricInfo, Sample

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """What one metric says of N samples of each example.

    Attributes:
        scores: On the field's scale, NaN where the metric does not apply; shape [sample, example].
        statistics: Sufficient statistics, zeros where it does not apply; shape [sample, example, statistic].
        aggregate: How they make a corpus score: a name in `AGGREGATES`.
        lower_is_better: Whether the metric counts errors.
    """

    scores: Array
    statistics: Array
    aggregate: str
    lower_is_better: bool = False

    @classmethod
    def of(cls, passes: Sequence[Sequence[Sample]], metric: MetricInfo) -> Drawn:
        """From the answers of N passes over the same examples in the same order."""
        scores = [[sample.metrics[metric.name] for sample in samples] for samples in passes]
        return cls(
            np.array([[its.score for its in row] for row in scores], np.float64),
            np.array([[its.statistics for its in row] for row in scores], np.float64),
            metric.aggregate,
            metric.lower_is_better,
        )

    def best_of(self, numbers: Sequence[int]) -> dict[int, float | None]:
        """The corpus score where each example's answer is the best of n samples, the metric itself choosing.

        Its segment score chooses, the first of several equal ones. What is summed over the examples is the expectation
        of the chosen sample's sufficient statistics over all subsets of n of the N samples, and the corpus score is
        made of that sum: it stands on the scale of the metric's other corpus scores. For a mean of segment scores this
        is the unbiased estimate of the expected maximum. BLEU and chrF are no means: theirs is exact at n = N, and
        below that the score of the expected corpus, not the expected score, two that come together as examples grow
        in number.

        A sample to which the metric does not apply is chosen only where there is no other, and leaves the corpus then.

        Args:
            numbers: The n, each from 1 to N.

        Returns:
            By n, on the field's scale; `None` where the metric applies to no sample.
        """
        samples = len(self.scores)
        if np.isnan(self.scores).all():
            return dict.fromkeys(numbers)
        sign = -1 if self.lower_is_better else 1
        worth = np.where(np.isnan(self.scores), -np.inf, sign * self.scores)
        places = np.broadcast_to(-np.arange(samples)[:, None], worth.shape)
        worst_first = np.lexsort((places, worth), axis=0)  # of equal ones the first stands last
        ordered = np.take_along_axis(self.statistics, worst_first[..., None], axis=0).sum(axis=1)  # [rank, statistic]
        return {n: float(AGGREGATES[self.aggregate](chances_to_be_best(n, samples) @ ordered)) for n in numbers}

    def pass_at(self, threshold: float, numbers: Sequence[int]) -> dict[int, float | None]:
        """How likely at least one of k samples passes: 1 − C(N − c, k) / C(N, k), the mean over examples.

        The unbiased estimator of arXiv 2107.03374, equation 1; c is how many of an example's N samples pass.

        Args:
            threshold: The score from which on a sample passes, on the field's scale; for a metric that counts errors,
                up to which. A sample to which the metric does not apply does not pass.
            numbers: The k, each from 1 to N.

        Returns:
            By k, from 0 to 1; `None` where the metric applies to no sample. Examples to none of whose samples it
            applies are left out.
        """
        samples = len(self.scores)
        scores = self.scores[:, ~np.isnan(self.scores).all(axis=0)]
        if not scores.size:
            return dict.fromkeys(numbers)
        passed = scores <= threshold if self.lower_is_better else scores >= threshold
        failed = (samples - passed.sum(axis=0)).tolist()
        return {
            k: float(np.mean([1 - math.comb(count, k) / math.comb(samples, k) for count in failed])) for k in numbers
        }


def chances_to_be_best(drawn: int, of: int) -> Array:
    """How likely each of N samples, ordered from worst to best, is the best of n that are drawn without replacement.

    The sample with r worse ones is the best of C(r, n − 1) of the C(N, n) subsets.

    Args:
        drawn: n, from 1 to N.
        of: N.

    Returns:
        Shape [sample]; they sum to 1.
    """
    subsets = math.comb(of, drawn)
    return np.array([math.comb(worse, drawn - 1) / subsets for worse in range(of)])


def numbers_of(given: Sequence[int]) -> tuple[int, ...]:
    """The n and k that are asked for, from least to most, each once.

    Raises:
        UsageError: If one is no whole number of at least 1.
    """
    for number in given:
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise UsageError(f"best_of={number!r}: give whole numbers of at least 1, as in 1,2,4,8")
    return tuple(sorted(set(given)))


def thresholds_of(given: Sequence[str]) -> dict[str, float]:
    """By the metric's spec, the score at which a sample passes, from texts as "binary=100".

    Raises:
        UsageError: If one says no metric or no score.
    """
    found = {}
    for text in given:
        metric, _, score = text.rpartition("=")
        try:
            found[metric.strip()] = float(score)
        except ValueError:
            found[metric.strip()] = math.nan
        if not metric.strip() or not math.isfinite(found[metric.strip()]):
            raise UsageError(f"pass_at={text!r}: write a metric and the score to reach, as in binary=100")
    return found
