"""Which rows of a board are tested against which: against base, against SFT, and each reward against its control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from speechbench.leaderboard.store import Row

BASELINES = ("base", "sft", "control")
"""The model before training, the one that learned the references, and the same training on the shuffled reward."""


def counterpart(row: Row, rows: Sequence[Row], baseline: str) -> int | None:
    """Place of the row that a row is tested against.

    The base row is that of the same weights, else the only one; so is the SFT row, unless the row goes on from an
    SFT run: then it is that run's row. The control is the row of the same trainer, weights and settings whose
    reward is `shuffled(R)` where this row's is R.

    Args:
        row: Which is tested.
        rows: Of its board.
        baseline: One of `BASELINES`.

    Returns:
        `None` for the base row, for SFT rows against SFT, for controls against all but base, and where there is
        no such row or no telling which.
    """
    if row.trainer in ("base", baseline) or (row.is_control and baseline != "base"):
        return None
    if baseline == "control":
        chosen = _shuffled(row, rows)
    else:
        chosen = _stage(row, rows, baseline) or _of_same_weights(row, rows, baseline)
    return chosen[0] if len(chosen) == 1 else None


def _of_same_weights(row: Row, rows: Sequence[Row], trainer: str) -> list[int]:
    candidates = [place for place, other in enumerate(rows) if other.trainer == trainer]
    return [place for place in candidates if rows[place].model_fingerprint == row.model_fingerprint] or candidates


def _stage(row: Row, rows: Sequence[Row], trainer: str) -> list[int]:
    """The row of this trainer that the row goes on from, directly or through other stages."""
    run = row.runs[0]  # runs of a row differ in their seed only, so what they start from is one row too
    if run.info.start is None:
        return []
    by_id = {run.info.id: (place, run) for place, other in enumerate(rows) for run in other.runs}
    while run.info.start in by_id:
        place, run = by_id.pop(run.info.start)
        if rows[place].trainer == trainer:
            return [place]
    return []


def _shuffled(row: Row, rows: Sequence[Row]) -> list[int]:
    """The rows that differ from the row in nothing but that its reward is shuffled."""
    mine, wanted = row.runs[0].info, f"shuffled({row.reward})"
    return [
        place
        for place, other in enumerate(rows)
        if (other.trainer, other.reward) == (row.trainer, wanted)
        and (other.runs[0].info.model, other.model_fingerprint) == (mine.model, mine.model_fingerprint)
        and _unshuffled(other.config) == row.config
    ]


def _unshuffled(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a row whose reward is shuffled, with the signature of the reward inside, in all stages.

    Signatures tell apart what names do not: two rewards from files, or two states of one file.
    """
    changed = dict(config)
    if isinstance(config.get("reward_signature"), Mapping):
        changed["reward_signature"] = config["reward_signature"].get("reward")
    if isinstance(config.get("start"), Mapping):
        changed["start"] = _unshuffled(config["start"])
    return changed
