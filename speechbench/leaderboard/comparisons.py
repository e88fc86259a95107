"""All tests of a board: the rows against their baselines as one family, and for the ranks each pair of rows."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import numpy as np

from speechbench.leaderboard.baselines import BASELINES, counterpart
from speechbench.leaderboard.counting import Tick
from speechbench.leaderboard.seeds import SeedTest
from speechbench.leaderboard.statistics import ALPHA, detectable, interval, smallest_p
from speechbench.leaderboard.store import Group
from speechbench.leaderboard.systems import Clusters, clusters_of, shared_ids, systems_of
from speechbench.leaderboard.testing import START, Measured, Pair, Tested, measured_and_tested

PLANNED = "baselines"
"""Name of the family that the marks are of; the others are a metric's pairs of rows, which the ranks are of."""


@dataclass(frozen=True)
class Comparison:
    """A row's score against another row's on the same examples: those to which the metric applies for both.

    Attributes:
        against: Label of the other row.
        difference: Score less the other row's, on the field's scale.
        interval: 95% paired bootstrap interval of the difference over examples.
        p: Two-sided; over examples, and where there are seeds over these too: the larger.
        p_holm: Corrected over the family of tests.
        examples: How many both have a score for. Where one has more, the difference is not that of their scores.
        baseline: The other row's score on these examples.
        resamples: Behind p.
        detectable: The smallest difference that this test set would show; see `statistics.detectable`.
        seeds: Over seeds alone; `None` where neither row has two.
        pigeonhole: 95% interval over examples and seeds, both resampled; `None` below five seeds, which p then is of.
        lower_is_better: Whether the metric counts errors.
    """

    against: str
    difference: float
    interval: tuple[float, float]
    p: float
    p_holm: float
    examples: int
    baseline: float
    resamples: int = START
    detectable: float | None = None
    seeds: SeedTest | None = None
    pigeonhole: tuple[float, float] | None = None
    lower_is_better: bool = False

    @property
    def verdict(self) -> int:
        """1 where significantly better after correction, -1 where worse, 0 where neither."""
        return verdict(self.difference, self.p_holm, self.lower_is_better)


def verdict(difference: float, p_holm: float, lower_is_better: bool) -> int:
    """1 where a row is significantly better after correction, -1 where worse, 0 where neither."""
    if p_holm >= ALPHA:
        return 0
    return int(np.sign(-difference if lower_is_better else difference))


@dataclass(frozen=True)
class Comparisons:
    """All that is computed for a board.

    Attributes:
        examples: Size of the test set; 0 while no run is finished.
        clusters: By what it is resampled; `None` while no run is finished.
        measured: By place of the row in the group, and metric; without what is unfinished or does not apply.
        tests: By place of the row, metric, and one of `BASELINES`.
        family: How many tests are planned, those of unfinished runs included.
        verdicts: By metric and the places of two rows, the first the smaller: 1 where the first is significantly
            better, -1 where the second is, 0 where they are not separable.
        applies: By place of the row, and metric: to how many examples it applies, for each finished run.
        resamples: Of every score.
        most: Of the test against a baseline that was given most.
        test: "bootstrap" or "randomisation".
    """

    examples: int
    clusters: Clusters | None
    measured: Mapping[tuple[int, str], Measured]
    tests: Mapping[tuple[int, str, str], Comparison]
    family: int
    verdicts: Mapping[tuple[str, int, int], int]
    applies: Mapping[tuple[int, str], tuple[int, ...]]
    resamples: int
    most: int
    test: str

    @property
    def smallest_p(self) -> tuple[float, float]:
        """The smallest p that resamples and clusters allow, as it is and after Holm's correction."""
        raw = smallest_p(self.most, self.clusters.number if self.clusters else 0, self.test)
        return raw, min(1.0, self.family * raw)


