"""What `speechbench score` prints: a table for people, JSON and tab-separated values for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from speechbench.leaderboard.comparisons import ALPHA
from speechbench.leaderboard.differences import interval_text, p_text
from speechbench.leaderboard.notes import LOWER, signature_text
from speechbench.leaderboard.render import MARK_STYLES, MARKS, NOTHING
from speechbench.leaderboard.table import decimals_of, heading

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from speechbench.scoring import MetricScores, Scores, SystemScore


def scores(found: Scores, console: Console, as_json: bool, per_line: bool) -> None:
    """Corpus scores with intervals and tests; or, `per_line`, each segment's scores."""
    if as_json:
        click.echo(json.dumps(_json(found, per_line), indent=1, ensure_ascii=False))
    elif per_line:
        for line in _lines(found):
            click.echo("\t".join(line))
    else:
        _table(found, console)


def _json(found: Scores, per_line: bool) -> dict[str, Any]:
    content = asdict(found)
    if not per_line:
        for metric in content["metrics"]:
            for system in metric["systems"]:
                del system["segments"]
    return content


def _lines(found: Scores) -> Iterator[list[str]]:
    """Number of the line, system, and a column for each metric; empty where a metric does not apply."""
    yield ["line", "system", *(metric.metric for metric in found.metrics)]
    for row in range(found.segments):
        for place, system in enumerate(found.metrics[0].systems):
            values = [metric.systems[place].segments[row] for metric in found.metrics]
            yield [str(row + 1), system.system, *("" if value is None else f"{value:.4f}" for value in values)]


def _table(found: Scores, console: Console) -> None:
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for system in found.metrics[0].systems:
        table.add_column(Text(system.system), justify="right", overflow="fold")
    for metric in found.metrics:
        name = Text(heading(metric.display, metric.lower_is_better))
        table.add_row(name, *(_cell(system, metric) for system in metric.systems))
    console.print(table)
    console.print()
    for note in _notes(found):
        console.print(Padding(Text(note, style="dim"), (0, 0, 0, 1)))


def _cell(system: SystemScore, metric: MetricScores) -> Text:
    """Score with its mark, its interval; the difference with its interval, and its p."""
    from rich.text import Text

    if system.score is None or system.interval is None:
        return Text(NOTHING)
    decimals = decimals_of(metric.scale)
    text = Text(f"{system.score:.{decimals}f}")
    test = system.test
    mark = "" if test is None else MARKS.get(("base", test.verdict), "")
    text.append(mark, style=MARK_STYLES.get(mark, ""))
    text.append(f"\n{interval_text(system.interval, decimals)}", style="dim")
    if test is not None:
        text.append(f"\n{test.difference:+.{decimals}f} ({interval_text(test.interval, decimals)})")
        text.append(f"\n{p_text(test.p_holm)}")
    return text


def _notes(found: Scores) -> Iterator[str]:
    references = f"{found.references} reference{'' if found.references == 1 else 's'}"
    yield f"{found.segments} segments, {references}, target language {found.target_language}"
    yield f"below each score its 95% interval over segments, from {found.resamples} bootstrap resamples"
    if found.family:
        first = found.metrics[0].systems[0].system
        yield (
            f"below that the difference from {first} with its interval, and p of the paired bootstrap after Holm over "
            f"{found.family} tests; ▲ better, ▼ worse (p < {ALPHA})"
        )
    if any(metric.lower_is_better for metric in found.metrics):
        yield LOWER
    for metric in found.metrics:
        signature = signature_text(metric.signature)
        if signature:
            yield f"{metric.display}: {signature}"
