"""Doing an ablation: alone, two at once, stopped and started again; through the command."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from speechbench import distributed
from speechbench.ablation import Plan, plan, run_all
from speechbench.errors import SpeechbenchError
from speechbench.leaderboard import leaderboard
from speechbench.locks import held
from speechbench.models.loading import load_model
from speechbench.models.tiny import FOLDER
from speechbench.one_run import info_of
from speechbench.progress import Progress
from speechbench.runs import find_runs, read_run, write_failure, write_run
from tests.commands import start, steps_of, until

GRID = ["--rewards", "bleu", "--limit", "6", "--out", "runs"]


@pytest.mark.slow
def test_two_at_once_share_the_runs_and_wait_for_what_another_holds(tmp_path: Path) -> None:
    words = ["ablate", *GRID, "--trainers", "sft,sft+grpo,grpo", "--steps", "2", "--json"]
    dry = start(tmp_path, *words, "--dry-run")
    planned = json.loads(dry.communicate()[0])
    folders = {run["run"]: tmp_path / planned["folder"] / run["id"] for run in planned["runs"]}
    assert list(folders) == ["base", "sft", "sft+grpo(bleu)", "grpo(bleu)"]
    words.remove("--json")
    with held(folders["sft"]) as ours:
        assert ours
        both = [start(tmp_path, *words) for _ in range(2)]
        until(lambda: all((folders[label] / "result.json").exists() for label in ("base", "grpo(bleu)")), both[0])
        assert not steps_of(folders["sft"]) and not steps_of(folders["sft+grpo(bleu)"])
    said = [process.communicate(timeout=250) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    boards = [out.partition("Runs:")[0] for out, _ in said]
    assert boards[0] == boards[1] and "sft+grpo(bleu)" in boards[0]
    told = f"sft seed 0 is being done by process {os.getpid()} on "
    assert all(told in errors for _, errors in said), said
    assert {label: steps_of(folder) for label, folder in folders.items()} == {
        "base": [], "sft": [1, 2], "sft+grpo(bleu)": [1, 2], "grpo(bleu)": [1, 2],
    }  # fmt: skip
    runs = {run.info.label: run for run in find_runs(tmp_path / "runs")}
    assert all(run.finished for run in runs.values())
    chain = runs["sft+grpo(bleu)"].info
    assert (chain.start, chain.trainer) == (runs["sft"].info.id, "sft+grpo")
    assert chain.config["start"]["max_steps"] == 2


MINE = """
from speechbench.trainers.sft import SftConfig, SftTrainer
from speechbench.trainers.base import TrainResult

def mine(model, benchmark, reward, config: SftConfig) -> TrainResult:
    return SftTrainer(model, benchmark, config).run()

def elsewhere(model, benchmark, reward, config: SftConfig) -> TrainResult:
    model.save(config.output_dir / "model")
    return TrainResult(config.output_dir / "model", 1, {})
