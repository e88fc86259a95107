"""docs/recipes.md: its commands work and its settings are taken as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from speechbench import recipes
from speechbench.cli import main
from speechbench.planning import plan

PAGE = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_page(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "--sweep-trials" in command:
        pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    program, *words = shlex.split(command)
    done = CliRunner().invoke(main, words)
    assert program == "speechbench" and done.exit_code == 0, done.output


def test_the_settings_on_the_page_are_taken(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    config = yaml.safe_load(block)
    found = plan(["bleu", "chrf"], ["grpo", "sft+grpo"], config=config, limit=2, out=tmp_path)
    taken = {run.label: run.config for run in found.runs}
    rates = {label: getattr(taken[label], "learning_rate", None) for label in ("grpo(bleu)", "grpo(chrf)")}
    assert rates == {"grpo(bleu)": 1e-5, "grpo(chrf)": 3e-5}
    assert getattr(taken["sft+grpo(bleu)"], "beta", None) == 0.0


def test_every_recipe_is_on_the_page() -> None:
    assert {name for name in recipes.list() if f"`{name}`" not in PAGE} == set()
