"""What an audit amounts to, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from speechbench.rewards.control_rows import NEAR_MISS
from speechbench.tables import counted, figure

if TYPE_CHECKING:
    from speechbench.rewards.audit import Audit, AuditedReward

_LISTED = 5  # ids in a sentence


def findings(found: Audit) -> Iterator[str]:
    """Whether gold is best, where a degenerate row reaches the near-miss, and what does not apply everywhere."""
    yield from _of_declared(found.rewards)
    yield from _of_undeclared(found.rewards)
    yield from _against_near_miss(found)
    for reward in found.rewards:
        if reward.applies < found.examples:
            yield f"{reward.display} applies to {reward.applies} of {counted(found.examples, 'example')}."
    for name, row in found.rows.items():
        count = sum(text is not None for text in row)
        if count < found.examples:
            yield f"The row {name} applies to {count} of {counted(found.examples, 'example')}."


def _of_declared(rewards: Iterable[AuditedReward]) -> Iterator[str]:
    """Whether gold has the maximum that a reward declares."""
    kept = []
    for reward in rewards:
        below = [f"{example} ({score:.4g})" for example, score in reward.gold_off_maximum.items()]
        if below:
            more = f" and {len(below) - _LISTED} more" if len(below) > _LISTED else ""
            yield (
                f"{reward.display} declares that gold scores {(reward.maximum or 0) * reward.scale:g}, but on "
                f"{len(below)} of {counted(reward.applies, 'example')} it scores something else: "
                f"{', '.join(below[:_LISTED])}{more}. Either these references hold nothing that it counts, or it has "
                "a bug."
            )
        elif reward.maximum is not None and reward.applies:
            kept.append(reward.display)
    if kept:
        yield f"Gold has the declared maximum on every example under {_and(kept)}."


def _of_undeclared(rewards: Iterable[AuditedReward]) -> Iterator[str]:
    """Where something is better than gold."""
    fair = []
    for reward in rewards:
        above = [
            f"{name} (by {figure(cell.over_gold, reward.scale)}, on {cell.examples_over_gold} of "
            f"{counted(cell.examples, 'example')})"
            for name, cell in reward.cells.items()
            if cell.over_gold is not None and cell.over_gold > 0
        ]
        if above:
            yield f"{reward.display} pays more than for gold, on average, for {_and(above)}."
        elif reward.maximum is None and reward.applies:
            fair.append(reward.display)
    if fair:
        yield f"No row is better than gold on average under {_and(fair)} (no maximum is declared there)."


def _against_near_miss(found: Audit) -> Iterator[str]:
    """Where an output that is no answer reaches one that is nearly right."""
    if NEAR_MISS not in found.rows:
        yield "There is no near-miss to hold the rows against: the references have no word that others lack."
        return
    sound = []
    for reward in found.rewards:
        beating = [
            f"{name} (by {figure(cell.over_near_miss, reward.scale)}, on {cell.share_over_near_miss:.0%} of examples)"
            for name, cell in reward.cells.items()
            if cell.beats_near_miss
        ]
        ties = [name for name, cell in reward.cells.items() if cell.ties_near_miss]
        if beating:
            yield f"{reward.display} pays more than for the near-miss for {_and(beating)}."
        if ties:
            yield f"{reward.display} pays as much as for the near-miss for {_and(ties)}."
        if not beating and not ties and reward.cells[NEAR_MISS].examples:
            sound.append(reward.display)
    if sound:
        yield f"No degenerate row reaches the near-miss under {_and(sound)}."


def _and(values: Iterable[str]) -> str:
    *first, last = values
    return f"{', '.join(first)} and {last}" if first else last
