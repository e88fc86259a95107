"""What `speechbench benchmarks prepare` and `check` do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from speechbench.benchmarks.base import SPLITS, Problem, Progress
from speechbench.benchmarks.fingerprint import broken
from speechbench.benchmarks.loading import load_benchmark
from speechbench.errors import SpeechbenchError, UsageError


@dataclass(frozen=True)
class Check:
    """What was found in a benchmark's files.

    Attributes:
        found: Examples by split.
        expected: How many there should be, where that is known.
        problems: All that is missing or broken.
    """

    found: Mapping[str, int]
    expected: Mapping[str, int]
    problems: tuple[Problem, ...]


def prepare(benchmark: str, progress: Progress | None = None) -> None:
    """Makes the data of a benchmark, where it can be made.

    Args:
        benchmark: Spec.
        progress: Called as `progress(what, done, total)`.

    Raises:
        SpeechbenchError: If it cannot be made or written.
    """
    load_benchmark(benchmark).prepare(progress)


def check(benchmark: str, progress: Progress | None = None) -> Check:
    """Counts the examples of a benchmark and lists all that is missing or broken; opens every audio file.

    Args:
        benchmark: Spec.
        progress: Called as `progress(what, done, total)` while the data is made.

    Raises:
        SpeechbenchError: If no split can be loaded.
    """
    loaded = load_benchmark(benchmark)
    loaded.prepare(progress)
    found: dict[str, int] = {}
    errors: list[SpeechbenchError] = []
    for split in SPLITS:
        try:
            examples = loaded.load(split)
        except SpeechbenchError as error:
            errors.append(error)
            found[split] = 0
            if not isinstance(error, UsageError):  # that one says that nobody claims such a split
                loaded.note(split, str(error))
            continue
        unusable = broken(examples)
        for problem in unusable:
            loaded.note(problem.where, problem.what)
        found[split] = len(examples) - len(unusable)
    if len(errors) == len(SPLITS):
        raise errors[0]
    return Check(found, loaded.expected_counts(), tuple(loaded.problems))
