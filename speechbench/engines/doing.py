"""What a worker of any engine does: it plans the ablation once, then does the runs that it is handed."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING

from speechbench.asking import Asked
from speechbench.errors import SpeechbenchError, sentence_of

if TYPE_CHECKING:
    from speechbench.engines.together import Launcher
    from speechbench.grid import PlannedRun
    from speechbench.planning import Plan

DONE, HELD, FAILED, STOPPED, DIED = "done", "held", "failed", "stopped", "died"
"""What comes of a run: its result is there; someone else does it; an error; it was asked to stop, and has a checkpoint;
the process that did it is gone."""

_OTHERS = (
    "a worker planned other runs than the process that started it: the code, the data, or something that is "
    "registered by hand is not the same there; register it in a file or a package, and run the same command again"
)


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        id: The run's.
        state: `DONE`, `HELD`, `FAILED`, `STOPPED` or `DIED`.
        error: What was raised, where it failed, or how the process ended; where that cannot be handed from process to
            process, one of its words.
    """

    id: str
    state: str
    error: Exception | None = None


class Doer:
    """Does runs of one ablation, with the model and the data loaded once.

    Args:
        asked: The ablation.

    Raises:
        Exception: What planning raises.
    """

    def __init__(self, asked: Asked) -> None:
        from speechbench.planning import plan_of
        from speechbench.progress import Progress

        self._planned = plan_of(asked, Progress())

    def do(self, id_: str) -> Outcome:
        """Does a run, unless someone else holds its folder.

        Raises:
            KeyboardInterrupt: If it was asked to stop.
        """
        from speechbench.locks import held
        from speechbench.one_run import do_run
        from speechbench.progress import Progress

        try:
            run = find(self._planned, id_)
            with held(run.folder) as ours:
                if not ours:
                    return Outcome(id_, HELD)
                if not run.is_finished:
                    do_run(self._planned, run, Progress())
        except Exception as error:
            return Outcome(id_, FAILED, portable(error))
        return Outcome(id_, DONE)


def doer_of(asked: Asked) -> Doer | Launcher:
    """Who does the runs of an ablation in a worker: this process, or several that it starts for each.

    Raises:
        Exception: What planning raises.
    """
    from speechbench.engines.together import Launcher

    return Doer(asked) if asked.processes == 1 else Launcher(asked)


def find(planned: Plan, id_: str) -> PlannedRun:
    """A run of a plan.

    Raises:
        SpeechbenchError: If it is not there.
    """
    for run in planned.runs:
        if run.id == id_:
            return run
    raise SpeechbenchError(_OTHERS)


def portable(error: Exception) -> Exception:
    """The error, if it can be handed to another process; else what it says."""
    try:
        if str(pickle.loads(pickle.dumps(error))) == str(error):
            return error
    except Exception:  # then it is said in words
        pass
    return SpeechbenchError(sentence_of(error) or f"{type(error).__name__}: {error}")
