"""The runs in this process, one after the other; where several processes train together, all of them share each."""

from __future__ import annotations

import time

from speechbench import distributed
from speechbench.engines.base import WAIT, Left
from speechbench.errors import SpeechbenchError
from speechbench.locks import held
from speechbench.one_run import do_run, train_run
from speechbench.planning import Plan
from speechbench.progress import Progress


class InProcess:
    """An `Engine` that starts no other process."""

    def run_all(self, planned: Plan, progress: Progress) -> None:
        """As `Engine.run_all`; of processes that were started together, all return when all runs are finished.

        Where these train together, the first failure ends all of them: they are in the middle of a step.

        Raises:
            SpeechbenchError: Also if processes that were started together planned different runs.
        """
        _check_all_planned_the_same(planned)
        if distributed.is_main():
            _lead(planned, progress)
            distributed.from_main(None)
        else:
            _take_part(planned)


def _check_all_planned_the_same(planned: Plan) -> None:
    plans = distributed.from_all([run.id for run in planned.runs])
    for rank, ids in enumerate(plans):
        if ids != plans[0]:
            raise SpeechbenchError(
                f"process {rank} of {len(plans)} planned other runs than the main one: give all the same command, "
                "code, data and model, and versions of the libraries"
            )


def _take_part(planned: Plan) -> None:
    """Trains what the main process is about to train, for as long as there is something."""
    while (place := distributed.from_main()) is not None:
        train_run(planned, planned.runs[place], Progress())


def _lead(planned: Plan, progress: Progress) -> None:
    left = Left(planned, progress)
    while left:
        before = len(left)
        for number, run in left.ready():
            with held(run.folder) as ours:
                if ours and not run.is_finished:  # else it was finished between the look and the lock
                    left.begin(number, run)
                    try:
                        do_run(planned, run, progress)
                    except Exception as error:
                        if distributed.world_size() > 1:
                            raise
                        left.failed(number, run, error)
                    else:
                        left.done(number, run)
                elif not ours:
                    left.is_anothers(run)
            left.collect()
        if len(left) == before:
            left.waiting()
            time.sleep(WAIT)
            left.collect()
    left.raise_failures()
