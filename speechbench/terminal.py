"""Progress drawn in the terminal, or told in plain lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from speechbench.progress import Progress

_QUIET_SECONDS = 10.0  # between plain lines, where no bar can be drawn


class TerminalProgress(Progress):
    """Two bars: all runs, and what goes on now. A context manager."""

    _bars: Bars
    _all: TaskID

    def __init__(self, console: Console, among: TerminalProgress | None = None) -> None:
        """Args: where it is drawn, and whose bars this one of several runs stands below."""
        self._console = console
        if among is not None:
            self._bars, self._all = among._bars, among._all
            self._begin()
            return
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._all = self._bars.add_task("all runs", total=None, visible=False)
        self._begin()

    def _begin(self) -> None:
        self._now = self._bars.add_task("", total=None, visible=False)
        self._label = ""
        self._done = 0
        self._told = time.monotonic()
        self._beside: dict[int, TerminalProgress] = {}

    def __enter__(self) -> TerminalProgress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def plan(self, units: int) -> None:
        """Shows the bar of all runs."""
        self._bars.reset(self._all, total=units, visible=True)

    def start(self, what: str, number: int, total: int) -> None:
        """Names the run."""
        self._label, self._done = f"{number}/{total} {what}", 0
        self._bars.update(self._all, description=f"run {number} of {total}")
        self._bars.reset(self._now, total=None, description=escape(self._label), visible=True)

    def step(self, logged: Mapping[str, float]) -> None:
        """Shows the step with its reward, or its loss where there is none."""
        name = "reward" if "reward" in logged else "loss"
        self._show(f"{self._label} {name} {logged[name]:.3f}", int(logged["step"]), int(logged["steps"]))

    def advance(self, what: str, done: int, total: int) -> None:
        """Shows other work."""
        self._show(f"{self._label} {what}".strip(), done, total)

    def aside(self, what: str, done: int, total: int) -> None:
        """Shows work between two steps, without a move of the bar of all runs."""
        self._draw(f"{self._label} {what}".strip(), done, total)

    def _show(self, text: str, done: int, total: int) -> None:
        self._bars.update(self._all, advance=done - self._done if done > self._done else done)
        self._done = done
        self._draw(text, done, total)

    def _draw(self, text: str, done: int, total: int) -> None:
        self._bars.update(self._now, description=escape(text), completed=done, total=total, visible=True)
        if not self._console.is_terminal and time.monotonic() - self._told > _QUIET_SECONDS:
            self._told = time.monotonic()
            self._console.print(f"{text} {done}/{total}", markup=False, highlight=False)

    def tell(self, text: str) -> None:
        """Prints it above the bars, its lines as they are: they may be a table's."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def finish(self, what: str, seconds: float, summary: str) -> None:
        """Leaves a line about the run."""
        self._bars.update(self._now, visible=False)
        self._console.print(f"{self._label}: {summary} ({seconds:.0f} s)", markup=False, highlight=False)

    def beside(self, place: int) -> TerminalProgress:
        """A bar for one of several runs at once."""
        if place not in self._beside:
            self._beside[place] = TerminalProgress(self._console, self)
        return self._beside[place]

    def skip(self, units: int) -> None:
        """Counts what need not be done."""
        self._bars.update(self._all, total=(self._bars.tasks[self._all].total or units) - units)
