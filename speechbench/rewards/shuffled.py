"""The control `shuffled(REWARD)`: what a reward is worth that looks at the wrong example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import UsageError
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.combined import Combined
from speechbench.rewards.exact import normalized
from speechbench.rewards.measure import checked_statistics, scores_of


class Shuffled(Reward):
    """Scores each hypothesis with another reward, against another example.

    The inner reward sees the whole other example (references, source, columns, audio) and nothing of the
    hypothesis's own. Which one that is, `prepare` decides once: see `partners`. Length, style and peakiness are
    still rewarded as the inner reward does it; what a run gains beyond this control, it owes to the references.

    Args:
        reward: The inner reward. In a spec it is a spec: `shuffled(chrf(word_order=2))`.

    Raises:
        UsageError: If the inner reward is shuffled already.
    """

    family = "control"
    citation: ClassVar[str] = "https://arxiv.org/abs/1907.01752"

    def __init__(self, reward: Reward) -> None:
        if _is_shuffled(reward):
            raise UsageError(f"shuffled({reward.display}): its inner reward is shuffled already, which may undo it")
        self.inner = reward
        self.display = f"shuffled({reward.display})"
        self.range, self.scale, self.aggregate = reward.range, reward.scale, reward.aggregate
        self.needs, self.languages, self.extra = reward.needs, reward.languages, reward.extra
        self.lower_is_better, self.several_references = reward.lower_is_better, reward.several_references
        self.is_pure, self.waits = reward.is_pure, reward.waits
        self._partners: dict[str, Example | None] = {}

    def prepare(self, examples: Sequence[Example]) -> None:
        """Decides each example's partner; what was prepared before stays known, so training survives a measurement."""
        self._partners.update(partners(examples))
        self.inner.prepare(examples)

    def score(self, batch: Batch) -> list[float | None]:
        """The inner reward's scores against the partners; `None` where there is none.

        Raises:
            UsageError: If an example was not among those prepared.
            SpeechbenchError: If the inner reward fails; the example that is named is the partner.
        """
        rows, swapped = self._swapped(batch)
        scores: list[float | None] = [None] * len(batch.hypotheses)
        for row, score in zip(rows, scores_of(self.inner, swapped), strict=True):
            scores[row] = score
        return scores

    def segments(self, scores: Sequence[float | None], statistics: npt.NDArray[np.float64]) -> list[float | None]:
        """As the inner reward's, of the partners."""
        return self.inner.segments(scores, statistics)

    def usage(self) -> Mapping[str, float]:
        """The inner reward's."""
        return self.inner.usage()

    def part_seconds(self) -> Mapping[str, float]:
        """The inner reward's."""
        return self.inner.part_seconds()

    def statistics(self, batch: Batch) -> npt.NDArray[np.float64]:
        """The inner reward's statistics against the partners, zeros where there is none. Raises as `score` does.

        Returns:
            Shape [segment, statistic].
        """
        rows, swapped = self._swapped(batch)
        found = checked_statistics(self.inner, swapped)
        statistics = np.zeros((len(batch.hypotheses), found.shape[1]))
        statistics[rows] = found
        return statistics

    @property
    def statistics_are_scores(self) -> bool:
        """As for the inner reward."""
        return self.inner.statistics_are_scores

    def signature(self) -> Mapping[str, Any]:
        """Name, version of the choice of partners, and the inner reward's signature."""
        return {"name": "shuffled", "version": 1, "reward": dict(self.inner.signature())}

    def check(self, benchmark: Benchmark) -> None:
        """Refuses what the inner reward refuses.

        Raises:
            UsageError: If the inner reward must not be used there.
        """
        self.inner.check(benchmark)

    def _swapped(self, batch: Batch) -> tuple[list[int], Batch]:
        """The rows whose example has a partner, and the batch of these rows with the partners as examples."""
        for example in batch.examples:
            if example.id not in self._partners:
                raise UsageError(
                    f"reward {self.display} has no partner for example {example.id!r}: "
                    "call its prepare(examples) with all examples before the first is scored"
                )
        found = [self._partners[example.id] for example in batch.examples]
        rows = [row for row, partner in enumerate(found) if partner is not None]
        kept = batch.select(rows)
        partners = [partner for partner in found if partner is not None]
        return rows, replace(kept, examples=partners, groups=kept.group_names)  # two groups may share a partner


def _is_shuffled(reward: Reward) -> bool:
    """Whether it is shuffled, or made of rewards of which one is."""
    return isinstance(reward, Shuffled) or (isinstance(reward, Combined) and any(map(_is_shuffled, reward.parts)))


def partners(examples: Sequence[Example]) -> dict[str, Example | None]:
    """For each example another one, of the same target language, that asks for another output.

    The search starts half the list (of that language) further on and takes the first example with no reference
    in common, case and punctuation aside, and with another source. So an example's partner depends on the list
    alone, and whoever is in the list is partner of about one other.

    Args:
        examples: Those of one id count once.

    Returns:
        By id; `None` where there is no such example.
    """
    unique: dict[str, Example] = {}
    for example in examples:
        unique.setdefault(example.id, example)
    by_language: dict[str, list[Example]] = {}
    for example in unique.values():
        by_language.setdefault(example.target_language, []).append(example)
    return {example.id: partner for group in by_language.values() for example, partner in _paired(group)}


def _paired(group: Sequence[Example]) -> Iterator[tuple[Example, Example | None]]:
    texts = [frozenset(normalized(reference) for reference in example.references) for example in group]
    jumps = _jumps(texts)
    for index, example in enumerate(group):
        distance = len(group) // 2
        partner = None
        while partner is None and distance < len(group) // 2 + len(group):
            at = (index + distance) % len(group)
            if at == index or not texts[at].isdisjoint(texts[index]):
                distance += jumps[at]
            elif example.source is not None and group[at].source == example.source:
                distance += 1
            else:
                partner = group[at]
        yield example, partner


def _jumps(texts: Sequence[frozenset[str]]) -> list[int]:
    """How far on, around the end, the next other texts stand.

    Where a hundred thousand examples have one answer in common, the search would not end with steps of one.
    """
    jumps = [1] * len(texts)
    for at in reversed(range(2 * len(texts))):  # twice around: the last run of equal texts may go on at the front
        here, following = at % len(texts), (at + 1) % len(texts)
        jumps[here] = 1 if texts[following] != texts[here] else min(jumps[following] + 1, len(texts))
    return jumps
