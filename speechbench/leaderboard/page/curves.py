"""What was logged while training, thinned to what a chart can show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from speechbench.errors import SpeechbenchError
from speechbench.leaderboard.store import Group
from speechbench.runs import Run

POINTS = 400
LARGEST = 1e100
"""Of a figure: no training logs more, and a chart could not show it."""
FIRST = ("reward", "kl", "entropy", "completion_length", "zero_variance_groups", "loss")
"""The figures that are shown first, in this order; others follow by name."""


def curves(group: Group) -> dict[str, Any]:
    """The curves of all runs, by the row they belong to.

    A point is the mean of as many steps as are thinned into it, the same steps for all runs of a board, so that
    seeds can be averaged.
    """
    logs = {run.info.id: _steps(run) for row in group.rows for run in row.runs}
    last = max((line["step"] for log in logs.values() for line in log), default=0)
    width = max(1, math.ceil(last / POINTS))
    found = [
        {"row": place, "id": run.info.id, "seed": run.info.seed, **_curve(logs[run.info.id], width)}
        for place, row in enumerate(group.rows)
        for run in row.runs
        if logs[run.info.id]
    ]
    keys = {key for curve in found for key in curve["values"]}
    rest = sorted(keys - set(FIRST))
    return {"keys": [*(key for key in FIRST if key in keys), *rest], "width": width, "runs": found}


def logged(run: Run) -> list[dict[str, Any]]:
    """What was logged; nothing where it cannot be read, which the board tells."""
    try:
        return run.log
    except (SpeechbenchError, OSError):
        return []


def _steps(run: Run) -> list[dict[str, Any]]:
    return [line for line in logged(run) if isinstance(line.get("step"), int) and 1 <= line["step"] <= LARGEST]


def _curve(log: list[dict[str, Any]], width: int) -> dict[str, Any]:
    buckets: dict[int, list[dict[str, Any]]] = {}
    for line in log:
        buckets.setdefault((line["step"] - 1) // width, []).append(line)
    values: dict[str, list[float | None]] = {}
    for place, number in enumerate(sorted(buckets)):
        sums: dict[str, list[float]] = {}
        for line in buckets[number]:
            for key, value in _numbers(line):
                sums.setdefault(key, []).append(value)
        for key, some in sums.items():
            column = values.setdefault(key, [None] * len(buckets))
            column[place] = float(f"{sum(some) / len(some):.5g}")
    return {"buckets": sorted(buckets), "values": values}


def _numbers(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The figures of a step, those of the reward's parts among them; not its number and the seconds so far."""
    for key, value in line.items():
        if key == "parts" and isinstance(value, Mapping):
            yield from ((f"part {name}", float(its)) for name, its in value.items() if is_number(its))
        elif key != "step" and is_number(value):
            yield key, float(value)


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST
