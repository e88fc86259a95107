"""Runs on a Ray cluster: the same to the last bit as in one process, whichever worker, machine or driver is lost."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from speechbench.engines import engine_of, on_ray
from speechbench.engines.doing import DIED, DONE, FAILED, STOPPED, Outcome
from speechbench.engines.on_ray import Ray, Tasks, work
from speechbench.errors import UsageError
from speechbench.locks import claimed
from speechbench.planning import Plan, plan
from tests.commands import outcomes, start, steps_of, training, two_folders, until

ray = pytest.importorskip("ray")

GRID = ["ablate", "--rewards", "bleu", "--limit", "6", "--out", "runs", "--config", "settings.yaml"]
SETTINGS = """
sft: {max_steps: 4, save_steps: 2}
grpo: {max_steps: 20, save_steps: 2, num_generations: 4, max_completion_length: 16}
mixed-grpo: {max_steps: 20, save_steps: 2, num_generations: 4, max_completion_length: 16}
"""


@contextmanager
def two_machines() -> Iterator[tuple[Any, Any]]:
    """A cluster of two machines of one core each, as far as Ray knows; the cluster and its second machine."""
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="ray")  # pytest's are too long for Ray's sockets
    of_each = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**of_each, "temp_dir": folder})
    try:
        yield cluster, cluster.add_node(**of_each)
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_lost_workers_machines_and_drivers_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_worker_niceness", "0")  # 15 by default: beside other tests they would hardly get on
    undisturbed, disturbed = two_folders(tmp_path, SETTINGS)
    alone, runs = start(undisturbed, *GRID), disturbed / "runs"

    with two_machines() as (cluster, second):
        words = [*GRID, "--engine", "ray", "--address", cluster.address]
        driver = start(disturbed, *words)
        until(lambda: len(training(runs, 3)) == 2, driver)
        run, other = training(runs, 3)
        victim = claimed(run)
        assert victim is not None and victim.process != driver.pid
        os.kill(victim.process, signal.SIGKILL)
        until(lambda: (its := claimed(run)) and its.process != victim.process and len(steps_of(run)) >= 5, driver)
        cluster.remove_node(second, allow_graceful=False)
        reached = sum(len(steps_of(its)) for its in (run, other))
        until(lambda: sum(len(steps_of(its)) for its in (run, other)) >= reached + 2, driver)
        driver.kill()
        driver.communicate()
    until_nobody_holds(runs)
    before = {its: len(steps_of(its)) for its in (run, other)}

    def going_on() -> list[Path]:
        return [its for its, steps in before.items() if len(steps_of(its)) > steps]

    with two_machines() as (cluster, _):
        words = [*GRID, "--engine", "ray", "--address", cluster.address]
        driver = start(disturbed, *words)
        until(going_on, driver)
        (run, *_) = going_on()
        driver.send_signal(signal.SIGINT)
        _, errors = driver.communicate(timeout=60)
        assert driver.returncode == 1 and "the same command goes on from there" in errors, errors
        assert "Traceback" not in errors and errors.count("stopping after this step") == 1
        assert (run / "checkpoints" / f"checkpoint-{steps_of(run)[-1]}" / "complete.json").exists()
        again = start(disturbed, *words)
        written, errors = again.communicate(timeout=250)
        assert again.returncode == 0 and "Ray cluster of 2 machines, 2 CPUs, 0 GPUs" in errors, errors
        assert "raylet" not in written
    _, errors = alone.communicate(timeout=200)
    assert alone.returncode == 0, errors
    assert outcomes(runs) == outcomes(undisturbed / "runs") and len(outcomes(runs)) == 4
    assert not list(runs.rglob("*.tmp")) and not list(runs.rglob(".now.json"))


def until_nobody_holds(runs: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and any(its.is_alive for run in runs.glob("*/*") if (its := claimed(run))):
        time.sleep(0.1)


class Told(list[str]):
    def __call__(self, text: str) -> None:
        self.append(text)


class Cluster:
    """As much of Ray as the pool asks for, with tasks that come to what a test says."""

    exceptions = ray.exceptions

    def __init__(self, machines: list[dict[str, float]], found: list[object] | None = None) -> None:
        self.machines, self.found = machines, found or []
        self.options: dict[str, object] = {}
        self.names: list[str] = []
        self.cancelled: list[bool] = []

    def remote(self, **options: object) -> Any:
        self.options = options

        def named(name: str) -> SimpleNamespace:
            self.names.append(name)
            return SimpleNamespace(remote=lambda ablation, id_: len(self.names) - 1)

        return lambda function: SimpleNamespace(options=named)

    def nodes(self) -> list[dict[str, object]]:
        return [{"Alive": True, "Resources": its} for its in self.machines] + [
            {"Alive": False, "Resources": {"CPU": 9}}
        ]

    def wait(self, references: list[int], num_returns: int, timeout: float) -> tuple[list[int], list[int]]:
        return references[:num_returns], references[num_returns:]

    def get(self, reference: int) -> object:
        found = self.found[reference]
        if isinstance(found, Exception):
            raise found
        return found

    def cancel(self, reference: int, force: bool = False) -> None:
        self.cancelled.append(force)


@pytest.fixture
def planned(few_manifest: Path, tmp_path: Path) -> Plan:
    return plan([], ["sft"], f"manifest(path={few_manifest})", limit=2, out=tmp_path / "runs", metrics=["bleu"])


def test_what_comes_of_a_task(planned: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    errors, run = ray.exceptions, planned.runs[0]
    gone = errors.NodeDiedError("the machine of 10.0.0.7 is gone")
    unfit = errors.RaySystemError("speechbench is not installed there")
    found = [gone, errors.WorkerCrashedError(), errors.OutOfMemoryError("too much"), errors.TaskCancelledError(), unfit]
    cluster = Cluster([{"CPU": 2}], [*found, Outcome(run.id, FAILED), Outcome(run.id, DONE)])
    told = Told()
    tasks = Tasks(cluster, planned.asked, None, 1, 0, told)  # type: ignore[arg-type]
    assert cluster.options == {"num_cpus": 1, "num_gpus": 0, "max_retries": 0}
    came = []
    for _ in range(6):
        tasks.begin(run)
        came.append(*tasks.outcomes(0.01))
    assert [its.state for its in came] == [DIED, DIED, DIED, STOPPED, FAILED, FAILED]
    assert "10.0.0.7" in str(came[0].error) and "speechbench is not installed there" in str(came[4].error)
    assert set(cluster.names) == {"base"} and not told
    tasks.begin(run)
    assert tasks.outcomes(0.01) == []  # done, but its result is not seen here yet
    monkeypatch.setattr(on_ray.time, "monotonic", lambda: float("inf"))
    (unseen,) = tasks.outcomes(0.01)
    assert unseen.state == FAILED and "--out that all machines share" in str(unseen.error)


@pytest.mark.parametrize(
    ("machines", "jobs", "gpus", "free"),
    [
        ([{"CPU": 8}, {"CPU": 3}], None, 0, 5),
        ([{"CPU": 64, "GPU": 8}, {"CPU": 64}], None, 1, 8),
        ([{"CPU": 64, "GPU": 1}], None, 0.25, 4),
        ([{"CPU": 8}], 2, 0, 2),
        ([{"CPU": 8}], 7, 0, 7),
        ([{"CPU": 8}], None, 1, 1),
    ],
)
def test_as_many_runs_as_there_is_room_for_or_as_asked(
    planned: Plan, machines: list[dict[str, float]], jobs: int | None, gpus: float, free: int
) -> None:
    told, cluster = Told(), Cluster(machines)
    tasks = Tasks(cluster, planned.asked, jobs, 2, gpus, told)  # type: ignore[arg-type]
    assert tasks.free() == free
    for _ in range(2):
        tasks.begin(planned.runs[0])
    assert tasks.free() == max(free - 2, 0)
    has_room = gpus == 0 or any("GPU" in its for its in machines)
    assert len(told) == (not has_room) and all("2 CPUs and 1 GPUs of a run: waiting" in text for text in told)
    tasks.stop()
    tasks.close()
    assert cluster.cancelled == [False, False, True, True]


def test_a_folder_that_the_machines_do_not_share_is_named(planned: Plan, tmp_path: Path) -> None:
    outcome = work(pickle.dumps((planned.asked, str(tmp_path / "elsewhere"), {})), planned.runs[0].id)
    assert outcome.state == FAILED and f"{tmp_path / 'elsewhere'}, where the command was given" in str(outcome.error)


def test_where_there_is_no_cluster(planned: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UsageError, match=rf"address=127\.0\.0\.1:{port}: no Ray cluster .*refused.*ray start --head"):
        Ray(f"127.0.0.1:{port}").run_all(planned, on_ray.Progress())
    monkeypatch.setattr(on_ray, "needed", lambda *names: (_ for _ in ()).throw(UsageError(" ".join(names))))
    with pytest.raises(UsageError, match="ray ray engine=ray"):
        Ray().run_all(planned, on_ray.Progress())


def test_ray_is_chosen_by_name() -> None:
    assert engine_of("ray") == Ray(None, None, None, None)
    assert engine_of("ray", 5, "10.0.0.7:6379", 4, 0.5) == Ray("10.0.0.7:6379", 5, 4, 0.5)
    with pytest.raises(UsageError, match=r"address=auto, gpus=1: only engine=ray asks for that"):
        engine_of("local", 2, "auto", None, 1)
    for given in ({"cpus": 0.5}, {"gpus": -1.0}, {"cpus": float("nan")}):
        with pytest.raises(UsageError, match="should be a number of at least"):
            engine_of("ray", **given)  # type: ignore[arg-type]
