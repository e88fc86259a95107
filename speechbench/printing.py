"""What the command prints: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from speechbench.leaderboard import Board
    from speechbench.planning import Plan


def places(found: Mapping[str, str], as_json: bool) -> None:
    """Plugs by name, and where each is registered."""
    if as_json:
        click.echo(json.dumps(dict(found), indent=1))
        return
    width = max(map(len, found), default=0)
    for name, place in found.items():
        click.echo(f"{name:<{width}}  {place}")


def plan(planned: Plan, as_json: bool) -> None:
    """The runs of an ablation and how far each is."""
    rows = [
        {"id": run.id, "run": run.label, "seed": run.seed, "steps": run.steps,
         "state": "finished" if run.is_finished else "unfinished" if run.folder.exists() else "new"}
        for run in planned.runs
    ]  # fmt: skip
    if as_json:
        click.echo(json.dumps({"folder": str(planned.folder), "runs": rows}, indent=1))
        return
    click.echo(f"{planned.benchmark.name}, {planned.model.name}, into {planned.folder}")
    for row in rows:
        seed = "" if row["seed"] is None else f"seed {row['seed']}"
        click.echo(f"{row['id']}  {row['run']:<28}{seed:<10}{row['steps']:>6} steps  {row['state']}")


def boards(found: Sequence[Board], as_json: bool, markdown: bool = False) -> None:
    """Leaderboards."""
    from speechbench.leaderboard import to_json, to_markdown, to_terminal

    if as_json:
        click.echo(json.dumps([to_json(board) for board in found], indent=1))
    elif markdown:
        click.echo("\n\n".join(to_markdown(board) for board in found))
    else:
        from rich.console import Console

        for board in found:
            to_terminal(board, Console())