"""


def own_grid(folder: Path, trainer: str, **more: Any) -> Plan:
    (folder / "mine.py").write_text(MINE)
    return plan([], [f"{folder}/mine.py:{trainer}"], steps=1, limit=2, out=folder / "runs", **more)


def test_what_is_edited_meanwhile_is_the_next_ablations(tmp_path: Path) -> None:
    planned = own_grid(tmp_path, "mine")
    (tmp_path / "mine.py").write_text("def mine(model, benchmark, reward, config):\n    raise SystemExit('edited')\n")
    run_all(planned, Progress())
    assert all(run.is_finished for run in planned.runs)
    assert read_run(planned.runs[1].folder).info.trainer == "mine"
    (tmp_path / "mine.py").write_text(MINE.replace("elsewhere", "anywhere"))
    assert own_grid(tmp_path, "mine").runs[1].id == planned.runs[1].id  # written anew as it was


def test_a_model_that_is_changed_meanwhile_is_told(tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(FOLDER, tmp_path / name)
    other = tmp_path / "two" / "model.safetensors"
    save_file({key: value + 1 for key, value in load_file(other).items()}, other, {"format": "pt"})
    planned = own_grid(tmp_path, "mine", model=str(tmp_path / "one"))
    shutil.copy(other, tmp_path / "one" / "model.safetensors")
    with pytest.raises(SpeechbenchError, match="one was changed while the ablation went on: run the same command"):
        run_all(planned, Progress())
    assert not planned.runs[1].is_finished


def test_a_trainer_leaves_its_model_where_it_is_looked_for(tmp_path: Path) -> None:
    planned = own_grid(tmp_path, "elsewhere")
    with pytest.raises(SpeechbenchError, match=r"elsewhere left its model in .*/model: it should save it to .*/final"):
        run_all(planned, Progress())


def test_a_run_that_fails_says_why_until_it_is_tried_again(tmp_path: Path) -> None:
    planned = own_grid(tmp_path, "elsewhere")
    for _ in range(2):
        with pytest.raises(SpeechbenchError, match="left its model"):
            run_all(planned, Progress())
        failure = read_run(planned.runs[1].folder).failure
        assert failure is not None and "elsewhere left its model in" in failure.reason
    (board,) = leaderboard(planned.folder, resamples=10)
    assert [run.state for run in board.runs] == ["finished", "failed"]
    assert any(note.startswith("elsewhere seed 0 failed: trainer ") for note in board.notes)
    do_well = own_grid(tmp_path, "mine")
    write_failure(do_well.runs[1].folder, SpeechbenchError("once it did"))
    run_all(do_well, Progress())
    assert not (do_well.runs[1].folder / "failure.json").exists()


def test_what_is_finished_is_looked_at_first_and_needs_no_lock(tmp_path: Path) -> None:
    planned = own_grid(tmp_path, "mine")
    run_all(planned, Progress())
    first = {path: path.read_bytes() for path in tmp_path.glob("runs/*/*/*.json*")}
    with held(planned.runs[0].folder), held(planned.runs[1].folder):
        run_all(planned, Progress())
    assert {path: path.read_bytes() for path in first} == first
    samples = planned.runs[1].folder / "samples.jsonl"
    samples.write_text(samples.read_text().replace('"tokens": ', '"tokens": 1'))
    (planned.runs[0].folder / "result.json").unlink()
    with pytest.raises(SpeechbenchError, match=r"samples\.jsonl was changed"):
        run_all(planned, Progress())
    assert not planned.runs[0].is_finished  # the base was not measured again before that was told


def test_a_run_is_its_doers(tmp_path: Path) -> None:
    planned = own_grid(tmp_path, "mine")
    write_run(
        planned.runs[0].folder, dataclasses.replace(info_of(planned, planned.runs[0]), provenance={"threads": 64})
    )
    (planned.runs[0].folder / ".run.json.1.tmp").touch()  # of one that was killed
    run_all(planned, Progress())
    assert read_run(planned.runs[0].folder).info.provenance["threads"] == torch.get_num_threads()
    assert not list(planned.runs[0].folder.glob("*.tmp")) + list(planned.runs[0].folder.glob(".*.tmp"))


@pytest.mark.slow
def test_controls_are_done_and_stand_on_the_board(tmp_path: Path) -> None:
    words = ["ablate", *GRID, "--trainers", "grpo", "--steps", "1", "--controls", "--json"]
    process = start(tmp_path, *words)
    out, errors = process.communicate(timeout=250)
    assert process.returncode == 0, errors
    rows = {row["label"]: row for row in json.loads(out)[0]["rows"]}
    assert rows.keys() == {
        "base", "grpo(bleu)", "no-audio", "question-only", "gold-transcript",
        "grpo(random)", "grpo(confidence)", "grpo(shuffled(bleu))",
    }  # fmt: skip
    assert [label for label, row in rows.items() if not row["control"]] == ["base", "grpo(bleu)"]
    texts = {
        run.info.label: [sample.hypothesis for sample in run.samples.records] for run in find_runs(tmp_path / "runs")
    }
    inputs = [texts[label] for label in ("base", "no-audio", "question-only", "gold-transcript")]
    assert all(one != two for place, one in enumerate(inputs) for two in inputs[:place])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_after_the_step_with_a_checkpoint_and_the_same_command_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    words = ["ablate", *GRID, "--trainers", "grpo", "--steps", "12"]
    process = start(tmp_path, *words)

    def training() -> list[Path]:
        return [path.parent for path in tmp_path.glob("runs/*/*/train.jsonl") if len(steps_of(path.parent)) >= 2]

    until(training, process)
    (run,) = training()
    process.send_signal(number)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 1, errors
    assert "stopping after this step" in errors and "the same command goes on from there" in errors
    assert "Traceback" not in errors
    done = steps_of(run)
    assert len(done) < 12 and not (run / "result.json").exists()
    assert (run / "checkpoints" / f"checkpoint-{done[-1]}" / "complete.json").exists()

    again = start(tmp_path, *words)
    _, errors = again.communicate(timeout=200)
    assert again.returncode == 0, errors
    assert steps_of(run) == list(range(1, 13)) and (run / "result.json").exists()


def test_training_data_that_was_edited_after_planning_is_refused(few_manifest: Path, tmp_path: Path) -> None:
    planned = plan([], ["sft"], benchmark=f"manifest(path={few_manifest})", steps=1, limit=2, out=tmp_path / "r",
                   metrics=["bleu"])  # fmt: skip
    few_manifest.write_text(few_manifest.read_text().replace("drei sieben", "drei acht"))
    with pytest.raises(SpeechbenchError, match=r"the training data of manifest.* was changed .*: run the same command"):
        run_all(planned, Progress())


def test_processes_that_planned_different_runs_do_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = own_grid(tmp_path, "mine")
    monkeypatch.setattr(distributed, "from_all", lambda ids: [ids, ids, ["another"]])
    with pytest.raises(
        SpeechbenchError, match="process 2 of 3 planned other runs than the main one: give all the same"
    ):
        run_all(planned, Progress())
    assert not any(run.folder.exists() for run in planned.runs)


def test_a_run_says_where_its_model_is_from_and_how_it_is_asked(tmp_path: Path) -> None:
    planned = plan(["bleu"], ["grpo"], limit=2, out=tmp_path)
    model = info_of(planned, planned.runs[0]).provenance["model"]
    assert model == load_model("tiny").provenance() and len(model["prompt_sha256"]) == 64
    assert json.loads(json.dumps(model)) == model  # as the run's folder holds it
