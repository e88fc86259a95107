"""`speechbench benchmarks`: what it prints, and its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from speechbench.benchmarks import Benchmark, check, list, prepare, show
from speechbench.benchmarks.base import Problem
from speechbench.benchmarks.checking import Check, CheckedSplit, Remark, SharedSpeakers
from speechbench.cli import main

WIDTH = 80


@pytest.fixture(autouse=True)
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as unchanged at once, so that their index is not made anew by each command."""
    for module in ("examination", "index_building"):
        monkeypatch.setattr(f"speechbench.benchmarks.{module}.SETTLES", -1)


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["benchmarks", *words])


def printed(*words: str) -> str:
    done = call(*words)
    assert done.exit_code == 0, done.output
    return done.stdout


def of_json(*words: str) -> Any:
    return json.loads(printed(*words, "--json"))


def lines_within(text: str) -> bool:
    """Whether every line that is no path or message for copying fits."""
    return all(len(line.rstrip()) <= WIDTH for line in text.splitlines() if "/" not in line)


def spec(manifest: Path) -> str:
    return f"manifest(path={manifest})"


def test_the_list_fits_and_names_all() -> None:
    text = printed("list")
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert "…" not in text
    assert {line.split(" ")[0] for line in text.splitlines()} >= set(list())
    assert [row["name"] for row in of_json("list")] == [*list()]


def test_a_card_fits_and_has_everything(few_manifest: Path) -> None:
    text = printed("show", spec(few_manifest))
    found = show(spec(few_manifest))
    assert lines_within(text)
    for shown in found.examples:
        assert shown.id in text and shown.instruction in text and shown.references[0] in text
    for metric in found.metrics:
        assert metric.spec in text
    assert found.prompts[0].templates[0] in text
    assert found.licence in text
    loaded = of_json("show", spec(few_manifest))
    assert loaded["examples"][0]["references"] == [*found.examples[0].references]
    assert loaded["licence"] == found.licence


def test_a_card_tells_what_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Benchmark, "seen_by", ("Model A says so.", "Model B says so."))
    monkeypatch.setattr(Benchmark, "licence_note", "The sources contradict each other.")
    monkeypatch.setattr(Benchmark, "casing", "as in nature")
    monkeypatch.setattr(Benchmark, "hours", {"train": 430.0, "test": 24.5})
    Path("own.py").write_text(
        "from speechbench.benchmarks import Benchmark\n\nclass Own(Benchmark):\n    '''Mine.'''\n"
        "    def load(self, split, limit=None):\n        raise FileNotFoundError(2, 'gone', 'x')\n"
    )
    text = printed("show", "own.py:Own")
    for said in ("Model A says so.", "Model B says so.", "contradict", "as in nature", "train 430, test 24.5", "gone"):
        assert said in text


def test_what_was_checked_is_printed_and_given_as_json(few_manifest: Path) -> None:
    text = printed("check", spec(few_manifest))
    assert lines_within(text) and "No problems." in text
    (all_of_it,) = [line for line in text.splitlines() if line.startswith("all")]
    assert all_of_it.split()[1:3] == ["12", "12"]
    found, loaded = check(spec(few_manifest)), of_json("check", spec(few_manifest))
    assert loaded["found"] == dict(found.found) == {"train": 4, "validation": 4, "test": 4}
    assert loaded["expected"] == dict(found.expected)
    assert loaded["splits"]["test"]["mean"] == found.splits["test"].mean
    assert {remark["kind"]: remark["count"] for remark in loaded["oddities"]} == {
        remark.kind: remark.count for remark in found.oddities
    }
    assert {"oddity: no source", "oddity: text twice in a split"} <= {remark.kind for remark in found.oddities}


