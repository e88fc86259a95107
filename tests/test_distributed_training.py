"""Two processes train as one does that accumulates twice as many batches; killed, they go on to the same end."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

TRAINERS = ("sft", "grpo", "mixed-grpo", "rejection-sft")
LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--nproc-per-node", "2", "--standalone"],
    "accelerate": [
        "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
    ],
}  # fmt: skip
SMALL = {"num_generations": 4, "max_completion_length": 16}
TOLERANCE = 1e-5
"""Relative. Scaling by the number of processes, a power of two, loses nothing, but the order in which gradients are
summed may differ in the last bits of float32 (2^-24), and each step's optimizer builds on that."""


def start(folder: Path, launcher: str | None, *words: str, **settings: Any) -> subprocess.Popen[str]:
    config = {name: {"per_device_train_batch_size": 2, **settings} for name in TRAINERS if name in "".join(words)}
    for name in config.keys() - {"sft"}:
        config[name].update(SMALL)
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-m", *(LAUNCHERS[launcher] + ["-m"] if launcher else []), "speechbench", *words]
    return subprocess.Popen(
        [*command, "--limit", "16", "--config", "config.yaml"],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    return out, errors


def runs_of(folder: Path) -> dict[str, Path]:
    """Run folders by trainer."""
    found = [path.parent for path in folder.glob("runs/*/*/run.json")]
    return {json.loads((run / "run.json").read_text())["trainer"]: run for run in found}


def log_of(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "train.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def weights_of(run: Path) -> dict[str, Any]:
    return load_file(run / "checkpoints" / "final" / "model.safetensors")


def assert_equal_weights(one: Path, two: Path) -> None:
    mine, other = weights_of(one), weights_of(two)
    for name in mine.keys() | other.keys():
        difference = (mine[name].double() - other[name].double()).norm()
        assert difference <= TOLERANCE * mine[name].double().norm(), (one, name)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_processes_learn_what_one_does_with_twice_the_accumulation(tmp_path: Path) -> None:
    words = ["ablate", "--rewards", "bleu", "--trainers", ",".join(TRAINERS), "--steps", "3"]
    finished(start(tmp_path / "one", None, *words, gradient_accumulation_steps=2))
    expected = runs_of(tmp_path / "one")
    for launcher in LAUNCHERS:
        out, errors = finished(start(tmp_path / launcher, launcher, *words))
        assert out.count("Show this again:") == 1  # the main process alone prints
        assert errors.count("1/5 base: ") == 1 and errors.count("5/5 rejection-sft(bleu) seed 0: ") == 1
        found = runs_of(tmp_path / launcher)
        assert found.keys() == expected.keys() == {None, *TRAINERS}
        assert not {run.name for run in found.values()} & {run.name for run in expected.values()}
        info = json.loads((found["sft"] / "run.json").read_text())
        assert info["provenance"]["processes"] == 2
        for trainer in TRAINERS:
            one, two = log_of(expected[trainer]), log_of(found[trainer])
            assert [line.keys() for line in one] == [line.keys() for line in two] and len(one) == 3
            for before, after in zip(one, two, strict=True):
                assert all(
                    math.isclose(before[name], after[name], rel_tol=TOLERANCE, abs_tol=1e-4 if name == "loss" else 1e-6)
                    for name in before
                ), (trainer, before, after)  # the loss is logged to four digits
            assert_equal_weights(expected[trainer], found[trainer])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_killed_process_ends_the_others_and_the_same_command_goes_on_to_the_last_bit(tmp_path: Path) -> None:
    words = ["train", "--trainer", "grpo", "--reward", "bleu", "--steps", "8"]
    finished(start(tmp_path / "straight", "torchrun", *words, save_steps=100))
    process = start(tmp_path / "killed", "torchrun", *words, save_steps=2)
    while not list(tmp_path.glob("killed/runs/*/*/checkpoints/checkpoint-*/complete.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout
    workers = [int(pid) for pid in children.split()]
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert errors.count("another of the 2 processes that train together has ended") <= 1
    run = runs_of(tmp_path / "killed")["grpo"]
    assert not (run / "result.json").exists()
    finished(start(tmp_path / "killed", "torchrun", *words, save_steps=2))
    straight = runs_of(tmp_path / "straight")["grpo"]
    assert run.name == straight.name and len(log_of(run)) == 8
    assert log_of(run) == log_of(straight)
    ours, theirs = weights_of(run), weights_of(straight)
    assert all(ours[name].equal(theirs[name]) for name in ours.keys() | theirs.keys())


SPEECHLESS = """
import dataclasses
from speechbench import register_benchmark
from speechbench.benchmarks.mini.corpora import Covost2Mini

@register_benchmark("some-speechless")
class SomeSpeechless(Covost2Mini):
    def load(self, split, limit=None):
        examples = list(super().load(split, limit))
        if split == "train":
            silent = [dataclasses.replace(e, audio=None, instruction="Sag etwas.") for e in examples[1:]]
            examples = examples[:1] + silent
        return examples
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_process_may_meet_no_speech_where_another_does(tmp_path: Path) -> None:
    """Its batch then leaves the projector without gradients."""
    words = ["train", "--trainer", "sft", "--steps", "4", "--benchmark", f"{tmp_path}/speechless.py:some-speechless"]
    (tmp_path / "speechless.py").write_text(SPEECHLESS)
    finished(start(tmp_path / "one", None, *words, gradient_accumulation_steps=2))
    finished(start(tmp_path / "two", "torchrun", *words))
    one, two = (runs_of(tmp_path / name)["sft"] for name in ("one", "two"))
    assert [line["loss"] for line in log_of(one)] == pytest.approx([line["loss"] for line in log_of(two)], abs=2e-4)
    assert_equal_weights(one, two)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_processes_sweep_as_one_does_and_go_on_behind_a_candidate_that_diverges(tmp_path: Path) -> None:
    words = ["ablate", "--trainers", "sft", "--steps", "2", "--metrics", "bleu"]
    words += ["--sweep", "learning_rate=1e30,1e-2,1e-6"]
    finished(start(tmp_path / "one", None, *words, gradient_accumulation_steps=2, warmup_ratio=0.0))
    _, errors = start(tmp_path / "two", "torchrun", *words, warmup_ratio=0.0).communicate(timeout=400)
    assert errors.count("the same command goes on and passes this candidate over") == errors.count("speechbench: ") == 1
    out, errors = finished(start(tmp_path / "two", "torchrun", *words, warmup_ratio=0.0))
    assert out.count("Show this again:") == 1 and errors.count("sweep of sft, trial 3 of 3: ") == 1
    choices = []
    for name in ("one", "two"):
        (table,) = tmp_path.glob(f"{name}/runs/*/sweep-*.json")
        (choice,) = json.loads(table.read_text())["choices"]
        choices.append(choice)
        (run,) = (path for path in table.parent.glob("*/run.json") if json.loads(path.read_text())["trainer"] == "sft")
        content = json.loads(run.read_text())
        assert content["config"]["learning_rate"] == choice["chosen"]["learning_rate"] and content["split"] == "test"
    one, two = choices
    assert one["chosen"] == two["chosen"] and one["base"] == two["base"]
    assert [trial["values"] for trial in one["trials"]] == [trial["values"] for trial in two["trials"]]
    scores = [[trial["score"] for trial in choice["trials"]] for choice in choices]
    assert scores[0][0] is scores[1][0] is None and scores[0][1:] == pytest.approx(scores[1][1:])
    assert len({*scores[1]}) == 3  # else nothing is chosen here
