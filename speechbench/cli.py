"""The command `speechbench`: parses, calls, prints. What it does is in the Python API under the same names."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import speechbench
from speechbench import printing
from speechbench.errors import SpeechbenchError, UsageError, sentence_of
from speechbench.registry import BENCHMARKS, MODELS, REWARDS, TRAINERS, Registry
from speechbench.specs import split_outside_brackets

if TYPE_CHECKING:
    from rich.console import Console

    from speechbench.progress import Progress

F = TypeVar("F", bound=Callable[..., Any])


class _Group(click.Group):
    """Turns our errors into one sentence and an exit status: 1 the work failed, 2 the call was wrong."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except SpeechbenchError as error:
            click.echo(f"speechbench: {error}", err=True)
            sys.exit(error.exit_status)
        except BrokenPipeError:
            raise  # nobody reads on, as with `| head`: click ends quietly
        except OSError as error:
            sentence = sentence_of(error)
            if sentence is None:
                raise
            click.echo(f"speechbench: {sentence}", err=True)
            sys.exit(1)

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            import difflib

            nearest = difflib.get_close_matches(args[0], self.list_commands(context), n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            raise click.UsageError(f"{error.message.rstrip('.')}.{hint}", context) from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(speechbench.__version__)
def main() -> None:
    """Which reward should a speech-aware language model be trained on?

    Start with `speechbench ablate --rewards bleu,comet`: it trains the embedded model on the embedded
    corpus once per reward and ranks what came out.
    """


def _specs(_: click.Context, __: click.Parameter, value: str | None) -> list[str]:
    return split_outside_brackets(value or "")


def _seeds(_: click.Context, __: click.Parameter, value: str) -> list[int]:
    try:
        return [int(part) for part in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of whole numbers like 0,1,2") from None


def _options(*names: str) -> Callable[[F], F]:
    """The options that several commands share, in this order."""
    known = {
        "benchmark": click.option("--benchmark", default="covost2-mini", show_default=True, help="What is asked."),
        "model": click.option("--model", default="tiny", show_default=True, help="A name, run or checkpoint folder."),
        "steps": click.option("--steps", type=click.IntRange(1), help="Optimizer steps of every trainer."),
        "limit": click.option("--limit", type=click.IntRange(1), help="Use only the first so many examples."),
        "config": click.option(
            "--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="YAML: trainer to settings."
        ),
        "out": click.option("--out", default="runs", show_default=True, type=click.Path(path_type=Path)),
        "json": click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        "quiet": click.option("--quiet", is_flag=True, help="No progress."),
    }

    def decorate(function: F) -> F:
        for name in reversed(names):
            function = known[name](function)
        return function

    return decorate


@main.command()
@click.option("--rewards", callback=_specs, help="Rewards to compare, as in bleu,comet or ./file.py:name.")
@click.option("--trainers", callback=_specs, default="sft,grpo,mixed-grpo", show_default=True)
@click.option("--seeds", callback=_seeds, default="0", show_default=True, help="As in 0,1,2.")
@click.option("--controls", is_flag=True, help="Also rewards that must not win, and the base model without the speech.")
@click.option("--dry-run", is_flag=True, help="Print which runs would be done.")
@_options("benchmark", "model", "steps", "limit", "config", "out", "json", "quiet")
def ablate(dry_run: bool, as_json: bool, quiet: bool, config: Path | None, out: Path, **grid: Any) -> None:
    """Train once per reward, trainer and seed, measure everything, rank."""
    with _work(quiet or as_json) as (console, progress):
        from speechbench import ablation

        grid.update(config=_read_config(config), out=out, progress=progress)
        planned = ablation.plan(**grid)
        if not dry_run:
            ablation.run_all(planned, progress)
    if dry_run:
        printing.plan(planned, as_json)
        return
    printing.boards([ablation.board_of(planned)], as_json)
    if not as_json:
        console.print(
            f"Runs: {planned.folder}\nShow this again: speechbench leaderboard {planned.folder}", soft_wrap=True
        )


@main.command()
@click.option("--trainer", required=True, help="sft, grpo, mixed-grpo, or your own.")
@click.option("--reward", callback=_specs, help="What it is trained on; none for sft.")
@click.option("--seed", type=int, default=0, show_default=True)
@_options("benchmark", "model", "steps", "limit", "config", "out", "json", "quiet")
def train(
    trainer: str, reward: list[str], seed: int, as_json: bool, quiet: bool, config: Path | None, out: Path, **grid: Any
) -> None:
    """Do one training and its evaluation, beside the base model's."""
    if len(reward) > 1:
        raise UsageError(
            f"train does one run: give one reward, not {len(reward)}; `speechbench ablate` compares several"
        )
    with _work(quiet or as_json) as (console, progress):
        from speechbench import ablation

        grid.update(config=_read_config(config), out=out, progress=progress)
        trained = ablation.train(trainer, reward[0] if reward else None, seed=seed, **grid)
    printing.boards([trained.board], as_json)
    if not as_json:
        console.print(f"Trained model: {trained.model_folder}", soft_wrap=True)


@main.command("eval")
@click.option("--split", default="test", show_default=True)
@click.option("--metrics", callback=_specs, help="Instead of the benchmark's own.")
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True, help="0 is greedy.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of sampling.")
@click.option("--samples", type=click.Path(path_type=Path), help="Write every answer with its scores to this JSONL.")
@_options("benchmark", "model", "limit", "json", "quiet")
def evaluate(as_json: bool, quiet: bool, **what: Any) -> None:
    """Measure one model."""
    with _work(quiet or as_json) as (console, progress):
        from speechbench import evaluation

        measured = evaluation.evaluate_model(progress=progress, **what)
    printing.evaluation(measured, console, as_json)


@main.command()
@click.argument("folder", default="runs", type=click.Path(path_type=Path))
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@_options("json")
def leaderboard(folder: Path, markdown: bool, as_json: bool) -> None:
    """Show what the runs in FOLDER amount to."""
    from speechbench.leaderboard import leaderboard as boards_of

    printing.boards(boards_of(folder), as_json, markdown)


def _listing(name: str, registry: Registry[Any], what: str) -> click.Group:
    @main.group(name, cls=_Group, help=what)
    def group() -> None:
        pass

    @group.command("list", help=f"All {name} by name, and where they are registered.")
    @_options("json")
    def list_(as_json: bool) -> None:
        printing.places(registry.places(), as_json)

    return group


_listing("rewards", REWARDS, "What a hypothesis is worth.")
_listing("models", MODELS, "What is trained.")
_listing("trainers", TRAINERS, "How it learns.")
_benchmarks = _listing("benchmarks", BENCHMARKS, "What is asked.")


@_benchmarks.command()
@click.argument("benchmark")
@_options("quiet")
def prepare(benchmark: str, quiet: bool) -> None:
    """Make the data of BENCHMARK, where it can be made."""
    with _work(quiet) as (_, progress):
        from speechbench import benchmarks

        benchmarks.prepare(benchmark, progress.advance)


@_benchmarks.command()
@click.argument("benchmark")
@_options("json", "quiet")
def check(benchmark: str, as_json: bool, quiet: bool) -> None:
    """Count the examples of BENCHMARK and list all that is missing or broken."""
    with _work(quiet or as_json) as (console, progress):
        from speechbench import benchmarks

        found = benchmarks.check(benchmark, progress.advance)
    printing.check(found, console, as_json)


@contextmanager
def _work(quiet: bool) -> Iterator[tuple[Console, Progress]]:
    """Draws progress; on Ctrl-C says how to go on."""
    from rich.console import Console

    from speechbench.progress import Progress
    from speechbench.terminal import TerminalProgress

    console = Console()
    # As batch systems ask to end: like Ctrl-C, wherever the work is.
    previous = signal.getsignal(signal.SIGTERM)
    if previous == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if quiet:
            yield console, Progress()
        else:
            with TerminalProgress(Console(stderr=True)) as progress:
                yield console, progress
    except KeyboardInterrupt:
        click.echo("\nStopped. Finished runs and checkpoints are kept: the same command goes on from there.", err=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # nothing is left to be written; taking torch down in good order takes seconds
    finally:
        signal.signal(signal.SIGTERM, previous)


def _read_config(path: Path | None) -> dict[str, dict[str, Any]]:
    if path is None:
        return {}
    import yaml

    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: write one section per trainer, as in `grpo: {{learning_rate: 1.0e-5}}`")
    return content
