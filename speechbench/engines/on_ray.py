"""The runs as tasks of a Ray cluster, each with its CPUs and GPUs: Ray says on which machine, and shows their state.

All machines see the same folders under the same names: the one where the command is given, the runs and the data.
Workers stay warm: one that has done a run has torch, the model and the data loaded for the next. (Where runs have GPUs
Ray ends each worker after its run, so that the next finds all of their memory free.)
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from speechbench.asking import Asked
from speechbench.engines.base import Left
from speechbench.engines.doing import DIED, DONE, FAILED, STOPPED, Doer, Outcome, doer_of, portable
from speechbench.engines.driving import drive
from speechbench.engines.local import LOGS
from speechbench.engines.resources import cores
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.grid import PlannedRun
from speechbench.libraries import needed
from speechbench.one_run import name_of
from speechbench.planning import Plan
from speechbench.progress import Progress
from speechbench.tables import counted

if TYPE_CHECKING:
    from speechbench.engines.together import Launcher

HERE = "local"
"""Address of a cluster of this machine alone, which begins and ends with the command."""
_SEEN = 30.0  # seconds until a result that was written elsewhere must be seen here: network filesystems take their time
_HOST_PORT = re.compile(r"\[?([^/]+?)\]?:(\d{1,5})")
_ANSWER = 10.0  # seconds
_WORDS = 300  # characters of what Ray says
_HANDED_ON = ("SPEECHBENCH_", "OMP_NUM_THREADS")  # beginnings of the environment's names


@dataclass(frozen=True)
class Ray:
    """An `Engine` of a Ray cluster's tasks.

    Attributes:
        address: "auto" for the cluster of this machine, or HOST:PORT; `None` for what RAY_ADDRESS says, or `HERE`.
        jobs: Runs at once; `None` for as many as there is room for. More wait with Ray, which asks an autoscaler for
            machines.
        cpus: Of each run, which are the threads of its processes; `None` for one for each process.
        gpus: Of each run, or a part of one; `None` for one for each process where the cluster has any.
    """

    address: str | None = None
    jobs: int | None = None
    cpus: float | None = None
    gpus: float | None = None

    def run_all(self, planned: Plan, progress: Progress) -> None:
        """As `Engine.run_all`.

        Raises:
            MissingError: If Ray is not installed.
            UsageError: If there is no cluster at the address.
        """
        left = Left(planned, progress)
        if left:
            with _connected(self.address, planned.folder / LOGS / "ray.log", progress.tell) as ray:
                cpus, gpus, processes = self.cpus, self.gpus, planned.asked.processes
                if gpus is None:
                    gpus = processes if ray.cluster_resources().get("GPU") else 0
                drive(left, Tasks(ray, planned.asked, self.jobs, cpus or processes, gpus, progress.tell))
        left.raise_failures()


class Tasks:
    """A `Pool` of tasks.

    Args:
        ray: The module, connected to a cluster.
        asked: The ablation.
        jobs: As of `Ray`, and so are
        cpus: and
        gpus: which is a number.
        tell: Told what a person should know.
    """

    def __init__(
        self, ray: ModuleType, asked: Asked, jobs: int | None, cpus: float, gpus: float, tell: Callable[[str], None]
    ) -> None:
        self._ray, self._jobs, self._cpus, self._gpus, self._tell = ray, jobs, cpus, gpus, tell
        # Of the death of a worker or a machine `drive` tells, and hands the run out again.
        self._work = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(work)
        environment = {name: its for name, its in os.environ.items() if name.startswith(_HANDED_ON)}
        self._ablation = pickle.dumps((asked, os.getcwd(), environment))
        self._runs: dict[Any, PlannedRun] = {}  # by the references to their tasks
        self._unseen: dict[str, tuple[PlannedRun, float]] = {}  # done, with the time by which they must be seen
        self._is_told = False

    def free(self) -> int:
        """As of `Pool`."""
        at_once = self._jobs or max(self._room(), 1)  # one at least, for an autoscaler to see
        return max(0, at_once - len(self._runs))

    def begin(self, run: PlannedRun) -> None:
        """As of `Pool`."""
        if not self._is_told and not self._room():
            self._is_told = True
            self._tell(
                f"no machine of the Ray cluster has the {self._cpus:g} CPUs and {self._gpus:g} GPUs of a run: waiting "
                "for one; Ctrl-C ends it"
            )
        self._runs[self._work.options(name=name_of(run)).remote(self._ablation, run.id)] = run

    def outcomes(self, seconds: float) -> Sequence[Outcome]:
        """As of `Pool`."""
        if self._runs:
            ready, _ = self._ray.wait(list(self._runs), num_returns=1, timeout=seconds)
        else:
            ready = []
            time.sleep(seconds)
        found = []
        for reference in ready:
            run = self._runs.pop(reference)
            outcome = self._outcome(reference, run)
            if outcome.state == DONE:
                self._unseen[run.id] = run, time.monotonic() + _SEEN
            else:
                found.append(outcome)
        return [*found, *self._seen()]

    def stop(self) -> None:
        """As of `Pool`: in a worker it is a `KeyboardInterrupt`, or SIGINT for whoever listens to that."""
        for reference in self._runs:
            self._ray.cancel(reference)

    def close(self) -> None:
        """As of `Pool`."""
        for reference in self._runs:
            self._ray.cancel(reference, force=True)
        self._runs.clear()

    def _room(self) -> int:
        """How many runs the machines hold that the cluster has now."""
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        wanted = [("CPU", self._cpus), ("GPU", self._gpus)]
        return sum(min(int(its.get(name, 0) // count) for name, count in wanted if count) for its in machines)

    def _outcome(self, reference: Any, run: PlannedRun) -> Outcome:
        errors = self._ray.exceptions
        try:
            outcome = self._ray.get(reference)
            assert isinstance(outcome, Outcome)
            return outcome
        except errors.TaskCancelledError:
            return Outcome(run.id, STOPPED)
        except (
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.LocalRayletDiedError,
            errors.OutOfMemoryError,
        ) as e:
            return Outcome(run.id, DIED, SpeechbenchError(_said(e)))
        except errors.RayError as error:
            return Outcome(
                run.id, FAILED, SpeechbenchError(f"{name_of(run)} could not be begun on Ray: {_said(error)}")
            )

    def _seen(self) -> Iterator[Outcome]:
        """The runs that are done, and whose results are seen here, or should be."""
        for id_, (run, deadline) in list(self._unseen.items()):
            if run.is_finished:
                del self._unseen[id_]
                yield Outcome(id_, DONE)
            elif time.monotonic() > deadline:
                del self._unseen[id_]
                where = f"{run.folder} has no result on this machine, though a worker has written it"
                yield Outcome(
                    id_, FAILED, SpeechbenchError(f"{where}: name a folder with --out that all machines share")
                )


def work(ablation: bytes, id_: str) -> Outcome:
    """The task: does a run of an ablation, in a worker of Ray's.

    Args:
        ablation: What was asked, the folder in which, and of the environment what is handed on, pickled.
        id_: The run's.

    Raises:
        KeyboardInterrupt: If it was asked to stop.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a cluster that a script started in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _doer(ablation).do(id_)
    except Exception as error:
        return Outcome(id_, FAILED, portable(error))


