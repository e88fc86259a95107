"""What is printed of an ablation before and beside its runs: the runs, what they will cost, what a sweep chose."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from speechbench.tables import NOTHING, counted, figure

if TYPE_CHECKING:
    from rich.console import Console

    from speechbench.costs import Cost, Costs
    from speechbench.planning import Plan
    from speechbench.recipes import Recipe
    from speechbench.sweep import Choice, Sweep, Swept

_COLUMNS = {
    "steps": "steps",
    "prompts": "prompts",
    "passes": "forward_passes",
    "samples": "sampled_completions",
    "tokens sampled": "sampled_tokens",
    "tokens learned": "learned_tokens",
    "validated": "validation_answers",
    "tested": "final_answers",
}
_BOUNDS = "of tokens upper bounds: every answer as long as may be; of audio, which each model encodes, an estimate"


def plan(planned: Plan, costs: Costs, sweep: Sweep | None, as_json: bool) -> None:
    """The runs of an ablation, how far each is, and what they cost; those of a sweep in all."""
    rows: list[dict[str, Any]] = [
        {"id": run.id, "run": run.label, "seed": run.seed, "steps": run.steps,
         "state": "finished" if run.is_finished else "unfinished" if run.folder.exists() else "new"}
        for run in planned.runs
    ]  # fmt: skip
    if as_json:
        for row, cost in zip(rows, costs.runs, strict=True):
            row["cost"] = dataclasses.asdict(cost.cost)
        content = {"folder": str(planned.folder), "runs": rows, "unfinished": dataclasses.asdict(costs.total)}
        if sweep is not None:
            content["sweep"] = {"trials": _trials(sweep), "cost": dataclasses.asdict(sweep.cost())}
        click.echo(json.dumps(content, indent=1))
        return
    click.echo(f"{planned.benchmark.name}, {planned.model.name}, into {planned.folder}")
    for row in rows:
        seed = "" if row["seed"] is None else f"seed {row['seed']}"
        click.echo(f"{row['id']}  {row['run']:<28}{seed:<10}{row['steps']:>6} steps  {row['state']}")
    click.echo("\n".join(["", *table(costs), *sweep_lines(sweep)]))


def before(costs: Costs, sweep: Sweep | None, whole: bool) -> list[str]:
    """What an ablation costs, told before it starts: as a table, or in a line."""
    return [*(table(costs) if whole else [summary(costs)]), *sweep_lines(sweep)]


def summary(costs: Costs) -> str:
    """What is left to do, in one line."""
    runs = f"{costs.unfinished} of {counted(len(costs.runs), 'run')} to do"
    return f"{runs}: {_told(costs.total)}" if costs.unfinished else f"all of {counted(len(costs.runs), 'run')} done"


def sweep_lines(sweep: Sweep | None) -> list[str]:
    """What a sweep costs besides, in a line; none for none."""
    if sweep is None:
        return []
    cost, trials = sweep.cost(), counted(_trials(sweep), "trial")
    return [f"sweep before it, {trials}: {_told(cost)}" if cost.final_answers else f"sweep of {trials} done"]


def _trials(sweep: Sweep) -> int:
    return sum(len(sweep.search(unit)) for unit in sweep.axes)


def _told(cost: Cost) -> str:
    answers, calls = cost.validation_answers + cost.final_answers, sum(cost.reward_calls.values())
    parts = [
        counted(cost.steps, "step"),
        f"{cost.sampled_completions:,} samples of {cost.sampled_tokens:,} tokens",
        f"{cost.learned_tokens:,} tokens learned",
        f"{calls:,} reward calls",
        f"{answers:,} answers",
    ]
    return f"at most {', '.join(parts)}; about {_hours(cost.audio_seconds)} of audio"


def table(costs: Costs) -> list[str]:
    """What each run costs and what is left to do, as lines of a table."""
    rows = [["run", *_COLUMNS, "audio"]]
    for run in costs.runs:
        seed = "" if run.run.seed is None else f" seed {run.run.seed}"
        done = " (done)" if run.is_finished else ""
        rows.append([f"{run.run.label}{seed}{done}", *_cells(run.cost)])
    rows.append(["in all, to do", *_cells(costs.total)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([f"{row[0]:<{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(row[1:], widths[1:], strict=True))])
             for row in rows]  # fmt: skip
    calls = [f"{name}: {number:,} hypotheses to score in training" for name, number in costs.total.reward_calls.items()]
    return [*lines, *calls, f"({_BOUNDS})"]


def _cells(cost: Cost) -> Iterator[str]:
    for name in _COLUMNS.values():
        number = getattr(cost, name)
        yield f"{number:,}" if number else NOTHING
    yield _hours(cost.audio_seconds)


def _hours(seconds: float) -> str:
    return (
        f"{seconds / 3600:,.1f} h"
        if seconds >= 3600
        else f"{seconds / 60:.0f} min"
        if seconds >= 60
        else f"{seconds:.0f} s"
    )


def swept(found: Swept, console: Console) -> None:
    """What a sweep tried and chose."""
    from rich.table import Table

    shown = Table("trainer and reward", "tried", "validation", "", title="Sweep")
    for choice in found.choices:
        shown.add_section()
        shown.add_row(choice.section, NOTHING, _score(choice, choice.base), "base")
        for trial in choice.trials:
            mark = "chosen" if trial is choice.chosen else "" if trial.failure is None else "diverged"
            shown.add_row("", ", ".join(f"{k}={v}" for k, v in trial.values.items()), _score(choice, trial.score), mark)
    console.print(shown)
    for choice in found.choices:
        if choice.notes:
            console.print(str(choice), highlight=False, soft_wrap=True)
    console.print(
        f"Chosen by {_by(found.choices)}. For --config: {found.config}\nAll trials: {found.table}", soft_wrap=True
    )


def _by(choices: Sequence[Choice]) -> str:
    return ", ".join(dict.fromkeys(choice.metric.display for choice in choices))


def _score(choice: Choice, score: float | None) -> str:
    return f"{choice.metric.display} {figure(score, choice.metric.scale)}"


def recipe(found: Recipe, as_json: bool) -> None:
    """All values of a recipe, whose each is, and why."""
    rows = list(found.rows())
    if as_json:
        content = {"name": found.name, "summary": found.summary, "citation": found.citation}
        click.echo(json.dumps({**content, "rows": [dataclasses.asdict(row) for row in rows]}, indent=1))
        return
    from rich.console import Console

    from speechbench.tables import bare_table

    shown = bare_table()
    for column in ("setting", "value", "of", "why"):
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(row.setting, row.value, row.of, row.why)
    console = Console()
    console.print(f"{found.name}: {found.summary}\n{found.citation}\n", highlight=False, markup=False)
    console.print(shown)
