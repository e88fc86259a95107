"""What the commands share."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest
from click.testing import CliRunner

from speechbench.cli import main

DONE_BY = {
    "scoring": ["score"],
    "rewards.audit": ["audit"],
    "benchmarks": ["check", "prepare"],
    "benchmarks.describing": ["show"],
    "evaluation": ["evaluate_model"],
    "ablation": ["plan", "train"],
}


@pytest.mark.parametrize(
    ("words", "goes_on"),
    [
        (["score", "--hyp", "h.txt"], False),
        (["rewards", "audit"], False),
        (["benchmarks", "show", "covost2-mini"], False),
        (["benchmarks", "check", "covost2-mini"], False),
        (["benchmarks", "prepare", "covost2-mini"], False),
        (["eval"], False),
        (["ablate", "--rewards", "bleu"], True),
        (["train", "--trainer", "sft"], True),
    ],
)
def test_only_what_is_kept_is_said_to_be_kept(monkeypatch: pytest.MonkeyPatch, words: list[str], goes_on: bool) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for module, names in DONE_BY.items():
        for name in names:
            monkeypatch.setattr(import_module(f"speechbench.{module}"), name, stop)
    monkeypatch.setattr("os._exit", sys.exit)
    stopped = CliRunner().invoke(main, words)
    assert stopped.exit_code == 1
    assert stopped.stderr.rstrip().endswith("goes on from there." if goes_on else "Stopped.")
