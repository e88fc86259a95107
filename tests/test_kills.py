"""Killed again and again, an ablation ends as one that never was."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHES = Path(__file__).parents[1] / "benches"
PHASES = ("corpus making", "encoding", "sampling", "learning", "checkpointing", "evaluation", "writing of results")


@pytest.fixture(scope="module")
def kills() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kills", BENCHES / "kills.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(BENCHES))  # as for a script: it imports its neighbour
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHES))
    return module


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_in_every_phase_an_ablation_ends_the_same_to_the_last_bit(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHES / "kills.py"), "--kills", "12"],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["equal"] and report["differences"] == []
    assert report["kills"] >= 12 and report["kills"] == sum(report["by_phase"].values())
    assert all(report["by_phase"][phase] >= 1 for phase in PHASES)
    assert report["attempts"] == 1 + report["kills"] + report["ablations"]  # each ended by a kill, or with a result
    assert list(tmp_path.glob("speechbench-kills-*")) == []


def left_behind(folder: Path, sampled: str = "drei", seconds: float = 1.0) -> Path:
    """A small run folder."""
    run = folder / "runs" / "a" / "1"
    (run / "checkpoints" / "final").mkdir(parents=True)
    line = {"step": 1, "loss": 0.5, "seconds": {"learning": seconds}}
    (run / "train.jsonl").write_text(json.dumps(line) + "\n")
    (run / "samples.jsonl").write_text(json.dumps({"audio": f"{folder}/1.flac", "hypothesis": sampled}) + "\n")
    (run / "result.json").write_text(json.dumps({"metrics": {"bleu": 1.0}, "seconds": {"total": seconds}}))
    (run / "checkpoints" / "final" / "model.safetensors").write_bytes(b"weights")
    return run


def test_what_is_compared_is_all_but_clock_and_place(kills: ModuleType, tmp_path: Path) -> None:
    left_behind(tmp_path / "one")
    left_behind(tmp_path / "two", seconds=2.0)
    expected = kills.contents(tmp_path / "one")
    assert kills.differences(expected, kills.contents(tmp_path / "two")) == []

    run = left_behind(tmp_path / "three", sampled="sieben")
    (run / "checkpoints" / "final" / "model.safetensors").write_bytes(b"Weights")
    (run / "train.jsonl").write_text((run / "train.jsonl").read_text() * 2)
    (run / "result.json").unlink()
    (run / "checkpoints" / "checkpoint-2").mkdir()
    (run / "checkpoints" / "checkpoint-2" / "half").touch()
    (run / ".result.json.7.tmp").touch()
    assert kills.differences(expected, kills.contents(tmp_path / "three")) == [
        "left over: runs/a/1/.result.json.7.tmp",
        "left over: runs/a/1/checkpoints/checkpoint-2",
        "differs: runs/a/1/checkpoints/final/model.safetensors",
        "missing: runs/a/1/result.json",
        "differs: runs/a/1/samples.jsonl",
        "differs: runs/a/1/train.jsonl",
    ]


def test_too_few_kills_for_the_phases_are_refused() -> None:
    done = subprocess.run([sys.executable, str(BENCHES / "kills.py"), "--kills", "6"], capture_output=True, text=True)
    assert done.returncode == 2 and "at least 7" in done.stderr