@lru_cache(maxsize=1)
def _doer(ablation: bytes) -> Doer | Launcher:
    """Stays with its worker, and with it the model and the data."""
    asked, folder, environment = pickle.loads(ablation)
    assert isinstance(asked, Asked) and isinstance(environment, Mapping)
    os.environ.update(environment)
    try:
        os.chdir(folder)
    except OSError as error:
        raise SpeechbenchError(
            f"{folder}, where the command was given, cannot be entered on {os.uname().nodename} "
            f"({error.strerror}): give it in a folder that all machines of the cluster share"
        ) from None
    return doer_of(asked)


@contextmanager
def _connected(address: str | None, log: Path, tell: Callable[[str], None]) -> Iterator[ModuleType]:
    """Ray, connected to a cluster for as long as the context lasts, unless it already was.

    What Ray prints, to standard output, goes to the log.
    """
    ray = needed("ray", "ray", "engine=ray")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as stream, redirect_stdout(stream):
        is_ours = not ray.is_initialized()
        if is_ours:
            _connect(ray, address or os.environ.get("RAY_ADDRESS") or HERE, tell)
        try:
            yield ray
        finally:
            if is_ours:
                ray.shutdown()


def _connect(ray: ModuleType, address: str, tell: Callable[[str], None]) -> None:
    here = {"num_cpus": cores()} if address == HERE else {}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # what is done here is told to nobody unasked
    try:
        if (host_port := _HOST_PORT.fullmatch(address)) is not None:  # Ray waits for minutes where nobody answers
            socket.create_connection((host_port[1], int(host_port[2])), timeout=_ANSWER).close()
        context = ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, **here)
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"address={address}: no Ray cluster can be had there ({_said(error)}): start one with "
            "`ray start --head`, or leave the address out for one of this machine alone"
        ) from None
    there, url = ray.cluster_resources(), context.dashboard_url
    machines = sum(node["Alive"] for node in ray.nodes())
    cpus, gpus = int(there.get("CPU", 0)), int(there.get("GPU", 0))
    tell(
        f"Ray cluster of {counted(machines, 'machine')}, {counted(cpus, 'CPU')}, {counted(gpus, 'GPU')}"
        + (f"; its dashboard: http://{url}" if url else "")
    )


def _said(error: Exception) -> str:
    """What an error says, on a line."""
    words = " ".join(str(error).split())
    return words if len(words) <= _WORDS else f"{words[:_WORDS]}…"