def compare(
    group: Group, resamples: int | None = None, test: str = "bootstrap", tick: Tick | None = None
) -> Comparisons:
    """Measures and tests every row of a group.

    The family is fixed before any result is seen: every metric, times every row that is tested against base,
    every row that is tested against SFT, and every row that is tested against its control. Tests of unfinished
    runs count as p = 1, so that no correction grows weaker by looking early; so do those of a run of which not even
    its name can be read, as if it were a row of its own. The ranks have families of their own: of each metric all pairs
    of rows that compete.

    Args:
        group: The runs.
        resamples: As of `measured_and_tested`.
        test: As of `measured_and_tested`.
        tick: As of `measured_and_tested`.

    Raises:
        SpeechbenchError: If samples cannot be read, or runs were not tested on the same examples.
    """
    ids = shared_ids(group)
    clusters = clusters_of(group, ids) if ids else None
    rows = systems_of(group, ids, lambda run: [run.samples])
    planned = planned_pairs(group, BASELINES)
    ranked = ranked_pairs(group)
    families = planned_families(group, planned, ranked.values())
    pairs: dict[Hashable, Pair[tuple[int, str]]] = {key: its for key, its in [*planned.items(), *ranked.items()]}
    measured, tested = measured_and_tested(
        rows, pairs, families, resamples, None if clusters is None else clusters.of, test, tick
    )
    lower = {metric.name: metric.lower_is_better for metric in group.metrics}
    found = {
        key: comparison(tested[key], group.rows[pair.theirs[0]].label, families[PLANNED], lower[key[1]])
        for key, pair in planned.items()
        if key in tested
    }
    tests = {key: its for key, its in found.items() if its is not None}
    signs = tested.signs
    return Comparisons(
        examples=len(ids),
        clusters=clusters,
        measured=measured,
        tests=tests,
        family=families[PLANNED],
        verdicts={key: -signs[key] if lower[key[0]] else signs[key] for key in ranked if key in signs},
        applies={key: tuple(int(system.applies.sum()) for system in systems) for key, systems in rows.items()},
        resamples=START if resamples is None else resamples,
        most=max((its.resamples for its in tests.values()), default=START if resamples is None else resamples),
        test=test,
    )


def planned_pairs(group: Group, baselines: Sequence[str]) -> dict[tuple[int, str, str], Pair[tuple[int, str]]]:
    """What is to be tested, before any result is seen: by place of the row, metric, and one of `BASELINES`."""
    return {
        (place, metric.name, baseline): Pair((place, metric.name), (other, metric.name), PLANNED)
        for place, row in enumerate(group.rows)
        for baseline in baselines
        if (other := counterpart(row, group.rows, baseline)) is not None
        for metric in group.metrics
    }


def planned_families(
    group: Group,
    planned: Mapping[tuple[int, str, str], Pair[tuple[int, str]]],
    ranked: Iterable[Pair[tuple[int, str]]] = (),
) -> dict[str, int]:
    """How many tests each family has, those among them that a run would have which cannot be read."""
    baselines = len({baseline for _, _, baseline in planned})
    rows = sum(not row.is_control for row in group.rows) + group.unknown
    pairs = dict.fromkeys((pair.family for pair in ranked), rows * (rows - 1) // 2)
    return {PLANNED: len(planned) + group.unknown * len(group.metrics) * baselines, **pairs}


def ranked_pairs(group: Group) -> dict[tuple[str, int, int], Pair[tuple[int, str]]]:
    """All pairs of rows that compete, by metric and their places: what the ranks and the bold figures come of."""
    competing = [place for place, row in enumerate(group.rows) if not row.is_control]
    found = {}
    for metric in group.metrics:
        its = [(place, metric.name) for place in competing]
        family = f"ranks by {metric.name}"
        found.update({(metric.name, a[0], b[0]): Pair(a, b, family) for a, b in combinations(its, 2)})
    return found


def comparison(tested: Tested, against: str, family: int, lower_is_better: bool) -> Comparison | None:
    """What a test found, in figures; `None` where the difference has no interval."""
    draws, pigeonhole = tested.draws, tested.pigeonhole
    ends = interval(draws, tested.clusters)
    if ends is None:
        return None
    return Comparison(
        against=against,
        difference=tested.difference,
        interval=ends,
        p=tested.p,
        p_holm=tested.p_holm,
        examples=tested.examples,
        baseline=fmean(tested.by_seed[1].values()),
        resamples=tested.resamples,
        detectable=detectable(draws, family, tested.clusters),
        seeds=tested.seeds,
        pigeonhole=None if pigeonhole is None else interval(pigeonhole, tested.clusters),
        lower_is_better=lower_is_better,
    )
