"""A validation split made of whole speakers, for data sets that come without one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping


def speaker_order(speakers: Iterable[str], seed: int) -> list[str]:
    """Speakers in an order that depends on each one's name and the seed alone, not on who else is there."""
    return sorted(speakers, key=lambda speaker: hashlib.sha256(f"{seed}:{speaker}".encode()).hexdigest())


def validation_speakers(rows_per_speaker: Mapping[str, int], share: float, seed: int) -> frozenset[str]:
    """The speakers who go to validation: whole ones, until they hold at least the wanted share of rows.

    Args:
        rows_per_speaker: How many rows each speaker has.
        share: Of all rows, from 0 (nobody) up to but without 1.
        seed: Another seed draws other speakers.
    """
    wanted = share * sum(rows_per_speaker.values())
    chosen: set[str] = set()
    rows = 0
    for speaker in speaker_order(rows_per_speaker, seed):
        if rows >= wanted:
            break
        chosen.add(speaker)
        rows += rows_per_speaker[speaker]
    return frozenset(chosen)
