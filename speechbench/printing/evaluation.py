"""What `speechbench eval` prints: scores and health of one model, each pass, and the curves of best-of-n and pass@k."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from speechbench.leaderboard.figures import heading
from speechbench.tables import NOTHING, packed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def evaluation(measured: Mapping[str, Any], console: Console, as_json: bool) -> None:
    """What `speechbench.evaluation.evaluate_model` found."""
    if as_json:
        click.echo(json.dumps(measured, indent=1))
        return
    console.print(_scores(measured))
    curves, sampling = measured.get("best_of"), measured["sampling"]
    if sampling["temperature"]:
        mean = f", mean of {sampling['passes']} passes" if sampling["passes"] > 1 else ""
        console.print(f"temperature {sampling['temperature']:g}, top-p {sampling['top_p']:g}{mean}", highlight=False)
    passes = sampling["passes"] if curves is None else 1
    if passes > 1:
        for numbers in packed(range(passes), partial(_passes, measured), console):
            console.print(_passes(measured, numbers))
    if curves is not None:
        for numbers in packed([int(n) for n in next(iter(curves.values()))], partial(_curves, measured), console):
            console.print(_curves(measured, numbers))


def _scores(measured: Mapping[str, Any]) -> Table:
    from rich.table import Table

    spread = measured.get("spread", {})
    title = f"{measured['model']} on {measured['benchmark']}, {measured['split']}"
    table = Table("metric", "score", *(["± over passes"] if spread else []), title=title)
    for name, score in {**measured["metrics"], **measured["health"], **measured["usage"]}.items():
        more = [_figure(spread.get(name))] if spread else []
        table.add_row(heading(name, name in measured["lower_is_better"]), _figure(score), *more)
    return table


def _passes(measured: Mapping[str, Any], numbers: Sequence[int]) -> Table:
    from rich.table import Table

    table = Table("metric", *(f"pass {number + 1}" for number in numbers))
    for name, scores in measured["passes"].items():
        lower = name in measured["lower_is_better"]
        table.add_row(heading(name, lower), *(_figure(scores[number]) for number in numbers))
    return table


def _curves(measured: Mapping[str, Any], numbers: Sequence[int]) -> Table:
    """Best-of-n in scores of the field's scale, pass@k in per cent."""
    from rich.table import Table

    table = Table("best of n, by itself", *map(str, numbers))
    for name, curve in measured["best_of"].items():
        lower = name in measured["lower_is_better"]
        table.add_row(heading(name, lower), *(_figure(curve[str(n)]) for n in numbers))
    if measured["pass_at"]:
        table.add_section()
    for what, curve in measured["pass_at"].items():
        metric, _, score = what.rpartition("=")
        name = f"pass@k, {metric} {'≤' if metric in measured['lower_is_better'] else '≥'} {score}"
        table.add_row(name, *(_share(curve[str(n)]) for n in numbers))
    return table


def _figure(score: float | None) -> str:
    return NOTHING if score is None else f"{score:.2f}"


def _share(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.1f}%"
