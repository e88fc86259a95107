"""What is asked: sources of spoken examples, the official data sets, anyone's own, and the embedded ones."""

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import AUDIO_PLACEHOLDER, SPLITS, Benchmark, Example, Problem, Progress
from speechbench.benchmarks.checking import Check, check
from speechbench.benchmarks.describing import Card, show
from speechbench.benchmarks.describing import listing as list
from speechbench.benchmarks.loading import load_benchmark
from speechbench.benchmarks.preparing import Prepared, prepare
from speechbench.benchmarks.templates import question, translation

__all__ = [
    "AUDIO_PLACEHOLDER",
    "SPLITS",
    "Audio",
    "Benchmark",
    "Card",
    "Check",
    "Example",
    "Prepared",
    "Problem",
    "Progress",
    "check",
    "list",
    "load_benchmark",
    "prepare",
    "question",
    "show",
    "translation",
]
