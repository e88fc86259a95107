"""What is asked: sources of spoken examples, the official data sets, anyone's own, and the embedded ones."""

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import AUDIO_PLACEHOLDER, SPLITS, Benchmark, Example, Problem, Progress
from speechbench.benchmarks.checking import Check, check, prepare
from speechbench.benchmarks.loading import load_benchmark
from speechbench.registry import BENCHMARKS

list = BENCHMARKS.places  # what `speechbench benchmarks list` prints

__all__ = [
    "AUDIO_PLACEHOLDER",
    "SPLITS",
    "Audio",
    "Benchmark",
    "Check",
    "Example",
    "Problem",
    "Progress",
    "check",
    "list",
    "load_benchmark",
    "prepare",
]
