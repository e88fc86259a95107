"""What the commands share: errors as one sentence, options, and progress while they work."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from speechbench import distributed
from speechbench.errors import SpeechbenchError, sentence_of
from speechbench.grammar import split_outside_brackets

if TYPE_CHECKING:
    from rich.console import Console

    from speechbench.progress import Progress

F = TypeVar("F", bound=Callable[..., Any])


class Group(click.Group):
    """Turns our errors into one sentence and an exit status: 1 the work failed, 2 the call was wrong."""

    def invoke(self, context: click.Context) -> Any:
        try:
            with distributed.ending_together():
                return super().invoke(context)
        except distributed.EndedElsewhere as error:
            distributed.leave(error.exit_status)
        except SpeechbenchError as error:
            click.echo(f"speechbench: {error}", err=True)
            distributed.leave(error.exit_status)
        except BrokenPipeError:
            raise  # nobody reads on, as with `| head`: click ends quietly
        except OSError as error:
            sentence = sentence_of(error)
            if sentence is None:
                raise
            click.echo(f"speechbench: {sentence}", err=True)
            distributed.leave(1)
        except click.ClickException as error:
            if distributed.world_size() == 1:
                raise
            error.show()
            distributed.leave(error.exit_code)
        except Exception as error:
            if distributed.world_size() == 1 or isinstance(error, click.exceptions.Exit):
                raise
            sys.excepthook(type(error), error, error.__traceback__)  # now: the others wait until it is said
            distributed.leave(1)

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            import difflib

            nearest = difflib.get_close_matches(args[0], self.list_commands(context), n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            raise click.UsageError(f"{error.message.rstrip('.')}.{hint}", context) from None


def specs(_: click.Context, __: click.Parameter, value: str | None) -> list[str]:
    """Callback of an option that takes several specs."""
    return split_outside_brackets(value or "")


def numbers(_: click.Context, __: click.Parameter, value: str | None) -> list[int]:
    """Callback of an option that takes several whole numbers."""
    try:
        return [int(part) for part in value.split(",")] if value else []
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of whole numbers like 0,1,2") from None


def _folders(_: click.Context, __: click.Parameter, value: tuple[Path, ...]) -> tuple[Path, ...]:
    """Where runs are looked for, by default where they are made."""
    return value or (Path("runs"),)


def several(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def options(*names: str) -> Callable[[F], F]:
    """The options that several commands share, in this order."""
    known = {
        "benchmark": click.option("--benchmark", default="covost2-mini", show_default=True, help="What is asked."),
        "model": click.option("--model", default="tiny", show_default=True, help="A name, run or checkpoint folder."),
        "metrics": click.option("--metrics", callback=specs, help="Instead of the benchmark's own."),
        "steps": click.option("--steps", type=click.IntRange(1), help="Optimizer steps of every trainer."),
        "limit": click.option("--limit", type=click.IntRange(1), help="Use only the first so many examples."),
        "strict": click.option("--strict", is_flag=True, help="End with an error if data is missing or broken."),
        "config": click.option(
            "--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="YAML: trainer to settings."
        ),
        "out": click.option("--out", default="runs", show_default=True, type=click.Path(path_type=Path)),
        "folders": click.argument("folders", nargs=-1, type=click.Path(path_type=Path), callback=_folders),
        "json": click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        "quiet": click.option("--quiet", is_flag=True, help="No progress."),
    }

    return several(*(known[name] for name in names))


def step_options(function: F) -> F:
    """What a training step is given, as `speechbench.models.memory.Step` names it."""
    numbers = (
        ("prompts", 8, "Examples in a forward pass."),
        ("group-size", 8, "Completions of each, G."),
        ("prompt-tokens", 64, "Of each instruction."),
        ("completion-tokens", 200, "Of each completion."),
    )
    return several(
        *(
            click.option(f"--{name}", type=click.IntRange(1), default=value, show_default=True, help=text)
            for name, value, text in numbers
        ),
        click.option(
            "--seconds", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True, help="Of audio."
        ),
        click.option("--reference/--no-reference", "with_reference", default=True, help="Without for beta=0."),
        click.option("--bf16", is_flag=True, help="Under bfloat16 autocast."),
        click.option("--gradient-checkpointing", is_flag=True, help="Activations are computed again."),
    )(function)


@contextmanager
def work(quiet: bool, resumes: bool = False) -> Iterator[tuple[Console, Progress]]:
    """Draws progress, where several processes train together the main one's; on Ctrl-C says that it was stopped.

    Args:
        quiet: Draw nothing.
        resumes: Whether what is finished is kept, so that the same command goes on from there: said on Ctrl-C. Such
            commands train, which several processes can do together.

    Raises:
        UsageError: If several processes were started for a command that does not train.
    """
    if resumes:
        distributed.begin()
    else:
        distributed.require_alone()
    from rich.console import Console

    from speechbench.progress import Progress
    from speechbench.terminal import TerminalProgress

    console = Console()
    # As batch systems ask to end: like Ctrl-C, wherever the work is.
    previous = signal.getsignal(signal.SIGTERM)
    if previous == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with distributed.ending_together():
            if quiet or not distributed.is_main():
                yield console, Progress()
            else:
                with TerminalProgress(Console(stderr=True)) as progress:
                    yield console, progress
        distributed.said()
    except KeyboardInterrupt:
        kept = " Finished runs and checkpoints are kept: the same command goes on from there." if resumes else ""
        click.echo(f"\nStopped.{kept}", err=True)
        distributed.said()
        os._exit(1)  # nothing is left to be written; taking torch down in good order takes seconds
    finally:
        signal.signal(signal.SIGTERM, previous)
