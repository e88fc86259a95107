"""A folder is held by one process at a time, and by nobody once that process is gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from speechbench.locks import held, holder

HOLDS = """
import sys, time
from pathlib import Path
from speechbench.locks import held
with held(Path(sys.argv[1])) as ours:
    print(ours, flush=True)
    time.sleep(600)
"""


def test_the_second_is_told_who_holds_and_the_third_may(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    with held(folder) as first:
        assert first
        with held(folder) as second:
            assert not second
        assert f"process {os.getpid()} on {socket.gethostname()}, since 20" in holder(folder)
    with held(folder) as third:
        assert third


def test_what_a_killed_process_held_is_free(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "True\n"
        with held(tmp_path) as ours:
            assert not ours
        assert f"process {process.pid} on" in holder(tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with held(tmp_path) as ours:
        assert ours and f"process {os.getpid()} on" in holder(tmp_path)
    assert holder(tmp_path) == "another process"
