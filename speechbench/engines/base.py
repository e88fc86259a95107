"""What all engines share: the runs that are left, told as they begin and end."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol

from speechbench.errors import SpeechbenchError, sentence_of
from speechbench.grid import PlannedRun
from speechbench.locks import held, holder
from speechbench.one_run import info_of, name_of
from speechbench.planning import Plan
from speechbench.progress import Progress
from speechbench.runs import check_sealed, make_sure_of_run, read_run

WAIT = 1.0
"""Seconds between looks at runs that someone else does."""


class Engine(Protocol):
    """Does the runs of a plan."""

    def run_all(self, planned: Plan, progress: Progress) -> None:
        """Does every run that is not finished; returns when all are.

        A run that fails keeps none of the others from being done.

        Raises:
            SpeechbenchError: Of the first run that failed, once all others are done.
            KeyboardInterrupt: If it was asked to stop; what had begun has a checkpoint.
        """


class Left:
    """The runs of a plan that are not finished yet.

    What another process holds is left to it; then its result is waited for, or its place taken if it goes.

    Args:
        planned: All runs. Those of which nobody is at work are announced: from then on they are on the board.
        progress: Told of everything.
    """

    def __init__(self, planned: Plan, progress: Progress) -> None:
        self.planned, self.progress = planned, progress
        progress.plan(sum(_units(planned, run) for run in planned.runs))
        for run in planned.runs:
            _announce(planned, run)
        self._left = dict(enumerate(planned.runs, start=1))
        self._told: set[str] = set()
        self._failed: dict[str, Exception] = {}  # by the run's id
        self.collect()

    def __len__(self) -> int:
        return len(self._left)

    def begin(self, number: int, run: PlannedRun, progress: Progress | None = None) -> None:
        """A run is begun."""
        (progress or self.progress).start(name_of(run), number, len(self.planned.runs))

    def collect(self, besides: Collection[str] = ()) -> None:
        """Reports the runs that were finished by someone else, and lets go of those that can never begin.

        Args:
            besides: Ids of runs that are at work here.
        """
        for number, run in list(self._left.items()):
            if run.id in besides:
                continue
            if run.is_finished:
                self.begin(number, run)
                self.progress.skip(_units(self.planned, run))
                self.done(number, run)
            elif run.start is not None and run.start.id in self._failed:
                self.progress.tell(f"{name_of(run)} is not begun: {name_of(run.start)}, which it starts from, failed")
                self._failed[run.id] = self._failed[run.start.id]
                del self._left[number]

    def ready(self) -> Iterator[tuple[int, PlannedRun]]:
        """The runs that can begin, with their numbers: what they start from is finished."""
        for number, run in list(self._left.items()):
            if number in self._left and (run.start is None or run.start.is_finished) and not run.is_finished:
                yield number, run

    def done(self, number: int, run: PlannedRun, progress: Progress | None = None) -> None:
        """A run is finished."""
        result = read_run(run.folder).result
        assert result is not None
        scores = [(m.display, result.metrics[str(m.spec)]) for m in self.planned.metrics]
        summary = ", ".join(f"{name} {score:.1f}" for name, score in scores if score is not None)
        (progress or self.progress).finish(run.label, result.seconds["total"], summary)
        del self._left[number]

    def failed(self, number: int, run: PlannedRun, error: Exception) -> None:
        """A run failed: the others go on, and the error is raised at the end."""
        del self._left[number]
        self._failed[run.id] = error
        if self._left:
            self.progress.tell(f"{name_of(run)} failed: {sentence_of(error) or error}; the others go on")

    def is_anothers(self, run: PlannedRun) -> None:
        """Tells once that a run is done by someone else."""
        if run.id not in self._told:
            self._told.add(run.id)
            self.progress.tell(f"{name_of(run)} is being done by {holder(run.folder)}: left to it")

    def waiting(self) -> None:
        """Tells once that all that is left is done by someone else."""
        if "" not in self._told:
            self._told.add("")
            self.progress.tell("waiting for what others do; Ctrl-C leaves it to them")

    def raise_failures(self) -> None:
        """Raises what failed, if something did.

        Raises:
            Exception: The first failure, as it was.
        """
        for error in self._failed.values():
            number = len(self._failed)
            if number > 1 and isinstance(error, SpeechbenchError):
                self.progress.tell(f"{number} runs are not done; why: speechbench status {self.planned.folder}")
            raise error


def _units(planned: Plan, run: PlannedRun) -> int:
    """Units of work that a run is, as progress counts them: steps, and examples that are answered."""
    passes = 1 + (0 if planned.sampled is None else planned.sampled.passes)
    return passes * len(planned.examples) + run.steps


def _announce(planned: Plan, run: PlannedRun) -> None:
    """Makes sure that the folder is this run's: what was changed in it is better known before the work.

    The run then counts on the board as planned, until it has a result. What someone else holds, is theirs to announce.
    """
    if run.is_finished:
        make_sure_of_run(run.folder, info_of(planned, run))
        check_sealed(run.folder)
        return
    with held(run.folder) as ours:
        if ours:
            make_sure_of_run(run.folder, info_of(planned, run))
