"""What `speechbench benchmarks prepare` does: all that a benchmark needs is there before work begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from speechbench.benchmarks.base import Problem, Progress
from speechbench.benchmarks.checking import refuse
from speechbench.benchmarks.fingerprint import fingerprint
from speechbench.benchmarks.indexed import IndexedBenchmark
from speechbench.benchmarks.loading import load_benchmark
from speechbench.benchmarks.problem_file import write_problems
from speechbench.benchmarks.survey import survey


@dataclass(frozen=True)
class PreparedSplit:
    """A split that is ready.

    Attributes:
        examples: How many can be used.
        seconds: Of all of them together.
        fingerprint: SHA-256 over all that they say and the bytes of their audio, hexadecimal; `None` for no examples.
    """

    examples: int
    seconds: float
    fingerprint: str | None


@dataclass(frozen=True)
class Prepared:
    """A benchmark that is ready.

    Attributes:
        benchmark: Its spec.
        splits: By name.
        problems: All that is missing or broken.
        excluded: How many examples were left out because they were asked to be, by split and reason.
        changed: How many recordings have changed since they were last read.
        warnings: What the benchmark has to say.
        index: The file that its rows were read into; `None` for a benchmark without one.
        artifacts: Files that it has written for people to share, by what they are.
        provenance: Where its data comes from.
        strict: Whether work on this benchmark ends at its problems.
        problem_file: Where all problems stand; `None` if there are none.
    """

    benchmark: str
    splits: Mapping[str, PreparedSplit]
    problems: tuple[Problem, ...]
    excluded: Mapping[str, int]
    changed: int
    warnings: tuple[str, ...]
    index: Path | None
    artifacts: Mapping[str, Path]
    provenance: Mapping[str, str]
    strict: bool
    problem_file: Path | None

    def refuse_problems(self) -> None:
        """What strictness asks for.

        Raises:
            SpeechbenchError: If there are problems; the message names the first and the file.
        """
        refuse(self.problems, self.problem_file)


def prepare(benchmark: str, progress: Progress | None = None, strict: bool = False) -> Prepared:
    """Makes or fetches the data of a benchmark where that can be done, reads what is new of it, and fingerprints it.

    What was read is kept in the cache folder, so that it takes long only once.

    Args:
        benchmark: Spec.
        progress: Called as `progress(what, done, total)`.
        strict: Make problems an error, after they are written to a file.

    Raises:
        SpeechbenchError: If it cannot be made or written, no split can be loaded, or with `strict` there are problems.
    """
    loaded = load_benchmark(benchmark)
    splits: dict[str, PreparedSplit] = {}
    changed = 0
    for split, surveyed in survey(loaded, progress):
        seconds = sum(recording.seconds for _, recording in surveyed.recorded() if recording is not None)
        digest = fingerprint(surveyed.examples, progress) if len(surveyed.examples) else None
        splits[split] = PreparedSplit(len(surveyed.examples), seconds, digest)
        changed += surveyed.changed
    ready = Prepared(
        benchmark=str(loaded.name),
        splits=splits,
        problems=tuple(loaded.problems),
        excluded=dict(loaded.excluded),
        changed=changed,
        warnings=tuple(loaded.warnings),
        index=loaded.index().path if isinstance(loaded, IndexedBenchmark) else None,
        artifacts=dict(loaded.artifacts()),
        provenance=dict(loaded.provenance()),
        strict=loaded.strict,
        problem_file=write_problems(loaded),
    )
    if strict:
        ready.refuse_problems()
    return ready
