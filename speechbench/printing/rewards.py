"""What `speechbench rewards list`, `show` and `audit` print: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from speechbench.tables import bare_table, counted, facts_table, figure, packed, parameter_facts, told_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from speechbench.rewards.audit import Audit, AuditedReward, Cell
    from speechbench.rewards.describing import Description, Listed

BEATS, TIES = "▲", "="
_SEVERAL = {
    "pooled": "all of them together",
    "best": "the one that fits best counts",
    "first": "only the first counts",
    "none": "none is looked at",
}
_COLUMN = 14  # widest column of the audit; a longer title is folded


def listing(found: Mapping[str, Listed], as_json: bool) -> None:
    """All rewards: a line each."""
    if as_json:
        click.echo(json.dumps([asdict(listed) for listed in found.values()], indent=1, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.markup import escape

    table = bare_table()
    for title in ("name", "what", "family", "needs", "extra"):
        table.add_column(title, overflow="fold", no_wrap=title in ("name", "family", "extra"))
    for listed in found.values():
        what = told_of(listed.summary, listed.where, listed.broken)
        table.add_row(listed.name, escape(what), listed.family, "\n".join(listed.needs), listed.extra)
    Console().print(table)


def description(found: Description, as_json: bool) -> None:
    """What one scorer is."""
    if as_json:
        click.echo(json.dumps(asdict(found), indent=1, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(Text(found.spec, style="bold"))
    for paragraph in (found.summary, *found.details):
        if paragraph:
            console.print(Text(paragraph))
            console.print()
    console.print(facts_table(_facts(found), 14))


def _facts(found: Description) -> Iterator[tuple[str, str]]:
    yield from parameter_facts(found.parameters)
    if found.columns:
        yield "columns", ", ".join("all others" if column == "*" else column for column in found.columns)
    if found.family:
        yield "family", found.family
    low, high = ("without bound" if end is None else f"{end:g}" for end in (found.lowest, found.highest))
    gold = "what gold scores is not declared" if found.maximum is None else f"gold scores {found.maximum:g}"
    yield "as a reward", f"{low if low == high else f'{low} to {high}'}, higher is better; {gold}"
    direction = "lower is better" if found.lower_is_better else "higher is better"
    scale = "on the same scale" if found.scale == 1 else f"times {found.scale:g}"
    yield "as a metric", f"{found.display}, {scale}, {direction}; of a corpus: {found.aggregate}"
    yield "needs", ", ".join(found.needs) or "nothing but the hypothesis"
    if "reference" in found.needs:
        yield "references", _SEVERAL.get(found.several_references, found.several_references)
    yield "languages", ", ".join(found.languages) or "any"
    yield "to install", _installation(found)
    yield "registered", found.where
    if found.citation:
        yield "citation", found.citation
    if found.signature is None:
        yield "signature", f"cannot be had: {found.no_signature}"
    else:
        for number, (key, value) in enumerate({"on": found.benchmark, **found.signature}.items()):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield "" if number else "signature", f"{key}: {text}"


def _installation(found: Description) -> str:
    if not found.extra:
        return "nothing"
    command = f"pip install 'speechbench[{found.extra}]'"
    if found.missing is None:
        return command
    return f"{command} (lacking: {', '.join(found.missing)})" if found.missing else f"{command} (is installed)"


def audit(found: Audit, console: Console, as_json: bool) -> None:
    """The control rows under every reward, and what was found."""
    if as_json:
        click.echo(json.dumps(_audit_to_json(found), indent=1, ensure_ascii=False, allow_nan=False))
        return
    from rich.padding import Padding
    from rich.text import Text

    of = f"{counted(found.examples, 'example')} of {found.split}"
    console.print(Text(f"{found.benchmark} · control rows, mean reward over {of}", style="bold"))
    for rewards in packed(found.rewards, partial(_audit_table, found), console):
        console.print()
        console.print(_audit_table(found, rewards))
    console.print()
    legend = f"{BEATS} higher than the near-miss though it is no answer, {TIES} as high. "
    legend += "All figures are rewards on the field's scale: higher is better"
    errors = [reward.display for reward in found.rewards if reward.lower_is_better]
    legend += f" (as metrics, these count errors instead: {', '.join(errors)})." if errors else "."
    for note in (legend, *found.findings):
        console.print(Padding(Text(note), (0, 0, 0, 1)))


def _audit_table(found: Audit, rewards: Sequence[AuditedReward]) -> Table:
    from rich.text import Text

    table = bare_table()
    table.add_column(no_wrap=True)
    for reward in rewards:
        table.add_column(Text(reward.display), justify="right", overflow="fold", min_width=7, max_width=_COLUMN)
    for name in found.rows:
        table.add_row(name, *(_figure(reward.cells[name], reward.scale) for reward in rewards))
    return table


def _figure(cell: Cell, scale: float) -> Any:
    from rich.text import Text

    mark = BEATS if cell.beats_near_miss else TIES if cell.ties_near_miss else " "
    style = "red" if cell.beats_near_miss else "yellow" if cell.ties_near_miss else ""
    return Text(f"{figure(cell.mean, scale)}{mark}", style=style)


def _audit_to_json(found: Audit) -> dict[str, Any]:
    """Figures on the field's scale, and of each row what it is and what it says on the first example it applies to."""
    from speechbench.rewards.control_rows import ROWS

    rows = {
        name: {
            "what": ROWS[name],
            "examples": sum(text is not None for text in row),
            "first": next(text for text in row if text is not None),
        }
        for name, row in found.rows.items()
    }
    rewards = []
    for reward in found.rewards:
        cells = {
            name: {**asdict(cell), "beats_near_miss": cell.beats_near_miss, "ties_near_miss": cell.ties_near_miss}
            for name, cell in reward.cells.items()
        }
        rewards.append({**asdict(reward), "cells": cells})
    return {
        "benchmark": found.benchmark,
        "split": found.split,
        "examples": found.examples,
        "rows": rows,
        "rewards": rewards,
        "findings": list(found.findings),
    }