def test_problems_are_counted_by_kind_and_the_first_are_shown(few_manifest: Path) -> None:
    for number in range(4):
        (few_manifest.parent / f"train{number}.wav").write_bytes(b"")
        (few_manifest.parent / f"test{number}.wav").unlink(missing_ok=number < 3)
    text = printed("check", spec(few_manifest), "--problems", "found.tsv")
    found = check(spec(few_manifest))
    assert f"{len(found.problems)} problems" in text
    for kind in {problem.kind for problem in found.problems}:
        assert f"{kind} {sum(problem.kind == kind for problem in found.problems)}" in text
    assert sum(problem.what in text for problem in found.problems) == 5
    assert "All, one by one: found.tsv" in text
    assert all(problem.where in Path("found.tsv").read_text("utf-8") for problem in found.problems)
    problems = of_json("check", spec(few_manifest))["problems"]
    assert [Problem(**problem) for problem in problems] == [*found.problems]


@pytest.mark.parametrize("command", ["check", "prepare"])
@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.usefixtures("settled")
def test_strict_prints_everything_and_then_fails(few_manifest: Path, command: str, form: list[str]) -> None:
    assert call(command, spec(few_manifest), "--strict", *form).exit_code == 0
    (few_manifest.parent / "test0.wav").write_bytes(b"")
    call(command, spec(few_manifest))  # tells that a recording has changed, once
    lenient = call(command, spec(few_manifest), *form)
    strict = call(command, spec(few_manifest), "--strict", *form)
    assert (lenient.exit_code, strict.exit_code) == (0, 1)
    assert strict.stdout == lenient.stdout != ""
    assert "is empty (0 bytes)" in strict.stderr and strict.stderr.count("\n") == 1
    assert "is empty (0 bytes)" not in lenient.stderr


@pytest.mark.usefixtures("settled")
def test_what_is_prepared_is_printed_and_given_as_json(few_manifest: Path) -> None:
    ready = prepare(spec(few_manifest))
    text = printed("prepare", spec(few_manifest))
    assert lines_within(text)
    for split, content in ready.splits.items():
        assert content.fingerprint is not None
        (line,) = [line for line in text.splitlines() if line.startswith(split)]
        assert line.split()[1] == str(content.examples)
        assert content.fingerprint[:12] in line
    assert str(ready.index) in text
    loaded = of_json("prepare", spec(few_manifest))
    assert loaded["splits"]["test"]["fingerprint"] == ready.splits["test"].fingerprint
    assert loaded["index"] == str(ready.index)


def test_a_large_benchmark_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As large as CoVoST 2 and its clients' names, with everything that can be told."""
    client = "".join(f"{number:x}" for number in range(100))[:128]
    row = CheckedSplit(289_413, 289_430, 1_548_000.0, 1.0, 5.3, 118.2, 123_456, 1_234)
    found = Check(
        benchmark="covost2(direction=en_de, root=cv)",
        found=dict.fromkeys(("train", "validation", "test"), row.found),
        expected=dict.fromkeys(("train", "validation"), 289_430),
        problems=tuple(Problem(f"x:{number}", "is gone", "no recording") for number in range(7)),
        splits={"train": row, "validation": row, "test": CheckedSplit(1, None, 3.0, 3.0, 3.0, 3.0, 0, 0)},
        total=row,
        shared_speakers=(SharedSpeakers(("train", "test"), 12, (client, client, client)),),
        oddities=(Remark("oddity: U+FFFD, the replacement character, in the reference", 123_456, (client,) * 3),),
        excluded={"train: shorter than 1 s": 12},
        changed=3,
        warnings=("A warning that is long enough to be told on more than one line of a terminal as wide as this.",),
        problem_file=Path("all.tsv"),
    )
    monkeypatch.setattr("speechbench.benchmarks.check", lambda *_, **__: found)
    text = printed("check", "anything")
    assert lines_within(text)
    flat = " ".join(text.split())
    for told in ("289430", "289413", "-17", "430.00", "1.0/5.3/118.2", "123456", "1234", "not known of test"):
        assert told in flat, told
    for told in ("12 speakers of both train and test", "12 examples left out", "3 recordings changed", "A warning"):
        assert told in flat, told
    assert flat.count("is gone") == 5
    assert "7 problems (no recording 7)" in flat


