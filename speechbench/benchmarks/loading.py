"""From a benchmark's spec to the benchmark."""

from __future__ import annotations

from speechbench.benchmarks.base import Benchmark
from speechbench.errors import UsageError
from speechbench.registry import BENCHMARKS
from speechbench.specs import Spec, parse


def load_benchmark(spec: str | Spec) -> Benchmark:
    """Builds a benchmark; its examples are read only when `load` is called.

    Args:
        spec: A registered name or `path/to/file.py:name`, with parameters: `covost2(root=cv, direction=en_de)`.

    Returns:
        The benchmark, whose `name` is the canonical spelling of the spec.

    Raises:
        UsageError: If there is no such benchmark or it takes no such parameter.
    """
    parsed = spec if isinstance(spec, Spec) else parse(spec)
    benchmark = parsed.build(BENCHMARKS.get(parsed.name), "benchmark")
    if not isinstance(benchmark, Benchmark):
        raise UsageError(f"benchmark {parsed}: {parsed.name} is no speechbench.benchmarks.Benchmark")
    benchmark.name = str(parsed)
    return benchmark
