"""Shares of this machine, so that runs done at once do not get into each other's way."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from speechbench.errors import UsageError

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_MAX_THREADS", "RAYON_NUM_THREADS")
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def cores() -> int:
    """Processor cores that this process may use: those that it is bound to, and no more than its container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, math.ceil(int(quota) / int(period))))
    return count


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    visible = os.environ.get(_VISIBLE)
    if visible is not None:
        return [name for name in visible.split(",") if name.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


@dataclass(frozen=True)
class Share:
    """What one of several workers gets.

    Attributes:
        threads: Of each of its processes; where the user has set OMP_NUM_THREADS, that stands.
        gpus: Of its own, or shared with others where there are fewer than workers; empty where there is none.
    """

    threads: int
    gpus: tuple[str, ...]

    @property
    def environment(self) -> dict[str, str]:
        """What a process is started with, so that it takes no more."""
        threads = {} if _THREADS[0] in os.environ else dict.fromkeys(_THREADS, str(self.threads))
        return {**threads, **({_VISIBLE: ",".join(self.gpus)} if self.gpus else {})}


def shares(jobs: int, processes: int = 1) -> list[Share]:
    """Shares the machine out.

    Args:
        jobs: Runs at once.
        processes: That train each of them together, on a GPU each where there are GPUs.

    Raises:
        UsageError: If there are GPUs, but not as many as a run needs.
    """
    found = gpus()
    if found and len(found) < processes:
        raise UsageError(f"processes={processes} needs as many GPUs, and there are {len(found)}: give fewer")
    threads = max(1, cores() // (jobs * processes))
    return [
        Share(threads, tuple(found[(job * processes + k) % len(found)] for k in range(processes)) if found else ())
        for job in range(jobs)
    ]