def test_what_is_wrong_with_the_call_is_one_sentence(few_manifest: Path) -> None:
    for command in ("show", "check", "prepare"):
        done = call(command, "covost3")
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
        assert "did you mean 'covost2'" in done.stderr
    missing = call("prepare", "covost2(root=nowhere)")
    assert missing.exit_code == 1
    assert "download" in missing.stderr and missing.stderr.count("\n") == 1
    os.mkdir("folder")
    assert call("check", spec(few_manifest), "--problems", "folder").exit_code == 2
    Path("file").write_text("")
    unwritable = call("check", spec(few_manifest), "--problems", "file/found.tsv")
    assert unwritable.exit_code == 1
    assert "file/found.tsv cannot be read or written" in unwritable.stderr


HOSTILE = r"""
from speechbench.benchmarks import Benchmark, Example

class Hostile(Benchmark):
    def load(self, split, limit=None):
        self.note("a\udcff", "is \x1b[31m red [/b]", "odd \x07 [/b]")
        self.warnings[:] = ["\x1b]0;title\x07 [/b]"]
        return [Example(f"\udcff\x1b[31m{split}", None, "[/b]?", ("b\ud800",), "\x1b[31m", "en", "de", "s\udcff")]
"""


@pytest.mark.parametrize("command", ["show", "check", "prepare"])
def test_what_stands_in_the_data_neither_steers_the_terminal_nor_breaks_the_json(command: str) -> None:
    Path("own.py").write_text(HOSTILE)
    words = [sys.executable, "-m", "speechbench", "benchmarks", command, "own.py:Hostile"]
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}  # as on a terminal of UTF-8
    for form in ([], ["--json"]):
        done = subprocess.run([*words, *form], capture_output=True, env=strict)
        assert done.returncode == 0, done.stderr
        text = done.stdout.decode("utf-8")
        assert text.isprintable() or set(filter(lambda c: not c.isprintable(), text)) == {"\n"}
    loaded = json.loads(text)
    told = loaded["examples"][0]["references"] if command == "show" else loaded["problems"][0]["where"]
    assert told in (["b\ud800"], "a\udcff")


@pytest.mark.parametrize("command", ["check", "prepare"])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_without_any_example_it_fails_after_telling_all(few_manifest: Path, command: str, form: list[str]) -> None:
    for clip in few_manifest.parent.glob("*.wav"):
        clip.write_bytes(b"")
    done = call(command, spec(few_manifest), *form)
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1 and "lists all" in done.stderr
    assert "empty recording" in done.stdout
    if form:
        assert len(json.loads(done.stdout)["problems"]) >= 12


SPOILED = """
from speechbench.benchmarks import Benchmark, load_benchmark

class Spoiled(Benchmark):
    '''A manifest that lacks something, and does without.'''
    source_language, target_language = "en", "de"
    metrics = ("bleu",)

    def __init__(self, path):
        super().__init__()
        self.of = load_benchmark(f"manifest(path={path})")

    def load(self, split, limit=None):
        self.note(split, "its last page is missing", "missing page")
        return list(self.of.load(split, limit))
"""


@pytest.mark.parametrize(
    "words", [["eval"], ["train", "--trainer", "sft"], ["ablate", "--trainers", "sft", "--rewards", ""]]
)
def test_strict_ends_other_work_at_problems_too(few_manifest: Path, words: list[str]) -> None:
    Path("own.py").write_text(SPOILED)
    more = ["--dry-run"] if words[0] == "ablate" else ["--limit", "2"]
    more += [] if words[0] == "eval" else ["--steps", "1"]
    done = CliRunner().invoke(main, [*words, *more, "--benchmark", f"own.py:Spoiled(path={few_manifest})", "--strict"])
    assert done.exit_code == 1, done.output
    assert "its last page is missing" in done.stderr
    assert not Path("runs").exists()
