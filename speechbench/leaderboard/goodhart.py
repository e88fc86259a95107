"""How much a reward gained on its own metric against how much on the others: what is gamed shows as a gap.

Once a measure is a target it ceases to be a good measure (Goodhart; for rewards: Gao et al., 2023, "Scaling Laws for
Reward Model Overoptimization"). Gains are over SFT, which learned from the same data without any reward.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from speechbench.leaderboard.comparisons import Comparison, Comparisons
from speechbench.leaderboard.ranks import own_families, reward_terms
from speechbench.leaderboard.store import Group, Row

OWN_ALONE = "gains on its own metrics alone"
OTHERS_LOSE = "gains on its own metrics, loses on others"


@dataclass(frozen=True)
class Gain:
    """A row's gain over the baseline in one metric.

    Attributes:
        relative: Difference over the baseline's score, positive where the row is better, whichever way the metric
            counts; `None` where the baseline scores 0.
        difference: On the field's scale, as on the board.
        p_holm: Of the difference, as on the board.
        is_own: Whether the row was trained on this metric, or on one that the reward is a part of.
    """

    relative: float | None
    difference: float
    p_holm: float
    is_own: bool


@dataclass(frozen=True)
class Goodhart:
    """A reward's gains.

    Attributes:
        label: The row's.
        against: Label of the baseline: SFT, or base where there is no SFT.
        gains: By metric.
        own_gain: Mean relative gain over the metrics that it was trained on; `None` where none is measured.
        others_gain: Mean relative gain over the metrics of other families; `None` where there are none.
        flag: What is suspicious about it, in words; `None` where nothing is.
    """

    label: str
    against: str
    gains: Mapping[str, Gain]
    own_gain: float | None
    others_gain: float | None
    flag: str | None


def goodhart(group: Group, comparisons: Comparisons) -> tuple[Goodhart, ...]:
    """The gains of every row that was trained on a reward, in the board's order."""
    found = (_of(place, row, group, comparisons) for place, row in enumerate(group.rows) if row.reward is not None)
    return tuple(its for its in found if its is not None)


def _of(place: int, row: Row, group: Group, comparisons: Comparisons) -> Goodhart | None:
    of = {metric.name: metric for metric in group.metrics}
    tests = _tests(place, comparisons, of)
    if not tests:
        return None
    terms, families = reward_terms(row.reward or ""), own_families(row, group.metrics)
    gains = {name: _gain(its, name in terms) for name, its in tests.items()}
    own = [(gains[name], test) for name, test in tests.items() if name in terms]
    others = [
        (gains[name], test) for name, test in tests.items() if name not in terms and of[name].family not in families
    ]
    flag = None
    if own and others and any(test.verdict == 1 for _, test in own):
        if any(test.verdict == -1 for _, test in others):
            flag = OTHERS_LOSE
        elif not any(test.verdict == 1 for _, test in others):
            flag = OWN_ALONE
    against = next(iter(tests.values())).against
    return Goodhart(row.label, against, gains, _mean(own), _mean(others), flag)


def _tests(place: int, comparisons: Comparisons, metrics: Iterable[str]) -> dict[str, Comparison]:
    """The row's tests by metric: against SFT, else against base."""
    for baseline in ("sft", "base"):
        keys = {metric: (place, metric, baseline) for metric in metrics}
        found = {metric: comparisons.tests[key] for metric, key in keys.items() if key in comparisons.tests}
        if found:
            return found
    return {}


def _gain(test: Comparison, is_own: bool) -> Gain:
    signed = -test.difference if test.lower_is_better else test.difference
    return Gain(signed / abs(test.baseline) if test.baseline else None, test.difference, test.p_holm, is_own)


def _mean(gains: Sequence[tuple[Gain, Comparison]]) -> float | None:
    known = [gain.relative for gain, _ in gains if gain.relative is not None]
    return sum(known) / len(known) if known else None
