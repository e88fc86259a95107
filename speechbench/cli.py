"""The command `speechbench`: parses, calls, prints. What it does is in the Python API under the same names."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import click

import speechbench
from speechbench import cli_ablate, cli_leaderboard, cli_runs, printing
from speechbench.cli_parts import Group, numbers, options, specs, step_options, work
from speechbench.printing import benchmarks as printing_benchmarks
from speechbench.printing import models as printing_models
from speechbench.printing import rewards as printing_rewards
from speechbench.registry import MODELS, TRAINERS, Registry


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(speechbench.__version__)
def main() -> None:
    """Which reward should a speech-aware language model be trained on?

    Start with `speechbench ablate --rewards bleu,comet`: it trains the embedded model on the embedded
    corpus once per reward and ranks what came out.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal or a file without some characters gets their codes
        sys.stdout.reconfigure(errors="backslashreplace")


main.add_command(cli_ablate.ablate)
main.add_command(cli_ablate.train)
main.add_command(cli_leaderboard.leaderboard)
main.add_command(cli_runs.status)
main.add_command(cli_runs.runs)


@main.command("eval")
@click.option("--split", default="test", show_default=True)
@click.option("--temperature", type=float, help="0 is greedy, the default; 0.9 with --passes, 1 with --best-of.")
@click.option("--top-p", type=float, help="Of sampling; 0.9 with --passes, otherwise 1.")
@click.option("--passes", type=click.IntRange(1), default=1, show_default=True, help="Answer so many times, sampling.")
@click.option("--best-of", callback=numbers, help="As in 1,2,4,8: the best of so many samples, by each metric.")
@click.option("--pass-at", callback=specs, help="As in binary=100, with --best-of: pass@k for the same numbers.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of sampling.")
@click.option("--samples", type=click.Path(path_type=Path), help="Write every answer with its scores to this JSONL.")
@options("benchmark", "metrics", "model", "limit", "strict", "json", "quiet")
def evaluate(as_json: bool, quiet: bool, **what: Any) -> None:
    """Measure one model."""
    with work(quiet or as_json) as (console, progress):
        from speechbench import evaluation
        from speechbench.printing import evaluation as printing_evaluation

        measured = evaluation.evaluate_model(progress=progress, **what)
    printing_evaluation.evaluation(measured, console, as_json)


def _all_specs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[str]:
    return [spec for value in values for spec in specs(context, parameter, value)]


@main.command()
@click.option(
    "--reward", multiple=True, default=["bleu,chrf"], show_default=True, callback=_all_specs, help="One or more."
)
@click.option("--hyp", multiple=True, required=True, type=click.Path(), help="One for each system; - is stdin.")
@click.option("--ref", multiple=True, type=click.Path(), help="One or more files of references.")
@click.option("--src", type=click.Path(), help="The source texts, for rewards that need them.")
@click.option("--source-language", default="en", show_default=True)
@click.option("--target-language", default="en", show_default=True, help="Tokenizers and default models follow it.")
@click.option("--per-line", is_flag=True, help="Print each line's scores, separated by tabs.")
@options("json", "quiet")
def score(per_line: bool, as_json: bool, quiet: bool, **what: Any) -> None:
    """Score text files of one segment per line; compare systems with the first."""
    with work(quiet or as_json or per_line) as (console, progress):
        from speechbench import scoring
        from speechbench.printing import score as printing_score

        found = scoring.score(progress=progress, **what)
    printing_score.scores(found, console, as_json, per_line)


def _group(name: str, what: str) -> click.Group:
    @main.group(name, cls=Group, help=what)
    def group() -> None:
        pass

    return group


def _listing(name: str, registry: Registry[Any], what: str) -> click.Group:
    group = _group(name, what)

    @group.command("list", help=f"All {name} by name, and where they are registered.")
    @options("json")
    def list_(as_json: bool) -> None:
        printing.places(registry.places(), as_json)

    return group


_rewards = _group("rewards", "What a hypothesis is worth.")
_models = _listing("models", MODELS, "What is trained.")
_listing("trainers", TRAINERS, "How it learns.")
_benchmarks = _group("benchmarks", "What is asked.")
main.add_command(cli_ablate.recipes)


@_models.command("show")
@click.argument("spec", default="tiny")
@step_options
@options("json")
def show_model(spec: str, as_json: bool, **step: Any) -> None:
    """What the model SPEC is, its parameters by part, and the memory that training it takes."""
    with work(as_json) as (_, progress):
        progress.advance(f"looking at {spec}", 0, 1)
        from speechbench.models import describing

        found = describing.show(spec, **step)
    printing_models.card(found, as_json)


@_rewards.command("list")
@options("json")
def list_rewards(as_json: bool) -> None:
    """All rewards by name, and what they are."""
    from speechbench.rewards.describing import listing

    printing_rewards.listing(listing(), as_json)


@_rewards.command()
@click.argument("spec")
@options("benchmark", "json")
def show(spec: str, benchmark: str, as_json: bool) -> None:
    """What the reward SPEC is, its parameters, what it needs, and its signature."""
    from speechbench.rewards import describing

    printing_rewards.description(describing.show(spec, benchmark), as_json)


@_rewards.command()
@click.option("--rewards", callback=specs, help="Instead of the benchmark's metrics and some overlap rewards.")
@click.option("--split", default="test", show_default=True)
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Use only the first so many.")
@options("benchmark", "json", "quiet")
def audit(as_json: bool, quiet: bool, **what: Any) -> None:
    """Score the gold answer, a near miss and useless outputs: does any useless one beat the near miss?"""
    with work(quiet or as_json) as (console, progress):
        from speechbench.rewards.audit import audit

        found = audit(progress=progress, **what)
    printing_rewards.audit(found, console, as_json)


@_benchmarks.command("list")
@options("json")
def list_benchmarks(as_json: bool) -> None:
    """All benchmarks by name, and what they are."""
    from speechbench.benchmarks.describing import listing

    printing_benchmarks.listing(listing(), as_json)


@_benchmarks.command("show")
@click.argument("spec")
@options("json")
def show_benchmark(spec: str, as_json: bool) -> None:
    """What the benchmark SPEC is, and three examples of it."""
    with work(as_json) as (_, progress):
        progress.advance(f"looking at {spec}", 0, 1)
        from speechbench.benchmarks import describing

        found = describing.show(spec)
    printing_benchmarks.card(found, as_json)


@_benchmarks.command()
@click.argument("benchmark")
@options("strict", "json", "quiet")
def prepare(benchmark: str, strict: bool, as_json: bool, quiet: bool) -> None:
    """Make or fetch the data of BENCHMARK, read it once, fingerprint it."""
    with work(quiet or as_json) as (console, progress):
        from speechbench import benchmarks

        ready = benchmarks.prepare(benchmark, progress.advance)
    printing_benchmarks.prepared(ready, console, as_json)
    if strict or not any(split.examples for split in ready.splits.values()):
        ready.refuse_problems()


@_benchmarks.command()
@click.argument("benchmark")
@click.option("--problems", type=click.Path(dir_okay=False), help="Write all problems and oddities to this TSV.")
@options("strict", "json", "quiet")
def check(benchmark: str, problems: str | None, strict: bool, as_json: bool, quiet: bool) -> None:
    """Read all of BENCHMARK: what is there, missing, broken, odd?"""
    with work(quiet or as_json) as (console, progress):
        from speechbench import benchmarks

        found = benchmarks.check(benchmark, progress.advance, problems=problems)
    printing_benchmarks.checked(found, console, as_json)
    if strict or not found.total.found:
        found.refuse_problems()
