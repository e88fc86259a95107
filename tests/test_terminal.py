"""The bars: what moves the one of all runs, and what does not."""

from __future__ import annotations

import io

from rich.console import Console

from speechbench.terminal import TerminalProgress


def test_work_between_steps_moves_only_the_bar_of_what_goes_on_now() -> None:
    progress = TerminalProgress(Console(file=io.StringIO()))
    of_all, now = progress._bars.tasks
    progress.plan(10)
    progress.start("sft", 1, 1)
    progress.step({"step": 1, "steps": 4, "loss": 1.0})
    progress.aside("validating", 50, 90)
    assert (of_all.completed, now.completed, now.total) == (1, 50, 90)
    assert "validating" in now.description
    progress.step({"step": 2, "steps": 4, "loss": 1.0})
    assert (of_all.completed, now.completed, now.total) == (2, 2, 4)


def test_runs_at_once_have_a_bar_each_and_move_the_one_of_all() -> None:
    progress = TerminalProgress(Console(file=io.StringIO()))
    progress.plan(20)
    first, second = progress.beside(0), progress.beside(1)
    assert progress.beside(1) is second
    first.start("sft", 1, 2)
    second.start("grpo", 2, 2)
    first.step({"step": 3, "steps": 4, "loss": 1.0})
    second.step({"step": 2, "steps": 4, "reward": 0.5, "loss": 1.0})
    second.step({"step": 4, "steps": 4, "reward": 0.5, "loss": 1.0})
    of_all, _, of_first, of_second = progress._bars.tasks
    assert (of_all.completed, of_first.completed, of_second.completed) == (7, 3, 4)
    assert "1/2 sft" in of_first.description and "2/2 grpo reward 0.500" in of_second.description
