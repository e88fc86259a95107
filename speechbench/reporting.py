"""Experiment trackers that hear of every training as it goes on: TensorBoard, Weights & Biases, Trackio.

They are spectators: what goes wrong with them is told, and the run goes on. The run folder stays the truth.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechbench.errors import UsageError, did_you_mean
from speechbench.libraries import needed
from speechbench.progress import Progress, Relay
from speechbench.run_schema import run_name
from speechbench.runs import read_run
from speechbench.settings import described

if TYPE_CHECKING:
    from speechbench.grid import PlannedRun
    from speechbench.planning import Plan

TRACKERS = ("tensorboard", "wandb", "trackio")
PROJECT = "speechbench"
"""Of Weights & Biases and Trackio; WANDB_PROJECT says another for the former."""
EVENTS = "tensorboard"
"""Folder beside the runs, for `tensorboard --logdir`."""


def check(names: Sequence[str]) -> tuple[str, ...]:
    """Refuses trackers that there are not.

    Returns:
        The names, each once.

    Raises:
        UsageError: If a name is none of `TRACKERS`.
        MissingError: If a package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise UsageError(f"report_to={name!r} is none of {', '.join(TRACKERS)}: {did_you_mean(name, TRACKERS)}")
        with redirect_stdout(sys.stderr):
            needed(name, name, f"report_to={name}")
    return tuple(dict.fromkeys(names))


@contextmanager
def reported(progress: Progress, planned: Plan, run: PlannedRun) -> Iterator[Progress]:
    """A progress that also tells the trackers what it hears of a training, and in the end what was measured.

    Args:
        progress: Hears everything too.
        planned: Says which trackers.
        run: One that is not trained is none of theirs.
    """
    if not planned.asked.report_to or run.config is None:
        yield progress
        return
    reporter = _Reporter(progress, planned, run)
    try:
        yield reporter
        reporter.measured()
    finally:
        reporter.close()


class _Reporter(Relay):
    """Tells trackers, which are begun with the first step: only then it is known which it is."""

    def __init__(self, progress: Progress, planned: Plan, run: PlannedRun) -> None:
        super().__init__(progress)
        self._planned, self._run = planned, run
        self._trackers: dict[str, Any] | None = None

    def step(self, logged: Mapping[str, float]) -> None:
        super().step(logged)
        values = {f"train/{name}": value for name, value in logged.items() if name not in ("step", "steps")}
        self._log(values, int(logged["step"]))

    def measured(self) -> None:
        """Tells what came out, once the result is written."""
        result = read_run(self._run.folder).result
        if result is not None:
            scores = {f"{self._planned.asked.split}/{name}": score for name, score in result.metrics.items()}
            self._log({name: score for name, score in scores.items() if score is not None}, self._run.steps)

    def close(self) -> None:
        """Lets the trackers finish what they have to say."""
        self._each(lambda name, tracker: tracker.finish())

    def _log(self, values: Mapping[str, float], step: int) -> None:
        known = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        if self._trackers is None:
            self._trackers = dict.fromkeys(self._planned.asked.report_to)
            self._each(lambda name, _: self._begin(name, step))
        self._each(lambda name, tracker: tracker.log(known, step=step))

    def _begin(self, name: str, step: int) -> None:
        assert self._trackers is not None
        self._trackers[name] = _begun(name, self._planned, self._run, step)

    def _each(self, do: Callable[[str, Any], None]) -> None:
        """Does something with every tracker; one with which it cannot be done hears no more."""
        for name, tracker in list((self._trackers or {}).items()):
            try:
                with redirect_stdout(sys.stderr):  # where what they print spoils no JSON
                    do(name, tracker)
            except Exception as error:  # of the network, of the service, of its library: no reason to lose a training
                assert self._trackers is not None
                del self._trackers[name]
                said = " ".join(str(error).split()) or type(error).__name__
                self.tell(f"report_to={name} fails, and hears no more of this run, which goes on: {said}")


def _begun(name: str, planned: Plan, run: PlannedRun, step: int) -> Any:
    """A tracker of accelerate's, told what the run is.

    Args:
        name: Of `TRACKERS`.
        planned: The ablation.
        run: The run, which it goes on with where it was stopped.
        step: The first that it is told of.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    assert run.config is not None
    called = f"{run_name(run.label, run.seed)} {run.id[:8]}"
    config = {**described(run.config), "trainer": run.trainer, "seed": run.seed, "run": run.id}
    if name == "tensorboard":
        folder = Path(planned.folder) / EVENTS
        tracker = LOGGER_TYPE_TO_CLASS[name](called.replace("/", "-"), folder, purge_step=step)
    else:
        more: dict[str, Any] = {"id": run.id, "dir": str(planned.folder)} if name == "wandb" else {}
        project = (name == "wandb" and os.environ.get("WANDB_PROJECT")) or PROJECT
        tracker = LOGGER_TYPE_TO_CLASS[name](
            project, name=called, group=planned.folder.name, resume="allow", config=config, **more
        )
    tracker.main_process_only = False  # only the main one gets here, and the others are not to be waited for
    tracker.start()
    if name == "tensorboard":
        tracker.log({"configuration": json.dumps(config, indent=1, default=str)}, step=step)
    return tracker
