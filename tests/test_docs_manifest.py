"""docs/manifest.md: its files are what it says, and every field and parameter stands there."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from speechbench.benchmarks import Example, load_benchmark
from speechbench.benchmarks.manifest import Manifest
from speechbench.benchmarks.manifest_lines import FIELDS
from speechbench.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "manifest.md").read_text(encoding="utf-8")
FILES: dict[str, str] = dict(re.findall(r"^`([\w.]+)`[^\n]*:\n\n```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
(COMMAND,) = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
(SAID,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(autouse=True)
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    for name in ("a", "b"):
        soundfile.write(f"clips/{name}.wav", np.random.default_rng(0).standard_normal(1600) * 0.1, 16000)
    for name, text in FILES.items():
        Path(name).write_text(text, encoding="utf-8")


def examples(spec: str) -> list[Example]:
    benchmark = load_benchmark(spec)
    found = [example for split in ("train", "test") for example in benchmark.load(split)]
    benchmark.refuse_problems()
    return found


def test_every_block_of_the_page_is_used() -> None:
    assert PAGE.count("\n```") == 2 * (len(FILES) + 2)


def test_every_field_and_parameter_is_in_its_table() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", PAGE, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(.*?)`", row)}
    parameters = set(inspect.signature(Manifest).parameters)
    assert named == {*FIELDS, "question", *parameters} - {"reference"}


def test_the_three_formats_are_the_same() -> None:
    subprocess.run([sys.executable, "words.py"], check=True)
    jsonl = examples("manifest(path=words.jsonl)")
    assert [(e.id, e.references, e.columns) for e in jsonl] == [
        ("a", ("drei sieben",), {"take": "1"}),
        ("b", ("fünf, acht",), {"take": "2"}),
    ]
    Path("words.tsv").write_text(
        FILES["words.csv"].replace('"', "").replace(", ", ";").replace(",", "\t").replace(";", ", ")
    )
    for other in ("words.csv", "words.tsv", "words.parquet"):
        assert examples(f"manifest(path={other})") == jsonl


def test_the_questions() -> None:
    asked = examples("manifest(path=questions.jsonl, task=question-answering)")
    assert [e.instruction.rpartition(": ")[2] for e in asked] == ["Which digit comes first?", "Which digit comes last?"]
    assert [e.columns["question"] for e in asked] == ["Which digit comes first?", "Which digit comes last?"]


@pytest.mark.parametrize("name", ["nemo.json", "data"])
def test_manifests_from_other_formats(name: str) -> None:
    if name == "data":
        datasets = pytest.importorskip("datasets")
        recordings = [{"path": "x.wav", "bytes": Path(f"clips/{clip}.wav").read_bytes()} for clip in "ab"]
        data = datasets.Dataset.from_dict({"audio": recordings, "translation": ["Ja.", "Nein."]})
        data.cast_column("audio", datasets.Audio(decode=False)).save_to_disk("data")
    else:
        lines = [{"audio_filepath": f"clips/{clip}.wav", "text": text} for clip, text in (("a", "Ja."), ("b", "Nein."))]
        Path(name).write_text("".join(json.dumps({**line, "duration": 0.1}) + "\n" for line in lines))
    script, made = {"nemo.json": ("rename.py", "nemo.jsonl"), "data": ("save.py", "saved.jsonl")}[name]
    subprocess.run([sys.executable, script], check=True)
    found = load_benchmark(f"manifest(path={made})")
    assert [e.references for e in found.load("train")] == [("Ja.",), ("Nein.",)]
    found.refuse_problems()


def test_check_says_what_the_page_says(tmp_path: Path) -> None:
    program, *words = shlex.split(COMMAND)
    good = CliRunner().invoke(main, words)
    assert program == "speechbench" and good.exit_code == 0 and "No problems" in good.output, good.output
    bad = CliRunner().invoke(main, ["benchmarks", "check", "manifest(path=wrong.jsonl)"])
    here = tmp_path.resolve()
    said = SAID.replace("/home/me/data", str(here)).replace("/home/me", str(here.parent))
    assert said in bad.output
