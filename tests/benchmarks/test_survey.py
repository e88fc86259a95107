"""What `check` and `prepare` do where nothing can be used, files are new, or data changes while it is looked at."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from speechbench.benchmarks import check, load_benchmark, prepare
from speechbench.benchmarks.audio import Audio, Examined
from speechbench.benchmarks.survey import SurveyedSplit
from speechbench.errors import UsageError

OWN = """
from speechbench.benchmarks import Benchmark

class Empty(Benchmark):
    def load(self, split, limit=None):
        return []

class Refusing(Benchmark):
    def load(self, split, limit=None):
        from speechbench.errors import UsageError
        raise UsageError(f"there is no {split}")
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)


works = pytest.mark.parametrize("work", [check, prepare])


@works
def test_where_no_example_can_be_used_all_that_is_wrong_is_listed(few_manifest: Path, work: Callable[..., Any]) -> None:
    for clip in few_manifest.parent.glob("*.wav"):
        clip.write_bytes(b"")
    found = work(f"manifest(path={few_manifest})")
    assert [problem.kind for problem in found.problems].count("empty recording") == 12
    assert found.problem_file.read_text("utf-8").count("empty recording\t") == 12
    missing = [problem for problem in found.problems if problem.kind == "missing split"]
    assert [problem.where for problem in missing] == ["train", "validation", "test"]
    assert not any(problem.what.count("split") > 1 for problem in missing), "each tells of itself alone"


@works
def test_a_benchmark_without_any_example_is_a_problem(work: Callable[..., Any]) -> None:
    (problem,) = work("own.py:Empty").problems
    assert "no split has an example" in problem.what


@works
def test_where_no_split_can_be_loaded_it_is_said_why(work: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="there is no train"):
        work("own.py:Refusing")


@works
@pytest.mark.parametrize("is_new", [True, False])
def test_problems_of_all_splits_stay_whether_files_are_new_or_not(
    few_manifest: Path, work: Callable[..., Any], is_new: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that have just been written are read again at each step, with what is wrong with them."""
    for module in () if is_new else ("examination", "index_building"):
        monkeypatch.setattr(f"speechbench.benchmarks.{module}.SETTLES", -1)
    for split in ("train", "validation", "test"):
        (few_manifest.parent / f"{split}1.wav").write_bytes(b"")
    (few_manifest.parent / "train2.wav").unlink()
    with few_manifest.open("a") as file:
        file.write(json.dumps({"audio": "test3.wav"}) + "\n")
    kinds = {"empty recording": 3, "no recording": 1}
    for _ in range(2):
        found = [problem.kind for problem in work(f"manifest(path={few_manifest})").problems]
        assert len(found) == len(set(found)) + 2 == 5
        assert {kind: found.count(kind) for kind in kinds} == kinds


def test_a_row_that_has_come_since_is_looked_at_when_it_is_met(few_manifest: Path) -> None:
    examples = load_benchmark(f"manifest(path={few_manifest})").load("train")
    first = examples[0].audio
    assert first is not None
    known = Examined("hash", 99.0)
    surveyed = SurveyedSplit(examples, {str(first): known})
    seconds = [recording.seconds for _, recording in surveyed.recorded() if recording is not None]
    assert seconds == [99.0, *(Audio(e.audio.path).seconds() for e in examples[1:] if e.audio is not None)]


def test_an_index_that_was_damaged_is_made_anew(few_manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("examination", "index_building"):  # so that it would be used
        monkeypatch.setattr(f"speechbench.benchmarks.{module}.SETTLES", -1)
    index = prepare(f"manifest(path={few_manifest})").index
    assert index is not None
    content = index.read_bytes()
    index.write_bytes(content[:4096] + bytes(len(content) - 4096))
    assert dict(check(f"manifest(path={few_manifest})").found) == {"train": 4, "validation": 4, "test": 4}
