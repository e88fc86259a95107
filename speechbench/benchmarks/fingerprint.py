"""What tells two sets of examples apart: all that they say, and the bytes of their audio.

All audio is read for it, before anything is trained: the moment to find what is broken.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from speechbench.benchmarks.audio import MEND, Audio
from speechbench.benchmarks.base import Example, Problem
from speechbench.errors import SpeechbenchError

_THREADS = 8  # reading and hashing both release the interpreter's lock


def fingerprint(examples: Sequence[Example]) -> str:
    """SHA-256, hexadecimal, over every field of the examples and the bytes of their audio, in order.

    Where the files lie does not count, so a copied data set has the same fingerprint. Columns count, whose order
    does not: rewards get them by name. What is no JSON in them counts by its `str`.

    Raises:
        SpeechbenchError: If an audio file cannot be used; the message names the first and how many there are.
    """
    examined = _examine(examples)
    problems = _problems(examples, examined)
    if problems:
        first, count = problems[0], len(problems)
        others = "" if count == 1 else f", the first of {count} such examples"
        raise SpeechbenchError(f"{first.where}: {first.what}{others}; {MEND}")
    digest = hashlib.sha256()
    for example in examples:
        fields = (
            example.id,
            example.instruction,
            example.references,
            example.source,
            example.source_language,
            example.target_language,
            example.speaker,
            dict(example.columns),
            None if example.audio is None else examined[example.audio][0],
        )
        digest.update(json.dumps(fields, sort_keys=True, default=str).encode() + b"\n")
    return digest.hexdigest()


def broken(examples: Sequence[Example]) -> list[Problem]:
    """The examples whose audio cannot be used, as far as the header and the end of each file tell."""
    return _problems(examples, _examine(examples))


def _examine(examples: Sequence[Example]) -> Mapping[Audio, tuple[str, str | None]]:
    files = list(dict.fromkeys(example.audio for example in examples if example.audio is not None))
    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(files, pool.map(Audio.examine, files), strict=True))


def _problems(examples: Sequence[Example], examined: Mapping[Audio, tuple[str, str | None]]) -> list[Problem]:
    found = ((e, examined[e.audio][1]) for e in examples if e.audio is not None)
    return [Problem(f"example {example.id!r}", defect) for example, defect in found if defect]
