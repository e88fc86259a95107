"""The command that a page shows for a run repeats that run."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from speechbench import cli
from speechbench.leaderboard.page import command_of
from speechbench.leaderboard.page.commands import SETTINGS, Repeat, repeat
from speechbench.run_schema import MetricInfo, RunInfo, Sampled
from speechbench.settings import read_sections

METRICS = (MetricInfo("bleu", "BLEU", "bleu", 100.0, {}), MetricInfo("comet(model=tiny)", "comet", "mean", 100.0, {}))
CONFIG = {"max_steps": 20, "learning_rate": 1e-5, "limit": None, "bf16": False, "reward_signature": {"name": "bleu"}}


def info(**changes: Any) -> RunInfo:
    fields: dict[str, Any] = {
        "id": "a", "label": "grpo(bleu)", "trainer": "grpo", "reward": "bleu", "seed": 3, "model": "tiny",
        "model_fingerprint": "w", "benchmark": "covost2-mini", "data_fingerprint": "d", "config": CONFIG,
        "metrics": METRICS, "provenance": {"commit": "abc123", "processes": 1},
    }  # fmt: skip
    return RunInfo(**{**fields, **changes})


def parsed(found: Repeat, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, Any]]:
    """The subcommand and its parameters, as the real command reads the last line."""
    monkeypatch.chdir(folder)
    if found.settings is not None:
        (folder / SETTINGS).write_text(found.settings)
    words = shlex.split(found.command.splitlines()[-1])
    words = words[words.index("speechbench") + 1 :]
    command = cli.main.get_command(click.Context(cli.main), words[0])
    assert command is not None
    return words[0], command.make_context(words[0], words[1:]).params


def test_a_training_is_named_with_all_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = repeat(info())
    name, told = parsed(found, tmp_path, monkeypatch)
    assert found.command.splitlines()[0] == "git checkout abc123" and found.remarks == ()
    assert name == "train" and told["trainer"] == "grpo" and told["reward"] == ["bleu"] and told["seed"] == 3
    assert told["steps"] == 20 and told["limit"] is None and told["metrics"] == ["bleu", "comet(model=tiny)"]
    assert (told["benchmark"], told["model"]) == ("covost2-mini", "tiny")
    assert read_sections(tmp_path / SETTINGS) == {"grpo": {"learning_rate": 1e-5, "bf16": False}}


def test_stages_have_a_section_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**CONFIG, "max_steps": 5, "limit": 8, "start": {"max_steps": 9, "learning_rate": 2e-4, "limit": 8}}
    _, told = parsed(repeat(info(trainer="sft+grpo", config=config)), tmp_path, monkeypatch)
    assert told["trainer"] == "sft+grpo" and told["steps"] is None and told["limit"] == 8
    sections = read_sections(tmp_path / SETTINGS)
    assert sections == {
        "sft": {"max_steps": 9, "learning_rate": 2e-4},
        "sft+grpo": {"max_steps": 5, "learning_rate": 1e-5, "bf16": False},
    }


def test_limits_that_differ_stay_in_the_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**CONFIG, "limit": 8, "start": {"max_steps": 20, "limit": None}}
    _, told = parsed(repeat(info(trainer="sft+grpo", config=config)), tmp_path, monkeypatch)
    assert told["limit"] is None and told["steps"] == 20
    sections = read_sections(tmp_path / SETTINGS)
    assert sections["sft"] == {"limit": None} and sections["sft+grpo"]["limit"] == 8


def test_the_base_model_is_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = info(trainer=None, reward=None, seed=None, label="base", config={}, split="validation")
    name, told = parsed(repeat(base, limit=7), tmp_path, monkeypatch)
    assert name == "eval" and told["split"] == "validation" and told["limit"] == 7 and told["model"] == "tiny"
    sampled = Sampled(0.9, 0.8, {"bleu": (1.0, 2.0, 3.0)})
    _, told = parsed(repeat(base, sampled=sampled), tmp_path, monkeypatch)
    assert (told["passes"], told["temperature"], told["top_p"]) == (3, 0.9, 0.8)


def test_sampled_answers_are_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, told = parsed(repeat(info(), sampled=Sampled(0.7, 0.8, {"bleu": (1.0, 2.0)})), tmp_path, monkeypatch)
    assert (told["sampled_passes"], told["sampled_temperature"], told["sampled_top_p"]) == (2, 0.7, 0.8)


def test_a_control_of_the_input_comes_with_an_ablation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = info(trainer=None, reward=None, seed=None, label="no-audio", control="no-audio", config={})
    found = repeat(control)
    name, told = parsed(found, tmp_path, monkeypatch)
    assert name == "ablate" and told["controls"] and told["trainers"] == ["sft"] and "no-audio" in found.remarks[0]


def test_several_processes_have_a_launcher() -> None:
    line = command_of(info(provenance={"processes": 4})).splitlines()[-1]
    assert line.startswith("torchrun --standalone --nproc-per-node 4 -m speechbench train ")


def test_what_a_shell_would_read_is_quoted() -> None:
    hostile = "comet(model='$(rm -rf ~)'; `x`)"
    command = command_of(info(reward=hostile, benchmark="a b", provenance={"commit": "abc; rm -rf ~+"}))
    checkout, train = map(shlex.split, command.splitlines())
    assert checkout == ["git", "checkout", "abc; rm -rf ~"]
    assert train[train.index("--reward") + 1] == hostile and train[train.index("--benchmark") + 1] == "a b"


def test_what_the_command_leaves_open_is_said() -> None:
    def said(**changes: Any) -> str:
        return " ".join(repeat(info(**changes)).remarks)

    assert "no commit holds" in said(provenance={"commit": "abc+"})
    assert "commit is not known" in said(provenance={})
    assert "measures on test" in said(split="validation")
    assert "path/to/file.py:mine" in said(reward="shuffled(0.5*bleu + 0.5*mine)")
    assert "path/to/file.py:own-trainer" in said(trainer="own-trainer")


@pytest.mark.parametrize("trainer", ["grpo", "sft+grpo", "sft"])
def test_the_command_plans_the_very_run(trainer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from speechbench.one_run import info_of
    from speechbench.planning import plan

    config = {"grpo": {"learning_rate": 3e-5, "beta": 0.1}} if "grpo" in trainer else {"sft": {"weight_decay": 0.01}}
    rewards = ["0.7*bleu + 0.3*chrf"] if "grpo" in trainer else []
    planned = plan(
        rewards, [trainer], seeds=[2], limit=3, config=config, out=tmp_path / "runs", metrics=["bleu", "chrf"]
    )
    run = planned.runs[-1]
    its = info_of(planned, run)
    _, told = parsed(repeat(replace(its)), tmp_path, monkeypatch)
    again = plan(
        told["reward"], [told["trainer"]], told["benchmark"], told["model"], [told["seed"]], steps=told["steps"],
        limit=told["limit"], config=read_sections(told["config"]), out=tmp_path / "runs", metrics=told["metrics"],
    )  # fmt: skip
    assert [other.id for other in again.runs] == [other.id for other in planned.runs]
