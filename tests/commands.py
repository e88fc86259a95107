"""The real command in processes of its own, and what to wait for in its run folders."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """The command, on one thread, in a folder."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "speechbench", *words]
    return subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip


def until(happened: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    """Waits for something; a process that ends before fails the test."""
    while not happened():
        if process.poll() is not None:
            pytest.fail(f"it ended too early: {process.communicate()}")
        time.sleep(0.05)


def two_folders(parent: Path, settings: str) -> tuple[Path, Path]:
    """Two folders to give the same command in, with the same settings.yaml."""
    for folder in (found := (parent / "one", parent / "two")):
        folder.mkdir()
        (folder / "settings.yaml").write_text(settings)
    return found


def steps_of(run: Path) -> list[int]:
    """The steps that a run's folder tells of."""
    path = run / "train.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line)["step"] for line in lines if line.endswith("\n")]  # the last may be half written


def training(out: Path, steps: int) -> list[Path]:
    """Runs that are being trained by a worker and have a checkpoint."""
    return [
        path.parent
        for path in out.glob("*/*/.holder.json")
        if len(steps_of(path.parent)) >= steps and not (path.parent / "result.json").exists()
    ]


def outcomes(out: Path) -> dict[str, tuple[bytes, bytes, object]]:
    """What came of the runs under a folder, by their labels: answers, weights, scores."""
    found = {}
    for path in out.glob("*/*/result.json"):
        run = path.parent
        label = json.loads((run / "run.json").read_text())["label"]
        weights = b"".join(file.read_bytes() for file in sorted(run.glob("checkpoints/final/*.safetensors")))
        found[label] = (run / "samples.jsonl").read_bytes(), weights, json.loads(path.read_text())["metrics"]
    return found
