"""The commands that look after runs: `speechbench status`, and `speechbench runs …`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from speechbench.cli_parts import F, Group, options, several, specs, work

if TYPE_CHECKING:
    from rich.console import Console

    from speechbench.upkeep import Removal

_AGAIN = 2.0  # seconds between looks


@click.command()
@options("folders")
@click.option("--watch", is_flag=True, help="Keep looking until all is done; Ctrl-C ends it, and not the work.")
@options("json")
def status(folders: tuple[Path, ...], watch: bool, as_json: bool) -> None:
    """Show what runs where in FOLDERS (by default: runs), how far it is, and what failed."""
    with work(quiet=True) as (console, _):
        from rich.live import Live

        from speechbench.printing import status as printing
        from speechbench.run_status import status as look

        found = look(folders)
        if not watch or as_json or not console.is_terminal:
            printing.status(found, console, as_json)
            return
        with suppress(KeyboardInterrupt), Live(printing.shown(found), console=console, auto_refresh=False) as live:
            while not all(each.is_over for each in found):
                time.sleep(_AGAIN)
                found = look(folders)
                live.update(printing.shown(found), refresh=True)


@click.group(cls=Group)
def runs() -> None:
    """Runs on disk: their room, what is in them, and making room."""


_IN = click.option(
    "--in", "folder", default="runs", show_default=True, type=click.Path(path_type=Path), help="Of runs."
)


def _removal_options(function: F) -> F:
    return several(
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Only name what would go."),
    )(function)


@runs.command("list")
@options("folders")
@options("json")
def list_(folders: tuple[Path, ...], as_json: bool) -> None:
    """All runs in FOLDERS (by default: runs) with their room, the largest first."""
    with work(quiet=True) as (console, _):
        from speechbench import upkeep
        from speechbench.printing import upkeep as printing

        found = upkeep.sizes(folders)
    printing.sizes(found, console, as_json)


@runs.command()
@click.argument("run")
@_IN
@options("json")
def show(run: str, folder: Path, as_json: bool) -> None:
    """What RUN is and what its folder holds; a folder, an id, or a name as in "grpo(bleu) seed 0"."""
    with work(quiet=True) as (console, _):
        from speechbench import upkeep
        from speechbench.printing import upkeep as printing

        found = upkeep.show(run, folder)
    printing.size(found, console, as_json)


@runs.command()
@click.argument("runs", nargs=-1, required=True)
@_IN
@_removal_options
def rm(runs: tuple[str, ...], folder: Path, yes: bool, dry_run: bool) -> None:
    """Remove RUNS, each a folder, an id, or a name; they are named first, with their room."""
    with work(quiet=True) as (console, _):
        from speechbench import upkeep

        _remove(upkeep.removals(runs, folder), console, yes, dry_run)


@runs.command()
@options("folders")
@click.option(
    "--keep", default="best,last", show_default=True, callback=specs, help="Of finished runs; 'none' for none."
)
@_removal_options
def gc(folders: tuple[Path, ...], keep: list[str], yes: bool, dry_run: bool) -> None:
    """Remove checkpoints that nothing needs, and what is half written; no result goes, nor what a run goes on from.

    Of finished runs "best" keeps the trained model and "last" the newest checkpoint, which is three times as large.
    """
    with work(quiet=True) as (console, _):
        from speechbench import upkeep

        _remove(upkeep.superfluous(folders, [] if keep == ["none"] else keep), console, yes, dry_run)


def _remove(found: Sequence[Removal], console: Console, yes: bool, dry_run: bool) -> None:
    """Names what is to go, asks, and removes it."""
    from speechbench import upkeep
    from speechbench.printing import upkeep as printing

    printing.removals(found, console)
    if dry_run or not found:
        return
    if not yes and not click.confirm("Remove them?"):
        console.print("nothing was removed")
        return
    console.print(f"removed: {printing.room(sum(each.bytes for each in upkeep.remove(found)))}", highlight=False)
