"""What the commands `speechbench runs …` print."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from speechbench.printing.status import duration
from speechbench.tables import bare_table, counted, facts_table, printable

if TYPE_CHECKING:
    from rich.console import Console

    from speechbench.upkeep import Removal, Size


def sizes(found: Sequence[Size], console: Console, as_json: bool) -> None:
    """Runs with their room."""
    if as_json:
        click.echo(json.dumps([_as_json(each) for each in found], indent=1))
        return
    from rich.text import Text

    for folder in dict.fromkeys(each.run.folder.parent for each in found):
        console.print(printable(str(folder)), markup=False, highlight=False, soft_wrap=True)
        table = bare_table()
        table.add_column("run", overflow="fold")
        table.add_column("state", no_wrap=True)
        table.add_column("room", justify="right", no_wrap=True)
        table.add_column("checkpoints", justify="right", no_wrap=True)
        table.add_column("id", overflow="fold")
        for each in (its for its in found if its.run.folder.parent == folder):
            checkpoints = room(sum(bytes_ for _, bytes_ in each.checkpoints))
            name, id_ = Text(printable(each.run.name)), Text(printable(each.run.folder.name))
            table.add_row(name, each.run.state, room(each.bytes), checkpoints, id_)
        console.print(table)
    console.print(f"{counted(len(found), 'run')}, {room(sum(each.bytes for each in found))}", highlight=False)


def size(found: Size, console: Console, as_json: bool) -> None:
    """A run, and what its folder holds."""
    if as_json:
        click.echo(json.dumps(_as_json(found), indent=1))
        return
    facts = ((name, printable(text)) for name, text in _facts(found))
    console.print(facts_table(facts, 10))


def removals(found: Sequence[Removal], console: Console) -> None:
    """What is to go."""
    for each in found:
        text = printable(f"{room(each.bytes):>9}  {each.path} ({each.why})")
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    total = f"{len(found)}, {room(sum(each.bytes for each in found))}" if found else "nothing"
    console.print(f"to be removed: {total}", highlight=False)


def room(bytes_: float) -> str:
    """A size in the unit worth showing, with three digits: "1.24 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if bytes_ < 999.5:
            return f"{bytes_:.0f} {unit}" if unit == "B" or bytes_ >= 100 else f"{bytes_:.3g} {unit}"
        bytes_ /= 1000
    return f"{bytes_:.3g} TB"


def _facts(found: Size) -> Iterator[tuple[str, str]]:
    run = found.run
    yield "run", run.name
    yield "id", run.id
    yield "state", run.state if run.reason is None else f"{run.state}: {run.reason}"
    if run.where is not None:
        yield "where", run.where
    if run.steps:
        yield "steps", f"{run.step} of {run.steps}"
    if run.seconds is not None:
        yield "time", duration(run.seconds)
    yield "folder", str(run.folder)
    yield "room", room(found.bytes)
    for path, bytes_ in found.checkpoints:
        yield "", f"{path.name} {room(bytes_)}"
    yield (
        "again",
        f"speechbench leaderboard html {run.folder.parent} shows its settings and the command that repeats it",
    )


def _as_json(found: Size) -> dict[str, object]:
    run = {**dataclasses.asdict(found.run), "folder": str(found.run.folder)}
    checkpoints = [{"path": str(path), "bytes": bytes_} for path, bytes_ in found.checkpoints]
    return {**run, "bytes": found.bytes, "checkpoints": checkpoints}
