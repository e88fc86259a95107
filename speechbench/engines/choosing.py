"""Which engine does the runs."""

from __future__ import annotations

from speechbench.distributed import world_size
from speechbench.engines.base import Engine
from speechbench.engines.in_process import InProcess
from speechbench.engines.local import Local
from speechbench.errors import UsageError, did_you_mean

ENGINES = ("local",)


def engine_of(name: str = "local", jobs: int = 1) -> Engine:
    """The engine of a name.

    Args:
        name: Of `ENGINES`.
        jobs: Runs at once; with one there is no other process.

    Raises:
        UsageError: If there is no such engine, or it cannot be had here.
    """
    if name not in ENGINES:
        raise UsageError(f"engine={name!r} is none of {', '.join(ENGINES)}: {did_you_mean(name, ENGINES)}")
    if not isinstance(jobs, int) or jobs < 1:
        raise UsageError(f"jobs={jobs!r} should be a whole number of at least 1")
    if jobs == 1:
        return InProcess()
    if world_size() > 1:
        raise UsageError(
            f"{world_size()} processes were started to train together, which do one run at a time: leave jobs={jobs} "
            "out, or start the command without torchrun or accelerate launch"
        )
    return Local(jobs)
