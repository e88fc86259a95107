"""What tells two sets of examples apart: all that they say, and the bytes of their audio.

All audio is read for it, before anything is trained: the moment to find what is broken.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from speechbench.benchmarks.audio import MEND, Audio, Examined
from speechbench.benchmarks.base import Example, Problem, Progress
from speechbench.benchmarks.examination import examine, kind_of
from speechbench.benchmarks.indexed import Examples
from speechbench.errors import SpeechbenchError


def fingerprint(examples: Sequence[Example], progress: Progress | None = None) -> str:
    """SHA-256, hexadecimal, over every field of the examples and the bytes of their audio, in order.

    Where the files lie does not count, so a copied data set has the same fingerprint. Columns count, whose order
    does not: rewards get them by name. What is no JSON in them counts by its `str`.

    Args:
        examples: A split of a benchmark.
        progress: Told while recordings are read.

    Raises:
        SpeechbenchError: If an audio file cannot be used; the message names the first and how many there are.
    """
    known = examples.known_fingerprint() if isinstance(examples, Examples) else None
    if known is not None:
        return known
    digest = hashlib.sha256()
    hashes = _hashes(examples, progress)
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
            None if example.audio is None else example.audio.sha256 or hashes[example.audio],
        )
        digest.update(json.dumps(fields, sort_keys=True, default=str).encode() + b"\n")
    if isinstance(examples, Examples):
        examples.keep_fingerprint(digest.hexdigest())
    return digest.hexdigest()


def broken(examples: Sequence[Example], progress: Progress | None = None) -> list[Problem]:
    """The examples whose audio cannot be used, as far as the header and the end of each file tell."""
    return _problems(examples, examined(examples, progress))


def examined(
    examples: Sequence[Example], progress: Progress | None = None, again: bool = False
) -> Mapping[Audio, Examined]:
    """What one reading of the examples' recordings tells; each is read if it is not known yet, or `again`."""
    files = list(dict.fromkeys(example.audio for example in examples if example.audio is not None))
    return dict(zip(files, examine(files, progress, again), strict=True))


def _hashes(examples: Sequence[Example], progress: Progress | None) -> Mapping[Audio, str]:
    """The hashes of those recordings whose hash is not held to already."""
    unknown = [example for example in examples if example.audio is not None and example.audio.sha256 is None]
    found = examined(unknown, progress)
    problems = _problems(unknown, found)
    if problems:
        first, count = problems[0], len(problems)
        others = "" if count == 1 else f", the first of {count} such examples"
        raise SpeechbenchError(f"{first.where}: {first.what}{others}; {MEND}")
    return {audio: examined.sha256 for audio, examined in found.items()}


def _problems(examples: Sequence[Example], found: Mapping[Audio, Examined]) -> list[Problem]:
    return [
        Problem(f"example {e.id!r}", f"{e.audio} {found[e.audio].defect}", kind_of(found[e.audio]))
        for e in examples
        if e.audio is not None and found[e.audio].defect is not None
    ]
