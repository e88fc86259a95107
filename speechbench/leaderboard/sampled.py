"""Sampled answers beside the greedy ones: their scores, their tests against base, and the gains that only they show.

Sampling rewards peakiness: a model that has put its probability onto fewer answers, none of them better than the answer
it gave greedily before, draws fewer bad ones and scores more (arXiv 1907.01752). So what ranks is greedy, and a gain
over base that is there only when sampled is called sharpening.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from speechbench.errors import SpeechbenchError
from speechbench.leaderboard.comparisons import (
    PLANNED,
    Comparison,
    Comparisons,
    comparison,
    planned_families,
    planned_pairs,
)
from speechbench.leaderboard.counting import Tick
from speechbench.leaderboard.statistics import interval
from speechbench.leaderboard.store import Group
from speechbench.leaderboard.systems import shared_ids, systems_of
from speechbench.leaderboard.testing import Measured, measured_and_tested
from speechbench.runs import Run


@dataclass(frozen=True)
class SampledHow:
    """How the sampled answers of a board were drawn and tested.

    Attributes:
        temperature: Of sampling.
        top_p: Of sampling.
        passes: How many answers each example has of each run.
        family: How many tests against base Holm's correction is over: those of sampled answers alone, so that the
            greedy ones are the same with and without them.
    """

    temperature: float
    top_p: float
    passes: int
    family: int


@dataclass(frozen=True)
class SampledComparisons:
    """All that is computed of sampled answers.

    Attributes:
        how: They were drawn and tested.
        measured: By place of the row in the group, and metric; the mean over passes and seeds.
        tests: Against base, whose answers are sampled too; by the same keys.
    """

    how: SampledHow
    measured: Mapping[tuple[int, str], Measured]
    tests: Mapping[tuple[int, str], Comparison]


@dataclass(frozen=True)
class SampledCell:
    """What stands of sampled answers in a cell.

    Attributes:
        value: Mean over passes and seeds, on the field's scale.
        interval: 95% bootstrap interval over examples.
        base: Against the base row, sampled too.
        sharpening: Whether the row is significantly better than base only here; see `is_sharpening`.
    """

    value: float
    interval: tuple[float, float] | None
    base: Comparison | None
    sharpening: bool


def compare_sampled(
    group: Group, greedy: Comparisons, resamples: int | None, tick: Tick | None = None
) -> SampledComparisons | None:
    """Measures the sampled answers of every row whose runs have them, and tests them against base's.

    The passes of all seeds are averaged on each resample of the examples, as seeds are on the board. The family is
    fixed before any result is seen: every metric, times every row that is tested against base.

    Args:
        group: The runs.
        greedy: What was computed of their greedy answers: clusters and test are the same here.
        resamples: As of `measured_and_tested`.
        tick: As of `measured_and_tested`.

    Returns:
        `None` where no run has sampled answers.

    Raises:
        SpeechbenchError: If they cannot be read, or were not drawn alike.
    """
    drawn: dict[tuple[float, float, int], Run] = {}
    for run in group.runs:
        if run.result is not None and run.result.sampled is not None:
            its = run.result.sampled
            passes = max(map(len, its.metrics.values()), default=0)
            drawn.setdefault((its.temperature, its.top_p, passes), run)
    if not drawn:
        return None
    if len(drawn) > 1:
        (one, first), (two, second) = list(drawn.items())[:2]
        raise SpeechbenchError(
            f"{first.folder} and {second.folder} were sampled differently ({_said(*one)}, and {_said(*two)}), so they "
            "do not compare: move one of them into another folder, or remove it and run the same command again"
        )
    pairs = planned_pairs(group, ["base"])
    families = planned_families(group, pairs)
    rows = systems_of(group, shared_ids(group), lambda run: run.passes)
    cluster = None if greedy.clusters is None else greedy.clusters.of
    measured, tested = measured_and_tested(rows, pairs, families, resamples, cluster, greedy.test, tick)
    lower = {metric.name: metric.lower_is_better for metric in group.metrics}
    tests = {}
    for (place, metric, baseline), found in tested.items():
        base = group.rows[pairs[place, metric, baseline].theirs[0]].label
        compared = comparison(found, base, families[PLANNED], lower[metric])
        if compared is not None:
            tests[place, metric] = compared
    ((temperature, top_p, passes),) = drawn
    how = SampledHow(temperature, top_p, passes, families[PLANNED])
    return SampledComparisons(how, measured, tests)


def sampled_cell(sampled: SampledComparisons, at: tuple[int, str], greedy: Comparison | None) -> SampledCell | None:
    """What stands of sampled answers in a cell; `None` where a run of the row has none.

    Args:
        sampled: All of the board.
        at: Place of the row, and metric.
        greedy: The row's test against base with greedy answers.
    """
    measured, test = sampled.measured.get(at), sampled.tests.get(at)
    if measured is None:
        return None
    sharpening = test is not None and greedy is not None and is_sharpening(test, greedy)
    return SampledCell(measured.score, interval(measured.draws, measured.clusters), test, sharpening)


def is_sharpening(sampled: Comparison, greedy: Comparison) -> bool:
    """Whether a gain over base is there only when sampled.

    It is where the row is significantly better than base with sampled answers (after Holm over the tests of sampled
    answers) and is not with greedy ones (after Holm over the board's family). That a greedy gain is not significant
    does not show that there is none: the two differences stand beside each other for that.
    """
    return sampled.verdict == 1 and greedy.verdict < 1


def _said(temperature: float, top_p: float, passes: int) -> str:
    return f"temperature {temperature:g}, top-p {top_p:g}, passes {passes}"
