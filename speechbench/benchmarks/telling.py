"""What a person is told of a benchmark's data before work on it begins."""

from __future__ import annotations

from collections import Counter

from speechbench.benchmarks.base import Benchmark
from speechbench.benchmarks.problem_file import write_problems
from speechbench.progress import Progress
from speechbench.tables import counted

_SHOWN = 5


def refuse_or_tell(benchmark: Benchmark, progress: Progress, strict: bool = False) -> None:
    """Called after `load`, before anything is trained or measured.

    Tells the first problems, how many there are of each kind and which file lists all; what was left out because it
    was asked to be; and the benchmark's warnings.

    Args:
        benchmark: Some splits of which are loaded.
        progress: Told.
        strict: Whether problems end the work, even if the benchmark would do without what they concern.

    Raises:
        SpeechbenchError: If there are problems, and the benchmark or the caller is strict; or if the file that lists
            them cannot be written.
    """
    benchmark.strict = benchmark.strict or strict
    benchmark.refuse_problems()
    for problem in benchmark.problems[:_SHOWN]:
        progress.tell(f"{problem.where}: {problem.what}")
    if len(benchmark.problems) > _SHOWN:
        kinds = Counter(problem.kind for problem in benchmark.problems).most_common()
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds)
        progress.tell(f"{len(benchmark.problems)} such problems ({counts}): {write_problems(benchmark)} lists all")
    for what, count in benchmark.excluded.items():
        progress.tell(f"{counted(count, 'example')} left out as asked: {what}")
    for warning in benchmark.warnings:
        progress.tell(warning)
