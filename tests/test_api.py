"""What the command does is a function of the same name, with parameters named as the options."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click
import pytest

import speechbench
from speechbench.cli import main

HOW_IT_IS_SHOWN = {"as_json", "quiet", "markdown", "dry_run", "per_line", "watch", "yes"}


def commands(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))
        else:
            yield (*above, name), command


def function_of(words: tuple[str, ...]) -> Callable[..., Any]:
    *room, name = words
    place = importlib.import_module(".".join(["speechbench", *room])) if room else speechbench
    found: Callable[..., Any] = getattr(place, name)
    return found


@pytest.mark.parametrize("words", [words for words, _ in commands(main)], ids=" ".join)
def test_each_command_is_a_function_and_each_option_a_parameter(words: tuple[str, ...]) -> None:
    command = dict(commands(main))[words]
    options = {parameter.name for parameter in command.params} - HOW_IT_IS_SHOWN
    assert options <= inspect.signature(function_of(words)).parameters.keys()


@pytest.mark.parametrize("words", [words for words, _ in commands(main)], ids=" ".join)
def test_defaults_agree(words: tuple[str, ...]) -> None:
    parameters = inspect.signature(function_of(words)).parameters
    for option in dict(commands(main))[words].params:
        default = option.default
        if option.name in HOW_IT_IS_SHOWN or option.required or not isinstance(default, (str, int, float)):
            continue
        ours = parameters[str(option.name)].default
        shown = ",".join(map(str, ours)) if isinstance(ours, tuple) else ours
        assert str(shown) == str(default), option.name


def test_importing_the_package_and_its_rooms_loads_no_torch() -> None:
    script = (
        "import sys, speechbench, speechbench.rewards, speechbench.benchmarks, speechbench.models\n"
        "import speechbench.trainers, speechbench.leaderboard\n"
        "assert {'tiny', 'granite-speech'} <= speechbench.models.list().keys()\n"
        "assert {'sft', 'grpo', 'mixed-grpo'} <= speechbench.trainers.list().keys()\n"
        "assert 'bleu' in speechbench.rewards.list() and 'manifest' in speechbench.benchmarks.list()\n"
        "print([name for name in ('torch', 'transformers', 'sacrebleu') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'abalte'"):
        speechbench.abalte  # noqa: B018
