"""The runs in several processes on this machine, each with its share of the cores and GPUs.

Workers stay for as long as there are runs: they load torch and the model once. One that dies is replaced, and its run
goes on from the last checkpoint.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Pipe, wait
from pathlib import Path

from speechbench.asking import Asked
from speechbench.engines.base import Left
from speechbench.engines.doing import DIED, Outcome
from speechbench.engines.driving import drive
from speechbench.engines.resources import shares
from speechbench.errors import SpeechbenchError
from speechbench.grid import PlannedRun
from speechbench.planning import Plan
from speechbench.progress import Progress

LOGS = ".workers"
"""Folder beside the runs, of what workers print."""
_LAST_WORDS = 300  # characters of a dead worker's log that are told


@dataclass(frozen=True)
class Local:
    """An `Engine` of several processes on this machine.

    Attributes:
        jobs: Runs at once.
    """

    jobs: int

    def run_all(self, planned: Plan, progress: Progress) -> None:
        """As `Engine.run_all`."""
        left = Left(planned, progress)
        if left:
            environments = [share.environment for share in shares(self.jobs, planned.asked.processes)]
            drive(left, Processes(planned.asked, planned.folder / LOGS, environments[: len(left)]))
        left.raise_failures()


class Processes:
    """A `Pool` of processes on this machine, which are started when they are needed and then stay.

    Args:
        asked: The ablation.
        logs: Folder for what they print.
        environments: Of each process, beside this one's.
    """

    def __init__(self, asked: Asked, logs: Path, environments: Sequence[Mapping[str, str]]) -> None:
        self._asked, self._logs, self._environments = asked, logs, environments
        self._workers: dict[int, _Worker] = {}  # by their places

    def free(self) -> int:
        """As of `Pool`."""
        return len(self._environments) - sum(worker.run is not None for worker in self._workers.values())

    def begin(self, run: PlannedRun) -> None:
        """As of `Pool`."""
        idle = [place for place, worker in self._workers.items() if worker.run is None]
        place = idle[0] if idle else next(p for p in range(len(self._environments)) if p not in self._workers)
        if not idle:
            self._workers[place] = _Worker(self._asked, self._logs / f"{place}.log", self._environments[place])
        self._workers[place].begin(run.id)

    def outcomes(self, seconds: float) -> Sequence[Outcome]:
        """As of `Pool`."""
        found = []
        ready = wait([worker.messages for worker in self._workers.values()], seconds)
        for place, worker in [its for its in self._workers.items() if its[1].messages in ready]:
            outcome = worker.outcome()
            if outcome is None or outcome.state == DIED:
                del self._workers[place]
            if outcome is not None:
                found.append(outcome)
        return found

    def stop(self) -> None:
        """As of `Pool`."""
        for worker in self._workers.values():
            worker.process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """As of `Pool`."""
        for worker in self._workers.values():
            worker.kill()
        self._workers.clear()


class _Worker:
    """A process, and the run that it does."""

    def __init__(self, asked: Asked, log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        self.run: str | None = None
        self.messages, theirs = Pipe()
        life, self._life = os.pipe()  # closes with this process
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "speechbench.engines.worker", str(theirs.fileno()), str(life)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                pass_fds=(theirs.fileno(), life),
                start_new_session=True,  # Ctrl-C is the terminal's to all of its processes: this one hands it on
            )
        theirs.close()
        os.close(life)
        self.messages.send(asked)

    def begin(self, run: str) -> None:
        """Hands it a run."""
        self.run = run
        with suppress(BrokenPipeError):  # it has died: `outcome` says so
            self.messages.send(run)

    def outcome(self) -> Outcome | None:
        """What came of its run, now that it has something to say or has ended; `None` if it ended without a run."""
        run, self.run = self.run, None
        try:
            outcome = self.messages.recv()
            assert isinstance(outcome, Outcome)
            return outcome
        except (EOFError, OSError):
            status = self.process.wait()
            self._close()
            return None if run is None else Outcome(run, DIED, SpeechbenchError(self._last_words(status)))

    def kill(self) -> None:
        """Ends it at once."""
        self.process.kill()
        self.process.wait()
        self._close()

    def _close(self) -> None:
        self.messages.close()
        os.close(self._life)

    def _last_words(self, status: int) -> str:
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
        with suppress(OSError):
            said = self.log.read_text(encoding="utf-8", errors="replace")[-_LAST_WORDS:].split()
            if said:
                return f"its process {how} and said last: {' '.join(said)} ({self.log})"
        return f"its process {how}"
