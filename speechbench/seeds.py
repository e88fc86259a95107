"""Randomness that depends on names alone, never on rank, batch or what was resumed."""

from __future__ import annotations

import hashlib


def derive(*parts: object) -> int:
    """A 63-bit number from any parts that have a stable text, such as (seed, step, example id, member)."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
