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
