"""What a person is told of a benchmark's data before work on it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.benchmarks.telling import refuse_or_tell
from speechbench.errors import SpeechbenchError
from speechbench.progress import Progress


class Told(Progress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def tell(self, text: str) -> None:
        self.texts.append(text)


class Own(Benchmark):
    name = "own"

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        return []


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path))


def test_few_problems_are_told_whole() -> None:
    benchmark, told = Own(), Told()
    benchmark.note("a:1", "is bad")
    refuse_or_tell(benchmark, told)
    assert told.texts == ["a:1: is bad"]


def test_many_problems_are_counted_by_kind_and_a_file_lists_all() -> None:
    benchmark, told = Own(), Told()
    for line in range(7):
        benchmark.note(f"a:{line}", "is bad", "bad line" if line else "no recording")
    refuse_or_tell(benchmark, told)
    assert told.texts[:-1] == [f"a:{line}: is bad" for line in range(5)]
    *counts, listed = told.texts[-1].rpartition(": ")
    assert "7 such problems (6 bad line, 1 no recording)" in counts[0]
    content = Path(listed.removesuffix(" lists all")).read_text(encoding="utf-8")
    assert all(f"a:{line}" in content for line in range(7))


def test_exclusions_and_warnings_are_told_and_never_refused() -> None:
    benchmark, told = Own(), Told()
    benchmark.excluded["train: longer than 30 s"] = 12
    benchmark.excluded["test: longer than 30 s"] = 1
    benchmark.warnings.append("3 speakers are shared")
    refuse_or_tell(benchmark, told, strict=True)
    assert told.texts == [
        "12 examples left out as asked: train: longer than 30 s",
        "1 example left out as asked: test: longer than 30 s",
        "3 speakers are shared",
    ]


@pytest.mark.parametrize("who", ["caller", "benchmark"])
def test_strict_refuses_at_the_first_problem(who: str) -> None:
    benchmark, told = Own(), Told()
    benchmark.note("a:1", "is bad")
    benchmark.note("a:2", "too")
    benchmark.strict = who == "benchmark"
    with pytest.raises(SpeechbenchError, match=r"a:1: is bad .*the first of 2 problems"):
        refuse_or_tell(benchmark, told, strict=who == "caller")
    assert not told.texts
