"""A folder is held by one process at a time, and by nobody once that process is gone."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from speechbench.errors import SpeechbenchError
from speechbench.locks import claimed, forget_holder, held, holder, is_claimed, is_held, waited

HOLDS = """
import sys, time
from pathlib import Path
from speechbench.locks import held, waited
folder = Path(sys.argv[1])
with held(folder) if sys.argv[2] == "held" else waited(folder, print) as ours:
    print(ours, flush=True)
    time.sleep(600)
"""


def test_the_second_is_told_who_holds_and_the_third_may(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    assert not is_claimed(folder)
    with held(folder) as first:
        assert first and is_claimed(folder)
        with held(folder) as second:
            assert not second
        assert f"process {os.getpid()} on {socket.gethostname()}, since 20" in holder(folder)
    with held(folder) as third:
        assert third


def test_what_a_killed_process_held_is_free(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDS, str(tmp_path), "held"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "True\n"
        with held(tmp_path) as ours:
            assert not ours
        assert f"process {process.pid} on" in holder(tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert is_claimed(tmp_path)  # nobody tidied up
    with held(tmp_path) as ours:
        assert ours and f"process {os.getpid()} on" in holder(tmp_path)
    assert holder(tmp_path) == "another process" and not is_claimed(tmp_path)


def test_who_waits_is_told_for_whom_and_leaves_nothing_but_the_lock(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "corpus"
    command = [sys.executable, "-c", HOLDS, str(folder), "waited"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "None\n"
        told: list[str] = []

        def tell(holder: str) -> None:
            told.append(holder)
            process.send_signal(signal.SIGKILL)  # else it would be waited for

        with waited(folder, tell):
            (told_of,) = told
            assert told_of.startswith(f"process {process.pid} on {socket.gethostname()}, since 20")
            assert not folder.exists()
        process.wait()
    assert [path.name for path in folder.parent.iterdir()] == [".corpus.lock"]
    with waited(folder, pytest.fail):
        pass


def test_what_a_killed_process_that_was_waited_for_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    command = [sys.executable, "-c", HOLDS, str(folder), "waited"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "None\n"
        process.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.iterdir())) == 2
    for _ in range(2):
        forget_holder(folder)
        assert [path.name for path in tmp_path.iterdir()] == [".corpus.lock"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_filesystem_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """filelock would take a lock of another kind there, which stays locked when its holder is killed."""

    def no_flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_flock)
    entered = []
    for lock in (lambda: held(tmp_path), lambda: waited(tmp_path / "corpus", entered.append)):
        with pytest.raises(SpeechbenchError, match=rf"{tmp_path} cannot be locked .*: name a folder .* --out"), lock():
            entered.append("held")
    assert entered == []


def test_other_refusals_of_the_system_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(IsADirectoryError), held(tmp_path):
        pass


def test_whether_a_folder_is_held_is_what_the_lock_says(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    assert not is_held(folder) and claimed(folder) is None
    with held(folder):
        assert is_held(folder)
        who = claimed(folder)
        assert who is not None and who.process == os.getpid() and who.is_here and who.is_alive
    assert not is_held(folder)
    with held(folder):  # looking took nothing away
        assert is_held(folder) and is_held(folder)
    (folder / ".holder.json").write_text(json.dumps({"process": os.getpid(), "host": "elsewhere", "since": ""}))
    who = claimed(folder)
    assert who is not None and not who.is_here and not who.is_alive and not is_held(folder)
