"""The commands that train: `ablate`, `train`, and the recipes that fill in what they are not told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from speechbench import distributed, printing
from speechbench.cli_parts import F, Group, numbers, options, several, specs, work
from speechbench.errors import UsageError

if TYPE_CHECKING:
    from speechbench.planning import Plan
    from speechbench.progress import Progress
    from speechbench.sweep import Sweep


def _given(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str] | None:
    """Several specs; `None` where the option was not given, so that a recipe's stand."""
    return None if value is None else specs(context, parameter, value)


def _given_numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> list[int] | None:
    return None if value is None else numbers(context, parameter, value)


def _default(name: str, value: object, text: str, **more: Any) -> Callable[[F], F]:
    """An option whose default a recipe may replace."""
    return click.option(name, default=None, show_default=str(value), help=text, **more)


_ASKED = several(
    _default("--benchmark", "covost2-mini", "What is asked."),
    options("metrics"),
    _default("--model", "tiny", "A name, run or checkpoint folder."),
    options("steps", "limit"),
    _default("--sampled-passes", 0, "Also measure sampled answers, in so many passes.", type=click.IntRange(0)),
    _default("--sampled-temperature", 0.9, "Of these.", type=float),
    _default("--sampled-top-p", 0.9, "Of these.", type=float),
    click.option("--recipe", help="Whose values stand where none are given: paper-sqa, paper-ast."),
    click.option("--report-to", callback=specs, help="Trackers that hear of it: tensorboard, wandb, trackio."),
    options("strict", "config", "out", "json", "quiet"),
)


@click.command()
@click.option("--rewards", callback=specs, help="Rewards to compare, as in bleu,comet or ./file.py:name.")
@_default("--trainers", "sft,grpo,mixed-grpo", "How it learns.", callback=_given)
@_default("--seeds", 0, "As in 0,1,2.", callback=_given_numbers)
@click.option("--controls", is_flag=True, help="Also rewards that must not win, and the base model without the speech.")
@click.option("--engine", default="local", show_default=True, help="Where the runs are done: local, ray.")
@click.option("--jobs", type=click.IntRange(1), show_default="1; on Ray what fits", help="Runs at once.")
@click.option("--address", help="Of a Ray cluster: auto or HOST:PORT; none for one of this machine alone.")
@click.option("--cpus", type=click.FloatRange(1), show_default="1", help="Of each run on Ray.")
@click.option("--gpus", type=click.FloatRange(0), show_default="1 if there are any", help="Of each run on Ray.")
@click.option("--processes", type=click.IntRange(1), help="That train each run together, on a GPU each.")
@click.option("--dry-run", is_flag=True, help="Print which runs would be done, and what they cost.")
@_ASKED
@click.option(
    "--sweep", multiple=True, help="First choose for each reward, as in learning_rate=5e-5,2e-4 or 1e-6..5e-5."
)
@click.option("--sweep-trials", type=click.IntRange(1), help="Draw so many by Optuna, from ranges as 1e-6..5e-5 too.")
@click.option("--sweep-metric", help="What is best on validation; 'reward': each by its own.")
@click.option("--sweep-seed", type=int, show_default="1000", help="Of the sweep's trainings.")
def ablate(
    dry_run: bool, as_json: bool, quiet: bool, config: Path | None, sweep: tuple[str, ...], sweep_trials: int | None,
    sweep_metric: str | None, sweep_seed: int | None, engine: str, jobs: int | None,
    address: str | None, cpus: float | None, gpus: float | None, processes: int | None, **grid: Any,
) -> None:  # fmt: skip
    """Train once per reward, trainer and seed, measure everything, rank."""
    with work(quiet or as_json, resumes=True) as (console, progress):
        from speechbench import ablation, costs, engines, settings
        from speechbench import sweep as sweeping
        from speechbench.printing import plan as printing_plan

        done_by = engines.engine_of(engine, jobs, address, cpus, gpus, processes)
        is_swept = sweeping.is_asked(sweep, sweep_trials, sweep_metric, sweep_seed)
        grid.update(config={} if config is None else settings.read_sections(config), progress=progress)
        planned, asked, swept = ablation.plan(**grid, processes=processes), None, None
        if is_swept:
            asked = sweeping.plan_sweep(planned, sweep, sweep_trials, sweep_metric, sweep_seed, progress)
        if not dry_run:
            _tell_costs(planned, asked, progress)
            if asked is not None:
                swept = sweeping.run_sweep(asked, progress)
                planned = swept.planned
            ablation.run_all(planned, progress, done_by)
    if not distributed.is_main():
        return
    if dry_run:
        printing_plan.plan(planned, costs.costs(planned), asked, as_json)
        return
    if swept is not None and not as_json:
        printing_plan.swept(swept, console)
    printing.boards([ablation.board_of(planned)], as_json)
    if not as_json:
        console.print(
            f"Runs: {planned.folder}\nShow this again: speechbench leaderboard {planned.folder}", soft_wrap=True
        )


@click.command()
@click.option("--trainer", required=True, help="sft, grpo, mixed-grpo, rejection-sft, or your own.")
@click.option("--reward", callback=specs, help="What it is trained on; none for sft.")
@_default("--seed", 0, "Of training.", type=int)
@_ASKED
def train(
    trainer: str, reward: list[str], seed: int | None, as_json: bool, quiet: bool, config: Path | None, **grid: Any
) -> None:
    """Do one training and its evaluation, beside the base model's."""
    if len(reward) > 1:
        raise UsageError(
            f"train does one run: give one reward, not {len(reward)}; `speechbench ablate` compares several"
        )
    with work(quiet or as_json, resumes=True) as (console, progress):
        from speechbench import ablation, settings

        grid.update(
            config={} if config is None else settings.read_sections(config),
            progress=progress,
            seeds=None if seed is None else [seed],
        )
        planned = ablation.plan(reward, [trainer], **grid)
        _tell_costs(planned, None, progress)
        ablation.run_all(planned, progress)
    if not distributed.is_main():
        return
    printing.boards([ablation.board_of(planned)], as_json)
    if not as_json:
        console.print(f"Trained model: {ablation.model_folder(planned.runs[-1])}", soft_wrap=True)


def _tell_costs(planned: Plan, sweep: Sweep | None, progress: Progress) -> None:
    """Before work begins: of a recipe in full, which takes days, else in a line."""
    from speechbench import costs
    from speechbench.printing import plan as printing_plan

    for line in printing_plan.before(costs.costs(planned), sweep, whole=planned.asked.recipe is not None):
        progress.tell(line)


@click.group("recipes", cls=Group)
def recipes() -> None:
    """Whole set-ups for --recipe."""


@recipes.command("list")
@options("json")
def list_recipes(as_json: bool) -> None:
    """All recipes by name, and what they are."""
    from speechbench import recipes as found

    printing.places(found.list(), as_json)


@recipes.command("show")
@click.argument("name")
@options("json")
def show_recipe(name: str, as_json: bool) -> None:
    """All values of the recipe NAME: which are the paper's and which ours, and why."""
    from speechbench import recipes as found
    from speechbench.printing import plan as printing_plan

    printing_plan.recipe(found.show(name), as_json)
