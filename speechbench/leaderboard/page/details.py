"""What each run is, where it was made, what it cost, and how to repeat it."""

from __future__ import annotations

import dataclasses
from typing import Any

from speechbench.leaderboard.page.commands import repeat
from speechbench.leaderboard.store import Group
from speechbench.runs import Run


def briefly(group: Group) -> list[dict[str, Any]]:
    """The runs of a board with the little that the board's own view needs."""
    return [
        {
            "id": run.info.id,
            "row": place,
            "label": row.label,
            "seed": run.info.seed,
            "finished": run.finished,
            "scores": {} if run.result is None else dict(run.result.metrics),
        }
        for place, row in enumerate(group.rows)
        for run in row.runs
    ]


def in_full(group: Group) -> dict[str, Any]:
    """All there is to say of the runs of a board: by id, and the signatures of the metrics, which all share."""
    limit = limit_of(group)
    return {
        "metrics": [dataclasses.asdict(metric) for metric in group.metrics],
        "runs": {run.info.id: _full(run, limit) for run in group.runs},
    }


def limit_of(group: Group) -> int | None:
    """To how many examples the ablation was limited, as all of its trainings say; base models know nothing of it."""
    limits = {
        config["limit"]
        for run in group.runs
        for config in _stages(dict(run.info.config))
        if isinstance(config.get("limit"), int)
    }
    return limits.pop() if len(limits) == 1 else None


def _stages(config: dict[str, Any]) -> list[dict[str, Any]]:
    before = config.get("start")
    return [config, *(_stages(before) if isinstance(before, dict) else [])]


def _full(run: Run, limit: int | None) -> dict[str, Any]:
    info = {f.name: getattr(run.info, f.name) for f in dataclasses.fields(run.info) if f.name != "metrics"}
    result = None if run.result is None else dataclasses.asdict(run.result)
    command = repeat(run.info, limit, None if run.result is None else run.result.sampled)
    return {
        "info": {**info, "config": dict(info["config"]), "provenance": dict(info["provenance"])},
        "metrics": [metric.name for metric in run.info.metrics],
        "schema": getattr(run, "schema", None),
        "folder": str(run.folder),
        "result": result,
        "command": dataclasses.asdict(command),
    }
