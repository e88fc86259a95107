"""From a benchmark's spec to the benchmark."""

from __future__ import annotations

from speechbench.benchmarks.base import Benchmark
from speechbench.errors import UsageError
from speechbench.grammar import parse
from speechbench.registry import BENCHMARKS
from speechbench.specs import Spec


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
    plug = BENCHMARKS.get(parsed.name)
    parsed = parsed.named(plug, "benchmark") if callable(plug) else parsed
    benchmark = parsed.build(plug, "benchmark")
    if not isinstance(benchmark, Benchmark):
        raise UsageError(f"benchmark {parsed} is none: its class should extend speechbench.benchmarks.Benchmark")
    if not hasattr(benchmark, "problems"):
        raise UsageError(f"benchmark {parsed}: its __init__ must call super().__init__()")
    benchmark.name = str(parsed)
    return benchmark
