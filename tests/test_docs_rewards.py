"""docs/rewards.md names every reward, and its specs and commands work as they stand there."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from speechbench import builtin
from speechbench.benchmarks import load_benchmark
from speechbench.cli import main
from speechbench.grammar import parse_expression
from speechbench.registry import REWARDS
from speechbench.rewards import load_reward

PAGE = (Path(__file__).parents[1] / "docs" / "rewards.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w.]+)`:\n\n```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
(SPECS,) = (block.splitlines() for block in re.findall(r"```\n([^`]*?\*[^`]*?)```", PAGE)[:1])


def test_every_reward_is_in_the_table() -> None:
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    named = {parse_expression(spec).name for row in rows for spec in re.findall(r"`(.*?)`", row)}
    assert named == set(builtin.REWARDS) - {"sum", "product"}


@pytest.mark.parametrize("spec", SPECS)
def test_specs_of_the_page(spec: str) -> None:
    assert load_reward(spec, load_benchmark("covost2-mini")).display


@pytest.mark.parametrize("spec", sorted(set(re.findall(r"`(\w+\(.*?\))`", PAGE.replace("\n", " ")))))
def test_parameters_that_the_page_mentions_exist(spec: str) -> None:
    asked = parse_expression(spec)
    inspect.signature(REWARDS.get(asked.name)).bind(*asked.arguments, **asked.parameters)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_page(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    program, *words = shlex.split(command)
    done = CliRunner().invoke(main, words)
    assert program == "speechbench" and done.exit_code == 0, done.output
