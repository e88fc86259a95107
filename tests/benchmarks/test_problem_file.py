"""The file that lists all problems."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbench.benchmarks.base import Benchmark, Example, Problem
from speechbench.benchmarks.problem_file import problem_path, slug, write_problems


class Nothing(Benchmark):
    name = "own.py:Nothing"

    def load(self, split: str, limit: int | None = None) -> Sequence[Example]:
        return []


def with_problems(*problems: Problem) -> Benchmark:
    benchmark = Nothing()
    for problem in problems:
        benchmark.note(problem.where, problem.what, problem.kind)
    return benchmark


def unescaped(cell: str) -> str:
    return re.sub(r"\\(?:\\|[tnr]|x..|u....)", lambda found: found[0].encode().decode("unicode_escape"), cell)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@given(st.lists(st.builds(Problem, st.text(), st.text(), st.text()), unique=True))
def test_no_text_breaks_the_table(tmp_path_factory: pytest.TempPathFactory, problems: list[Problem]) -> None:
    path = tmp_path_factory.mktemp("any") / "found.tsv"
    assert write_problems(with_problems(*problems), path) == path
    header, *lines = path.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    assert header.split("\t") == ["kind", "where", "what"]
    read = [tuple(map(unescaped, line.split("\t"))) for line in lines]
    assert read == [(problem.kind, problem.where, problem.what) for problem in problems]
    assert not any(re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", line) for line in lines)


def test_halves_of_surrogate_pairs_are_written_as_such(tmp_path: Path) -> None:
    """As paths hold them whose names are no UTF-8."""
    write_problems(with_problems(Problem("caf\udce9.mp3", "is missing")), tmp_path / "found.tsv")
    assert "caf\\udce9.mp3" in (tmp_path / "found.tsv").read_text("utf-8")


def test_it_lies_in_the_cache_folder_and_goes_when_nothing_is_wrong_any_more(cache: Path) -> None:
    path = write_problems(with_problems(Problem("a", "b")))
    assert path is not None and path.is_file()
    assert path.is_relative_to(cache)
    assert "own" in path.name
    assert write_problems(with_problems()) is None
    assert not path.exists()


def test_a_file_that_was_asked_for_is_there_even_without_problems(tmp_path: Path) -> None:
    asked = tmp_path / "new folder" / "found.tsv"
    assert write_problems(with_problems(), asked) == asked
    assert asked.read_text() == "kind\twhere\twhat\n"


def test_remarks_come_after_the_problems(tmp_path: Path) -> None:
    write_problems(with_problems(Problem("a", "b", "c")), tmp_path / "found.tsv", [Problem("d", "e", "f")])
    assert (tmp_path / "found.tsv").read_text().splitlines()[1:] == ["c\ta\tb", "f\td\te"]


def test_each_spec_and_each_working_folder_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = with_problems()
    here = problem_path(benchmark)
    assert problem_path(benchmark) == here
    benchmark.name = "covost2(root=cv)"
    other_spec = problem_path(benchmark)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # where root=cv is another folder
    assert len({here, other_spec, problem_path(benchmark)}) == 3


@pytest.mark.parametrize(
    ("spec", "found"),
    [("covost2(root='/a/b')", "covost2"), ("dir/own.py:Name(x=1)", "own.py-Name"), ("'a b'", "a-b")],
)
def test_a_slug_is_one_name_without_folders(spec: str, found: str) -> None:
    assert slug(spec) == found


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as caught:
        write_problems(with_problems(Problem("a", "b")), tmp_path / "file" / "found.tsv")
    assert caught.value.filename == str(tmp_path / "file" / "found.tsv")
