"""Handing out the runs of a plan to workers, wherever these are, and following how far they are."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from speechbench.engines.base import WAIT, Left
from speechbench.engines.doing import DIED, DONE, FAILED, HELD, Outcome
from speechbench.errors import SpeechbenchError
from speechbench.grid import PlannedRun
from speechbench.interrupts import TOLD, graceful_stop
from speechbench.locks import is_held
from speechbench.one_run import name_of
from speechbench.progress import Progress
from speechbench.run_now import Now, now

_LOOK = 0.25  # seconds between looks at how far the runs are
DEATHS = 3
"""Of workers, that a run may cost without getting further before it counts as failed."""


class Pool(Protocol):
    """Workers that do runs."""

    def free(self) -> int:
        """How many runs can be begun now."""

    def begin(self, run: PlannedRun) -> None:
        """Hands a run to a worker."""

    def outcomes(self, seconds: float) -> Sequence[Outcome]:
        """What came of runs since it was asked last; waits for something so long at most."""

    def stop(self) -> None:
        """Asks all workers to end the present step, save it, and end."""

    def close(self) -> None:
        """Ends all workers at once."""


@dataclass
class _AtWork:
    """A run that a worker does.

    Attributes:
        number: Of the run.
        run: It.
        progress: Where it is drawn.
        place: Of its bar among those of other runs.
        news: What was drawn last.
    """

    number: int
    run: PlannedRun
    progress: Progress
    place: int
    news: Now = field(default_factory=lambda: Now("", 0, 0))

    def look(self) -> None:
        """Draws what is new."""
        news = now(self.run.folder)
        if news is None or news == self.news:
            return
        before, self.news = self.news, news
        for text in news.told[len(before.told) :]:
            if text != TOLD:  # of the stop the person was told already, and once is enough
                self.progress.tell(text)
        if news.what == "training":
            self.progress.step({**news.values, "step": news.done, "steps": news.total})
        elif news.total:
            self.progress.advance(news.what, news.done, news.total)


def drive(left: Left, pool: Pool) -> None:
    """Has all runs done that are left, each as soon as what it starts from is finished and a worker is free.

    Raises:
        KeyboardInterrupt: If it was asked to stop: after the present steps, whose checkpoints are then there, or at the
            second signal at once.
    """
    at_work: dict[str, _AtWork] = {}
    deaths: Counter[tuple[str, int]] = Counter()
    not_before: dict[str, float] = {}
    is_stopping = False
    with graceful_stop(left.progress.tell) as stop:
        try:
            while left:
                if not stop.asked:
                    _hand_out(left, pool, at_work, not_before)
                elif not at_work:
                    raise KeyboardInterrupt
                elif not is_stopping:
                    is_stopping = True
                    pool.stop()
                if not at_work and left:
                    left.waiting()
                for outcome in pool.outcomes(_LOOK):
                    its = at_work.pop(outcome.id)
                    its.look()
                    not_before[outcome.id] = time.monotonic() + (WAIT if outcome.state == HELD else 0.0)
                    if not (stop.asked and outcome.state == DIED):  # it was not ready to hear of the stop
                        _take(left, its, outcome, deaths)
                for its in at_work.values():
                    its.look()
                left.collect(besides=at_work)
        finally:
            pool.close()


def _hand_out(left: Left, pool: Pool, at_work: dict[str, _AtWork], not_before: Mapping[str, float]) -> None:
    for number, run in left.ready():
        if not pool.free():
            return
        if run.id in at_work or time.monotonic() < not_before.get(run.id, 0.0):
            continue
        if is_held(run.folder):
            left.is_anothers(run)
            continue
        place = _lowest({its.place for its in at_work.values()})
        its = _AtWork(number, run, left.progress.beside(place), place)
        at_work[run.id] = its
        left.begin(number, run, its.progress)
        pool.begin(run)


def _lowest(taken: Collection[int]) -> int:
    return next(place for place in range(len(taken) + 1) if place not in taken)


def _take(left: Left, its: _AtWork, outcome: Outcome, deaths: Counter[tuple[str, int]]) -> None:
    """Takes in what came of a run."""
    if outcome.state == DONE or its.run.is_finished:
        left.done(its.number, its.run, its.progress)
    elif outcome.state == FAILED:
        left.failed(its.number, its.run, outcome.error or SpeechbenchError(f"{name_of(its.run)} failed"))
    elif outcome.state == HELD:
        left.is_anothers(its.run)
    elif outcome.state == DIED:
        at = outcome.id, its.news.steps_done  # machines of the cheap kind go often, and the run gets on all the same
        deaths[at] += 1
        if deaths[at] < DEATHS:
            left.progress.tell(f"{name_of(its.run)}: {outcome.error}; it goes on from its last checkpoint")
        else:
            error = SpeechbenchError(f"{name_of(its.run)} was begun {DEATHS} times, and each time {outcome.error}")
            left.failed(its.number, its.run, error)
