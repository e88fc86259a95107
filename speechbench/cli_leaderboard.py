"""The commands `speechbench leaderboard …`: what the runs amount to, shown, written, served and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from speechbench import printing
from speechbench.cli_parts import F, Group, options, several, work


class ShowByDefault(Group):
    """`speechbench leaderboard FOLDER` is `speechbench leaderboard show FOLDER`."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["show", *args]
        return super().parse_args(context, args)


@click.group(cls=ShowByDefault)
def leaderboard() -> None:
    """What the runs in folders amount to: `leaderboard [FOLDERS]` is `leaderboard show [FOLDERS]`."""


def _board_options(function: F) -> F:
    """What decides which boards there are, and how they are tested."""
    return several(
        options("folders"),
        click.option("--together", is_flag=True, help="One board for all ablations on the same data."),
        click.option(
            "--test",
            type=click.Choice(["bootstrap", "randomisation"]),
            default="bootstrap",
            show_default=True,
            help="What gives p over examples.",
        ),
        click.option(
            "--resamples",
            type=click.IntRange(1),
            help="Exactly so many. By default 2000, and more where these leave a verdict open.",
        ),
        options("quiet"),
    )(function)


@leaderboard.command()
@_board_options
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@options("json")
def show(markdown: bool, as_json: bool, quiet: bool, **which: Any) -> None:
    """Show what the runs in FOLDERS (by default: runs) amount to."""
    with work(quiet or as_json or markdown) as (_, progress):
        from speechbench.leaderboard import leaderboard as boards_of

        found = boards_of(tick=progress.advance, **which)
    printing.boards(found, as_json, markdown)


@leaderboard.command()
@_board_options
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Its suffix says the form.")
@click.option(
    "--plot",
    type=click.Choice(["matrix", "curves", "scatter", "gains"]),
    help="What .png, .pdf and .svg draw; the matrix by default.",
)
def export(out: Path, plot: str | None, quiet: bool, **which: Any) -> None:
    """Write the board to a file: .md .tex .csv .json .html, or as a plot .png .pdf .svg."""
    with work(quiet) as (console, progress):
        from speechbench.leaderboard import export as export_to

        path = export_to(out, plot=plot, tick=progress.advance, **which)
    console.print(f"written: {path}", markup=False, highlight=False, soft_wrap=True)


@leaderboard.command()
@_board_options
@click.option("--out", default="leaderboard.html", show_default=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--audio",
    type=click.Choice(["link", "embed", "none"]),
    default="link",
    show_default=True,
    help="Recordings: link to them where they lie, put them into the page, or leave them out.",
)
def html(out: Path, audio: str, quiet: bool, **which: Any) -> None:
    """Write the board as one HTML page: tests, curves, runs, and every example to read and hear."""
    with work(quiet) as (console, progress):
        from speechbench.leaderboard import html as write

        path = write(out=out, audio=audio, tick=progress.advance, **which)
    console.print(f"written: {path}", markup=False, highlight=False, soft_wrap=True)


@leaderboard.command()
@_board_options
@click.option("--port", type=click.IntRange(0, 65535), default=8347, show_default=True, help="0 for any that is free.")
def serve(port: int, quiet: bool, **which: Any) -> None:
    """Show that page on this machine at 127.0.0.1, with new results as they come; Ctrl-C ends it."""
    with work(quiet) as (console, _):
        from speechbench.leaderboard import serve as serve_at

        def tell(address: str) -> None:
            console.print(f"{address} (Ctrl-C ends it)", markup=False, highlight=False, soft_wrap=True)

        serve_at(port=port, tell=tell, **which)


@leaderboard.command()
@click.argument("a")
@click.argument("b")
@click.option("--in", "folder", default="runs", show_default=True, type=click.Path(path_type=Path), help="Of runs.")
@click.option("--metric", help="That examples are compared by; the first by default.")
@click.option("--examples", type=click.IntRange(0), default=20, show_default=True, help="Of wins, and of losses.")
@click.option("--resamples", type=click.IntRange(1), help="Exactly so many.")
@options("json", "quiet")
def compare(as_json: bool, quiet: bool, **what: Any) -> None:
    """Compare the runs A and B: run folders, or ids or names of runs, as "grpo(bleu) seed 0"."""
    with work(quiet or as_json) as (console, _):
        from speechbench.leaderboard import compare as compare_runs
        from speechbench.printing import pairing

        found = compare_runs(**what)
    pairing.comparison(found, console, as_json)
