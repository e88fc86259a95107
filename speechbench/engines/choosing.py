"""Which engine does the runs."""

from __future__ import annotations

import sys

from speechbench.distributed import world_size
from speechbench.engines.base import Engine
from speechbench.engines.in_process import InProcess
from speechbench.engines.local import Local
from speechbench.engines.on_ray import Ray
from speechbench.errors import UsageError, did_you_mean

ENGINES = ("local", "ray")


def engine_of(
    name: str = "local",
    jobs: int | None = None,
    address: str | None = None,
    cpus: float | None = None,
    gpus: float | None = None,
    processes: int | None = None,
) -> Engine:
    """The engine of a name.

    Args:
        name: Of `ENGINES`.
        jobs: Runs at once; `None` for one on this machine, where there is then no other process, and on Ray for as many
            as there is room for.
        address: Of a Ray cluster: "auto" or HOST:PORT; `None` for one of this machine alone.
        cpus: Of each run on Ray; `None` for 1 for each of its processes.
        gpus: Of each run on Ray, or a part of one; `None` for 1 for each of its processes where the cluster has any.
        processes: That train each run together, started for it; `None` for those that this one was started with.

    Raises:
        UsageError: If there is no such engine, or it cannot be had here.
    """
    if name not in ENGINES:
        raise UsageError(f"engine={name!r} is none of {', '.join(ENGINES)}: {did_you_mean(name, ENGINES)}")
    for what, number in (("jobs", jobs), ("processes", processes)):
        if number is not None and (not isinstance(number, int) or number < 1):
            raise UsageError(f"{what}={number!r} should be a whole number of at least 1")
    for what, count, least in (("cpus", cpus, 1), ("gpus", gpus, 0)):
        if count is not None and not count >= least:
            raise UsageError(f"{what}={count!r} should be a number of at least {least}")
    others = {"address": address, "cpus": cpus, "gpus": gpus}
    if name == "local" and (given := [f"{what}={value}" for what, value in others.items() if value is not None]):
        raise UsageError(f"{', '.join(given)}: only engine=ray asks for that; leave it out, or ask for engine=ray")
    if name == "local" and jobs in (None, 1) and processes in (None, world_size()):
        return InProcess()
    if world_size() > 1:
        raise UsageError(
            f"{world_size()} processes were started to train together, which do one run at a time: leave jobs, "
            "processes and engine out, or start the command without torchrun or accelerate launch"
        )
    if name == "local" and sys.platform == "win32":
        raise UsageError("jobs and processes start workers as Unix has them: leave them out, or work in WSL")
    return Local(jobs or 1) if name == "local" else Ray(address, jobs, cpus, gpus)
