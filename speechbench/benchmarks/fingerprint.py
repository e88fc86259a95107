"""What tells two sets of examples apart: their texts and the bytes of their audio."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from speechbench.benchmarks.base import Example

_THREADS = 8  # reading and hashing both release the interpreter's lock


def fingerprint(examples: Sequence[Example]) -> str:
    """SHA-256, hexadecimal, over ids, instructions, references, sources, languages and audio bytes, in order.

    Where the files lie does not count, so a copied data set has the same fingerprint.

    Raises:
        SpeechbenchError: If an audio file is missing.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        audio_hashes = list(pool.map(_audio_hash, examples))
    digest = hashlib.sha256()
    for example, audio_hash in zip(examples, audio_hashes, strict=True):
        fields = (
            example.id,
            example.instruction,
            example.references,
            example.source,
            example.source_language,
            example.target_language,
            audio_hash,
        )
        digest.update(json.dumps(fields).encode() + b"\n")
    return digest.hexdigest()


def _audio_hash(example: Example) -> str | None:
    return None if example.audio is None else example.audio.fingerprint()
