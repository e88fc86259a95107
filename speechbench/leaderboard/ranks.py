"""Ranks as intervals, and a reward's rank over all metrics that are not its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from speechbench.grammar import parse_expression
from speechbench.leaderboard.comparisons import Comparisons
from speechbench.leaderboard.store import Group, Row
from speechbench.runs import MetricInfo

FAMILIES = ("overlap", "embedding", "learned", "exact")
"""Of metrics, each of which weighs the same in the overall rank, however many metrics it has."""


@dataclass(frozen=True)
class Overall:
    """A row's rank over metrics, as an interval: the mean over families of the mean over a family's metrics.

    Attributes:
        low: Mean of the best ranks that the tests leave open.
        high: Mean of the worst.
        families: That it is the mean of.
        left_out: Families of the reward's own metrics: that a reward does well on what it was trained on says little.
    """

    low: float
    high: float
    families: tuple[str, ...]
    left_out: tuple[str, ...]


def ranked(group: Group) -> list[int]:
    """Places of the rows that have ranks: finished, in competition, and with two seeds at least where seeds matter.

    One training of a reward ranks the checkpoint that came of it, and not the reward.
    """
    places = [
        place
        for place, row in enumerate(group.rows)
        if row.finished and not row.is_control and (not row.is_trained or len(row.finished) > 1)
    ]
    return places if sum(group.rows[place].is_trained for place in places) > 1 else []


def ranks(group: Group, comparisons: Comparisons) -> dict[tuple[int, str], tuple[int, int]]:
    """Rank intervals by place of the row, and metric: 1 + how many are significantly better, n − how many are worse."""
    competing = ranked(group)
    known = {
        metric.name: {place for place in competing if (place, metric.name) in comparisons.measured}
        for metric in group.metrics
    }
    better, worse = Counter[tuple[int, str]](), Counter[tuple[int, str]]()  # rows significantly better, and worse
    for (metric, one, two), verdict in comparisons.verdicts.items():
        if verdict and one in known[metric] and two in known[metric]:
            first, second = (one, two) if verdict > 0 else (two, one)
            better[second, metric] += 1
            worse[first, metric] += 1
    return {
        (place, metric): (1 + better[place, metric], len(places) - worse[place, metric])
        for metric, places in known.items()
        for place in places
    }


def against(comparisons: Comparisons, metric: str, place: int, other: int) -> int:
    """1 where a row is significantly better than another in a metric, -1 where worse, 0 where not separable."""
    if place < other:
        return comparisons.verdicts.get((metric, place, other), 0)
    return -comparisons.verdicts.get((metric, other, place), 0)


def overall(row: Row, metrics: Iterable[MetricInfo], ranks: Mapping[str, tuple[int, int]]) -> Overall | None:
    """A row's rank over all metrics but those of its reward's families.

    Args:
        row: Whose.
        metrics: Of the board.
        ranks: Of the row, by metric.

    Returns:
        `None` where no metric is left.
    """
    own = own_families(row, metrics := list(metrics))
    by_family: dict[str, list[tuple[int, int]]] = {}
    for metric in metrics:
        if metric.family in FAMILIES and metric.family not in own and metric.name in ranks:
            by_family.setdefault(metric.family, []).append(ranks[metric.name])
    if not by_family:
        return None
    low, high = (_mean([_mean([its[end] for its in family]) for family in by_family.values()]) for end in (0, 1))
    there = {metric.family for metric in metrics}
    left_out = tuple(family for family in FAMILIES if family in own and family in there)
    return Overall(low, high, tuple(family for family in FAMILIES if family in by_family), left_out)


def own_families(row: Row, metrics: Iterable[MetricInfo]) -> set[str]:
    """The families of what a row was trained on, as its runs and the board's metrics know them."""
    known = {metric.name: metric.family for metric in metrics}
    terms = reward_terms(row.reward) if row.reward else frozenset[str]()
    return {*row.runs[0].info.reward_families, *(known[term] for term in terms if term in known)}


@cache
def reward_terms(reward: str) -> frozenset[str]:
    """The specs that a reward is made of: of `0.7*bleu + comet(model=x)` these are `bleu`, `comet(model=x)`."""
    return frozenset(str(term) for term in parse_expression(reward).terms)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
