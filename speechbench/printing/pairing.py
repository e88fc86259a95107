"""What `speechbench leaderboard compare` prints: two runs, metric by metric, and where they differ most."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from speechbench.leaderboard.figures import heading
from speechbench.leaderboard.pairing import Difference, RunComparison, Scored
from speechbench.leaderboard.statistics import ALPHA
from speechbench.tables import NOTHING, bare_table, counted, decimals_of, figure, interval_text, p_text, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def comparison(found: RunComparison, console: Console, as_json: bool) -> None:
    """Two runs side by side."""
    if as_json:
        click.echo(json.dumps(asdict(found), indent=1))
        return
    from rich.text import Text

    level, number = found.clusters
    drawn = "" if level == "example" else f", drawn by {level} ({number})"
    examples = counted(found.examples, f"{found.split} example")
    title = f"{found.names[0]} against {found.names[1]}: {found.benchmark}, {examples}{drawn}"
    console.print(Text(printable(title), "bold"))
    console.print(_metrics(found))
    note = (
        f"p after Holm over {counted(found.family, 'metric')}: of the paired bootstrap, and of approximate "
        f"randomisation; where p is {ALPHA} or more, the runs are not separable. detectable: the smallest difference "
        "that these examples show with probability 0.8"
    )
    console.print(Text(note, "dim"))
    for one, several, differing in (("win", "wins", found.wins), ("loss", "losses", found.losses)):
        console.print()
        count = f"no {one}" if not differing else f"the {len(differing)} largest {several}"
        console.print(Text(printable(f"{count} of {found.names[0]}, by {found.by.display}"), "bold"))
        for example in differing:
            _example(example, found, console)


def _metrics(found: RunComparison) -> Table:
    from rich.text import Text

    table = bare_table()
    table.add_column("")
    for name in found.names:
        table.add_column(Text(printable(name)), justify="right", overflow="fold")
    for title in ("difference", "p bootstrap", "p randomised", "detectable"):
        table.add_column(title, justify="right", overflow="fold")
    for its in found.metrics:
        table.add_row(Text(printable(heading(its.metric.display, its.metric.lower_is_better))), *map(Text, _cells(its)))
    return table


def _cells(its: Scored) -> list[str]:
    decimals, test = decimals_of(its.metric.scale), its.bootstrap
    scores = [
        figure(score, its.metric.scale) + ("" if ends is None else f"\n{interval_text(ends, decimals)}")
        for score, ends in zip(its.scores, its.intervals, strict=True)
    ]
    if test is None:
        return [*scores, NOTHING, NOTHING, NOTHING, NOTHING]
    mark = {1: " ▲", -1: " ▼", 0: ""}[test.verdict]
    difference = f"{test.difference:+.{decimals}f}{mark}\n{interval_text(test.interval, decimals)}"
    randomised = NOTHING if its.randomisation is None else p_text(its.randomisation)
    return [*scores, difference, p_text(test.p_holm), randomised, figure(test.detectable, its.metric.scale)]


def _example(example: Difference, found: RunComparison, console: Console) -> None:
    from rich.text import Text

    one, two = (figure(score, found.by.scale) for score in example.scores)
    console.print(Text(f"{printable(example.id)}  {one} against {two}"))
    rows: Sequence[tuple[str, str | None]] = (
        ("source", example.source),
        ("reference", example.reference),
        (found.names[0], example.hypotheses[0]),
        (found.names[1], example.hypotheses[1]),
    )
    table = bare_table(header=False)
    table.add_column(style="dim", overflow="fold", max_width=24)
    table.add_column(overflow="fold")
    for name, text in rows:
        if text is not None:
            table.add_row(Text(printable(name)), Text(printable(text) or "(empty)"))
    console.print(table)
