"""Processes that train together: what they tell each other, and that none is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

from speechbench import distributed, planning
from speechbench.cli import main
from speechbench.errors import SpeechbenchError

COMMAND = """
import os, signal, sys, time
import click
from speechbench import distributed
from speechbench.cli_parts import Group, work
from speechbench.distributed import from_all, from_main, main_first, rank
from speechbench.errors import SpeechbenchError, UsageError

@click.group(cls=Group)
def main():
    pass

@main.command()
def do():
    with work(True, resumes=True):
{body}

main(["do"])
"""


def together(folder: Path, body: str, processes: int = 2) -> list[tuple[int, str, str]]:
    """Exit status, output and errors of each process, started as a launcher does."""
    script = folder / "script.py"
    script.write_text(COMMAND.format(body=textwrap.indent(textwrap.dedent(body), " " * 8)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    started = [
        subprocess.Popen(
            [sys.executable, str(script)], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        for rank in range(processes)
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=60) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(started, said, strict=True)]


def test_alone_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "3")  # of something else
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    assert distributed.from_main({"a": 1}) == {"a": 1} and distributed.from_all("x") == ["x"]
    with distributed.main_first(), distributed.ending_together():
        assert distributed.is_main() and not distributed.has_failed()
    with pytest.raises(ZeroDivisionError), distributed.ending_together():
        print(1 / 0)


@pytest.mark.slow
def test_what_is_said_is_heard_in_order_and_the_main_process_is_first(tmp_path: Path) -> None:
    body = """
        with main_first():
            is_there = os.path.exists("made")
            time.sleep(0.3 if rank() == 0 else 0)
            open("made", "w").close()
        heard = [[from_main(10 * i + rank()), from_all([i, rank()])] for i in range(50)]
        print(is_there, heard)
    """
    heard = [[10 * i, [[i, 0], [i, 1]]] for i in range(50)]
    assert together(tmp_path, body) == [(0, f"{rank > 0} {heard}\n", "") for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failing", "wait"),
    [(0, "from_main()"), (1, "from_all()"), (1, "time.sleep(0.5); 1 / 0")],  # the last fails too, later
)
def test_the_first_error_ends_all_and_is_said_once(tmp_path: Path, failing: int, wait: str) -> None:
    body = f"""
        from_all()
        if rank() == {failing}:
            raise UsageError("what went wrong")
        {wait}
    """
    done = together(tmp_path, body)
    assert [status for status, _, _ in done] == [2, 2]
    said = [errors for _, _, errors in done]
    assert said[failing] == "speechbench: what went wrong\n" and said[1 - failing] == ""


@pytest.mark.slow
def test_what_ends_all_at_once_is_said_once(tmp_path: Path) -> None:
    done = together(tmp_path, "from_all(); raise SpeechbenchError('the loss is nan')")
    assert [status for status, _, _ in done] == [1, 1]
    assert sorted(errors for _, _, errors in done) == ["", "speechbench: the loss is nan\n"]


@pytest.mark.slow
def test_ctrl_c_in_one_process_stops_those_that_wait(tmp_path: Path) -> None:
    body = """
        from_all()
        if rank() == 1:
            os.kill(os.getpid(), signal.SIGINT)
        from_all()
    """
    done = together(tmp_path, body)
    assert [status for status, _, _ in done] == [1, 1]
    said = "".join(errors for _, _, errors in done)
    assert said.count("Stopped.") == 1 and "Traceback" not in said


@pytest.mark.slow
def test_a_process_that_is_killed_is_not_waited_for(tmp_path: Path) -> None:
    body = """
        from_all()
        if rank() == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        from_main()
    """
    (killed, _, _), (status, _, errors) = together(tmp_path, body)
    assert killed == -signal.SIGKILL and status == 1
    assert "another of the 2 processes that train together has ended" in errors and "Traceback" not in errors


def test_a_launch_that_lacks_something_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    distributed._store.cache_clear()
    with pytest.raises(SpeechbenchError, match=r"process 1 of 2 .*: start all of them with torchrun or"):
        distributed.from_all()


def test_only_training_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "_store", lambda: __import__("torch").distributed.HashStore())
    monkeypatch.setattr(distributed, "leave", sys.exit)
    monkeypatch.setattr(distributed, "_TALK", distributed._Talk())
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = CliRunner().invoke(main, ["eval"])
    assert done.exit_code == 2 and "only training is shared, by train and ablate" in done.output


def test_runs_of_more_processes_are_other_runs(few_manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ids() -> list[str]:
        planned = planning.plan([], ["sft"], benchmark=f"manifest(path={few_manifest})", metrics=["bleu"])
        return [run.id for run in planned.runs]

    alone = ids()
    assert alone == ids()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not set(alone) & set(ids())
