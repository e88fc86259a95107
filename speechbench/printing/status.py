"""What `speechbench status` prints."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from speechbench.tables import NOTHING, bare_table, counted, printable

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table
    from rich.text import Text

    from speechbench.run_status import RunStatus, Status

_COLOURS = {"running": "cyan", "failed": "red", "stopped": "yellow", "planned": "dim", "finished": "green"}


def status(found: Sequence[Status], console: Console, as_json: bool) -> None:
    """How far ablations are."""
    if as_json:
        click.echo(json.dumps([_as_json(each) for each in found], indent=1))
    else:
        console.print(shown(found))


def shown(found: Sequence[Status]) -> Group:
    """The same, to be drawn again and again."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Text | Table] = []
    for each in found:
        parts += [Text(printable(str(each.folder)), overflow="fold"), Text(_summary(each)), _table(each)]
        parts += _reasons(each)
        parts.append(Text())
    return Group(*parts[:-1])


def _as_json(found: Status) -> dict[str, object]:
    runs = [{**dataclasses.asdict(run), "folder": str(run.folder)} for run in found.runs]
    return {"folder": str(found.folder), "left": found.left, "runs": runs}


def _summary(found: Status) -> str:
    counts = [f"{found.number('finished')} of {counted(len(found.runs), 'run')} finished"]
    counts += [f"{found.number(state)} {state}" for state in ("running", "failed", "stopped", "planned")]
    told = ", ".join(text for text in counts if not text.startswith("0 ") or "finished" in text)
    if found.is_over:
        return told
    if not found.number("running"):
        return f"{told}; the command that made them goes on"
    return f"{told}; {duration(found.left)} left" if found.left is not None else told


def _table(found: Status) -> Table:
    from rich.text import Text

    table = bare_table()
    table.add_column("run", overflow="fold")
    table.add_column("state", no_wrap=True)
    for title in ("step", "reward", "time", "left"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("where", overflow="fold")
    for run in found.runs:
        table.add_row(
            Text(printable(run.name)),
            Text(run.state, _COLOURS[run.state]),
            f"{run.step}/{run.steps}" if run.steps else "",
            NOTHING if run.reward is None else f"{run.reward:.3f}",
            NOTHING if run.seconds is None else duration(run.seconds),
            NOTHING if run.left is None or run.state == "finished" else duration(run.left),
            Text(printable(_where(run))),
        )
    return table


def _where(run: RunStatus) -> str:
    if run.where is None:
        return ""
    at = f" {run.done}/{run.total}" if run.total and run.what != "training" else ""
    return f"{run.where} {run.what}{at}"


def _reasons(found: Status) -> Iterator[Text]:
    from rich.text import Text

    for run in found.runs:
        if run.reason is not None:
            yield Text(printable(f"{run.name} failed ({run.folder}): {run.reason}"), "red", overflow="fold")


def duration(seconds: float | None) -> str:
    """A time in the units worth showing: "45 s", "12 min", "3 h 05 min", "2 d 4 h"."""
    if seconds is None:
        return NOTHING
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"
