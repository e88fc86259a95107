"""A run that several processes train together, which `accelerate launch` starts within a worker of any engine.

`python -m speechbench.engines.together RUN PROCESSES LIFE` is the launcher, started by the worker: RUN is a file that
says what is to be done, LIFE a pipe that closes when the worker is gone. It starts `… together RUN` so many times.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from speechbench import distributed
from speechbench.asking import Asked
from speechbench.engines.doing import DIED, DONE, FAILED, HELD, STOPPED, Outcome, portable
from speechbench.errors import SpeechbenchError

_LOOK = 0.1  # seconds between looks whether it has ended: Ray's Ctrl-C does not interrupt waiting
_CAME = ".outcome"  # what a run's file is called, with this at the end, where it says what came of it


class Launcher:
    """Does runs of one ablation, each by several processes that plan it anew.

    Args:
        asked: The ablation.
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def do(self, id_: str) -> Outcome:
        """As `Doer.do`."""
        with tempfile.TemporaryDirectory(prefix="speechbench-") as scratch:
            run = Path(scratch) / "run"
            run.write_bytes(pickle.dumps((self._asked, id_)))
            life, ours = os.pipe()
            words = [sys.executable, "-m", __name__, str(run), str(self._asked.processes), str(life)]
            process = subprocess.Popen(words, pass_fds=[life], start_new_session=True)
            os.close(life)
            try:
                _wait(process)
            finally:
                os.close(ours)
            came = run.with_name(run.name + _CAME)
            if came.exists():
                outcome = pickle.loads(came.read_bytes())
                assert isinstance(outcome, Outcome)
                return outcome
        ended = f"its {self._asked.processes} processes ended without a word, with exit status {process.returncode}"
        return Outcome(id_, DIED, SpeechbenchError(f"{ended}; what they printed is in the worker's log"))


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Waits for a process to end.

    Raises:
        KeyboardInterrupt: If it is asked to stop: once the process has ended its step, or at the second signal at once.
    """
    try:
        while process.poll() is None:
            time.sleep(_LOOK)
    except KeyboardInterrupt:
        process.terminate()
        while process.poll() is None:
            time.sleep(_LOOK)
        raise
    finally:
        if process.poll() is None:
            process.kill()


def main() -> None:
    """The launcher; or one of the processes that it starts."""
    run = Path(sys.argv[1])
    if len(sys.argv) > 2:
        processes, life = (int(word) for word in sys.argv[2:])
        end_with(life)
        _launch(run, processes)
        return
    asked, id_ = pickle.loads(run.read_bytes())
    try:
        with distributed.ending_together():
            outcome = _take_part(asked, id_)
    except distributed.EndedElsewhere as error:
        distributed.leave(error.exit_status)
    except KeyboardInterrupt:
        _tell(run, Outcome(id_, STOPPED))
        distributed.leave(1)
    except Exception as error:
        _tell(run, Outcome(id_, FAILED, portable(error)))
        distributed.leave(1)
    if distributed.is_main():
        _tell(run, outcome)
    distributed.leave(0)


def end_with(life: int) -> None:
    """Has this process hear SIGTERM when the other end of a pipe closes, as it does when whoever held it is gone."""

    def wait() -> None:
        os.read(life, 1)  # nothing is ever written there
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _launch(run: Path, processes: int) -> None:
    from accelerate.commands.launch import launch_command, launch_command_parser

    # "--multi_gpu" without GPUs too: with "--cpu" it starts one process.
    how = ["--multi_gpu", "--num_machines", "1", "--num_processes", str(processes), "--main_process_port", "0"]
    plainly = ["--mixed_precision", "no", "--dynamo_backend", "no"]
    launch_command(launch_command_parser().parse_args([*how, *plainly, "-m", __spec__.name, str(run)]))


def _take_part(asked: Asked, id_: str) -> Outcome:
    from speechbench.engines.doing import find
    from speechbench.engines.in_process import InProcess
    from speechbench.locks import is_held
    from speechbench.planning import plan_of
    from speechbench.progress import Progress

    distributed.begin()
    planned = plan_of(asked, Progress())
    run = find(planned, id_)
    if distributed.from_main(is_held(run.folder) if distributed.is_main() else None):
        return Outcome(id_, HELD)
    InProcess().run_all(dataclasses.replace(planned, runs=(run,)), Progress())
    return Outcome(id_, DONE)


def _tell(run: Path, outcome: Outcome) -> None:
    temporary = run.with_name(f"{run.name}.{os.getpid()}.tmp")
    temporary.write_bytes(pickle.dumps(outcome))
    temporary.replace(run.with_name(run.name + _CAME))


if __name__ == "__main__":
    main()
