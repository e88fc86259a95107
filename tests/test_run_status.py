"""What runs where, from folders alone."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from speechbench.cli import main
from speechbench.errors import SpeechbenchError
from speechbench.locks import held
from speechbench.printing.status import duration
from speechbench.progress import Progress
from speechbench.run_now import NOW, recorded
from speechbench.run_schema import Health, Result, RunInfo
from speechbench.run_status import Status, status
from speechbench.runs import write_failure, write_result, write_run

BASE = RunInfo(
    id="base", label="base", trainer=None, reward=None, seed=None, model="tiny", model_fingerprint="w",
    benchmark="b", data_fingerprint="d", config={}, metrics=(), provenance={},
)  # fmt: skip


def made(out: Path, id_: str, seconds: dict[str, float] | None = None, steps: int = 0) -> Path:
    """A run folder: of GRPO, but for the base's; finished where it says what it took; with a log of some steps."""
    info = BASE
    if id_ != "base":
        info = replace(BASE, id=id_, label="grpo(bleu)", trainer="grpo", reward="bleu", seed=int(id_[-1]),
                       config={"max_steps": 10})  # fmt: skip
    folder = out / "ablation" / id_
    write_run(folder, info)
    lines = [json.dumps({"step": step, "reward": step / 10}) + "\n" for step in range(1, steps + 1)]
    (folder / "train.jsonl").write_text("".join(lines))
    if seconds is not None:
        write_result(folder, Result({}, Health(0, 0, 0, 0, 1.0, 0.0), seconds, 1, steps))
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The base and one GRPO are finished, one has begun, one not."""
    made(tmp_path, "base", {"evaluation": 5.0, "total": 5.0})
    made(tmp_path, "run0", {"train": 20.0, "evaluation": 7.0, "total": 27.0}, steps=10)
    made(tmp_path, "run1", steps=4)
    made(tmp_path, "run2")
    return tmp_path


def one(found: list[Status]) -> Status:
    (its,) = found
    return its


def test_states_and_the_time_that_is_left_come_from_what_others_took(out: Path) -> None:
    found = one(status(out))
    assert [(run.name, run.state, run.step, run.reward, run.left) for run in found.runs] == [
        ("grpo(bleu) seed 1", "stopped", 4, 0.4, 6 * 2.0 + 6.0),
        ("grpo(bleu) seed 2", "planned", 0, None, 27.0),
        ("base", "finished", 0, None, 0.0),
        ("grpo(bleu) seed 0", "finished", 10, None, 0.0),
    ]
    assert found.left == 18.0 + 27.0 and found.number("finished") == 2


def test_what_someone_is_at_is_told_with_who_he_is(out: Path) -> None:
    folder = out / "ablation" / "run1"
    with held(folder), recorded(Progress(), folder, 10) as progress:
        progress.step({"step": 5, "steps": 10, "reward": 0.7, "loss": 0.1})
        run = one(status(out)).runs[0]
        assert (run.state, run.where, run.what) == ("running", f"{socket.gethostname()}:{os.getpid()}", "training")
        assert (run.step, run.steps, run.reward) == (5, 10, 0.7) and run.left is not None and run.left >= 6.0
        progress.step({"step": 10, "steps": 10, "reward": 0.7, "loss": 0.1})
        progress.advance("evaluating", 30, 40)
        run = one(status(out)).runs[0]
        assert (run.what, run.done, run.total, run.left) == ("evaluating", 30, 40, 6.0 / 4)
    assert one(status(out)).runs[0].state == "stopped"


def test_a_process_of_another_machine_is_believed_while_it_writes(out: Path) -> None:
    folder = out / "ablation" / "run1"
    (folder / ".holder.json").write_text(json.dumps({"process": 1, "host": "elsewhere", "since": "2026"}))
    assert one(status(out)).runs[0].state == "stopped"
    news = {"what": "training", "done": 4, "total": 10, "steps_done": 4, "steps": 10}
    (folder / NOW).write_text(json.dumps(news))
    run = one(status(out)).runs[0]
    assert (run.state, run.where) == ("running", "elsewhere:1")
    long_ago = time.time() - 3600
    os.utime(folder / NOW, (long_ago, long_ago))
    assert one(status(out)).runs[0].state == "stopped"


def test_a_killed_process_is_at_no_work_whatever_it_left(out: Path) -> None:
    folder = out / "ablation" / "run1"
    (folder / ".holder.json").write_text(json.dumps({"process": 2**22 + 1, "host": socket.gethostname(), "since": ""}))
    (folder / NOW).write_text("{")
    assert one(status(out)).runs[0].state == "stopped"
    number_of_another = {"process": os.getpid(), "host": socket.gethostname(), "since": ""}
    (folder / ".holder.json").write_text(json.dumps(number_of_another))
    assert one(status(out)).runs[0].state == "stopped"


def test_failures_and_broken_folders_are_told_with_their_reasons(out: Path) -> None:
    write_failure(out / "ablation" / "run1", SpeechbenchError("the reward returned nan"))
    (out / "ablation" / "run2" / "run.json").write_text("{")
    failed = [run for run in one(status(out)).runs if run.state == "failed"]
    assert len(failed) == 2 and {"the reward returned nan"} < {run.reason for run in failed}
    shown = CliRunner().invoke(main, ["status", str(out)])
    assert shown.exit_code == 0 and "2 of 4 runs finished, 2 failed" in shown.output
    assert "therewardreturnednan" in "".join(shown.output.split()) and "run.jsonisbroken" in "".join(
        shown.output.split()
    )


def test_the_command_prints_a_table_or_json(out: Path) -> None:
    shown = CliRunner().invoke(main, ["status", str(out)])
    assert shown.exit_code == 0
    assert "2 of 4 runs finished, 1 stopped, 1 planned; the command that made them goes on" in shown.output.replace(
        "\n", " "
    )
    assert "grpo(bleu) seed 1" in shown.output and "4/10" in shown.output and "0.400" in shown.output
    (told,) = json.loads(CliRunner().invoke(main, ["status", str(out), "--json"]).output)
    assert told["left"] == 45.0 and [run["state"] for run in told["runs"]][:2] == ["stopped", "planned"]
    shutil.rmtree(out / "ablation")
    nothing = CliRunner().invoke(main, ["status", str(out)])
    assert nothing.exit_code == 1 and "holds no runs" in nothing.output


def test_control_characters_of_names_do_nothing(out: Path) -> None:
    write_run(out / "ablation" / "run3", replace(BASE, id="run3", label="grpo(\x1b[31m)", seed=3))
    assert "\x1b[31m" not in CliRunner().invoke(main, ["status", str(out)]).output


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-5.0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "1 h 00 min"), (11_100, "3 h 05 min"),
     (187_200, "2 d 4 h"), (None, "\N{EN DASH}")],
)  # fmt: skip
def test_times_are_told_in_the_units_worth_showing(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
