"""What several commands print: where plugs are registered, and leaderboards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from speechbench.leaderboard import Board


def places(found: Mapping[str, str], as_json: bool) -> None:
    """Plugs by name, and where each is registered."""
    if as_json:
        click.echo(json.dumps(dict(found), indent=1))
        return
    width = max(map(len, found), default=0)
    for name, place in found.items():
        click.echo(f"{name:<{width}}  {place}")


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
