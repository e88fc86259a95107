"""The commands that look after runs: `speechbench status`, and `speechbench runs …`."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import click

from speechbench.cli_parts import options, work

_AGAIN = 2.0  # seconds between looks


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path))
@click.option("--watch", is_flag=True, help="Keep looking until all is done; Ctrl-C ends it, and not the work.")
@options("json")
def status(folders: tuple[Path, ...], watch: bool, as_json: bool) -> None:
    """Show what runs where in FOLDERS (by default: runs), how far it is, and what failed."""
    with work(quiet=True) as (console, _):
        from rich.live import Live

        from speechbench.printing import status as printing
        from speechbench.status import status as look

        where = folders or (Path("runs"),)
        found = look(where)
        if not watch or as_json or not console.is_terminal:
            printing.status(found, console, as_json)
            return
        with suppress(KeyboardInterrupt), Live(printing.shown(found), console=console, auto_refresh=False) as live:
            while any(run.state in ("running", "stopped", "planned") for each in found for run in each.runs):
                time.sleep(_AGAIN)
                found = look(where)
                live.update(printing.shown(found), refresh=True)
