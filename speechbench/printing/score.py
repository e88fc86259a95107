"""What `speechbench score` prints: a table for people, JSON and tab-separated values for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from speechbench.leaderboard.figures import heading
from speechbench.leaderboard.notes import LOWER, applicability, signature_text
from speechbench.leaderboard.render.as_terminal import MARK_STYLES
from speechbench.leaderboard.render.texts import MARKS
from speechbench.leaderboard.statistics import ALPHA
from speechbench.tables import NOTHING, counted, decimals_of, interval_text, p_text, packed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from speechbench.scoring import MetricScores, Scores, SystemScore

_LABEL, _TITLE = 32, 20  # widest metric's name and system's name; longer ones are folded


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
    from rich.padding import Padding
    from rich.text import Text

    for places in packed(range(len(found.metrics[0].systems)), partial(_table_of, found), console):
        console.print(_table_of(found, places))
        console.print()
    for note in _notes(found):
        console.print(Padding(Text(note, style="dim"), (0, 0, 0, 1)))


def _table_of(found: Scores, places: Sequence[int]) -> Table:
    """Some of the systems: figures are never broken, names are folded."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    names = [heading(metric.display, metric.lower_is_better) for metric in found.metrics]
    table.add_column("", overflow="fold", min_width=min(max(map(len, names)), _LABEL), max_width=_LABEL)
    columns = [[_cell(metric.systems[place], metric) for metric in found.metrics] for place in places]
    for place, cells in zip(places, columns, strict=True):
        wide = max(len(line) for cell in cells for line in cell.plain.splitlines())
        title = Text(found.metrics[0].systems[place].system)
        table.add_column(title, justify="right", overflow="fold", min_width=wide, max_width=max(wide, _TITLE))
    for row, name in enumerate(names):
        table.add_row(Text(name), *(cells[row] for cells in columns))
    return table


def _cell(system: SystemScore, metric: MetricScores) -> Text:
    """Score with its mark, its interval; the difference with its interval, and its p."""
    from rich.text import Text

    if system.score is None:
        return Text(NOTHING)
    decimals = decimals_of(metric.scale)
    text = Text(f"{system.score:.{decimals}f}")
    test = system.test
    mark = "" if test is None else MARKS.get(("base", test.verdict), "")
    text.append(mark, style=MARK_STYLES.get(mark, ""))
    if system.interval is not None:
        text.append(f"\n{interval_text(system.interval, decimals)}", style="dim")
    if test is not None:
        text.append(f"\n{test.difference:+.{decimals}f} ({interval_text(test.interval, decimals)})")
        text.append(f"\n{p_text(test.p_holm)}")
    return text


def _notes(found: Scores) -> Iterator[str]:
    references = counted(found.references, "reference")
    languages = f"source language {found.source_language}, target language {found.target_language}"
    yield f"{counted(found.segments, 'segment')}, {references}, {languages}"
    for metric in found.metrics:
        counts = [(system.system, [system.applies]) for system in metric.systems]
        yield from applicability(metric.display, counts, found.segments, "segment")
    resamples = counted(found.resamples, "bootstrap resample")
    yield f"below each score its 95% interval over segments, from {resamples}"
    if found.family:
        first = found.metrics[0].systems[0].system
        yield (
            f"below that the difference from {first} with its interval, and p of the paired bootstrap after Holm over "
            f"{counted(found.family, 'test')}; ▲ better, ▼ worse (p < {ALPHA})"
        )
    if any(metric.lower_is_better for metric in found.metrics):
        yield LOWER
    if found.references and any(isinstance(metric.signature.get("metric"), str) for metric in found.metrics):
        yield f"sacrebleu's signatures, without their nrefs: the number of references is that above, {found.references}"
    for metric in found.metrics:
        signature = signature_text(metric.signature)
        if signature:
            yield f"{metric.display}: {signature}"
