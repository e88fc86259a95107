"""What runs where, how far it is, and how long it will take: read from run folders alone, while work goes on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from speechbench.errors import SpeechbenchError
from speechbench.locks import Holder, claimed, is_held
from speechbench.run_files import run_folders
from speechbench.run_now import NOW, Now, now
from speechbench.runs import Run, read_run

STATES = ("running", "failed", "stopped", "planned", "finished")
"""Of runs: done by someone now; ended by an error; begun, and done by nobody; not begun; with a result."""

_SILENT = 120.0
"""Seconds without news after which a process of another machine is taken to be gone."""


@dataclass(frozen=True)
class RunStatus:
    """A run, and how far it is.

    Attributes:
        id: The run's.
        name: The label of its row, and the seed where there is one.
        state: One of `STATES`.
        folder: Where it lies.
        where: Who does it, "host:process"; `None` where nobody does.
        what: What it is at, "training" or "evaluating"; `None` where nobody does it.
        done: Of that.
        total: Of that.
        step: Training steps done.
        steps: Of these; 0 where nothing is trained.
        reward: Of the last step, on unit scale; `None` where there is none.
        seconds: That it took if it is finished, or else so far, as far as is known.
        left: Seconds that it may still take; `None` where nothing tells.
        reason: Why it failed.
    """

    id: str
    name: str
    state: str
    folder: Path
    where: str | None = None
    what: str | None = None
    done: int = 0
    total: int = 0
    step: int = 0
    steps: int = 0
    reward: float | None = None
    seconds: float | None = None
    left: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Status:
    """The runs of one ablation's folder.

    Attributes:
        folder: The ablation's.
        runs: In the order of `STATES`, then of their names.
        left: Seconds until all are done, by as many at a time as are at work now; `None` where nothing tells.
    """

    folder: Path
    runs: tuple[RunStatus, ...]
    left: float | None

    @property
    def is_over(self) -> bool:
        """Whether all runs came to their end, by a result or by a failure."""
        return self.number("finished") + self.number("failed") == len(self.runs)

    def number(self, state: str) -> int:
        """How many runs are in one of `STATES`."""
        return sum(run.state == state for run in self.runs)


def status(folders: Path | str | Sequence[Path | str] = "runs") -> list[Status]:
    """How far the ablations under folders are.

    Args:
        folders: Of ablations, one ablation's, or one run's; or several.

    Returns:
        One for each ablation, those with work going on first. A folder that cannot be read is a failed run of it.

    Raises:
        SpeechbenchError: If there is no such folder, or no run in it.
    """
    outs = [folders] if isinstance(folders, (str, Path)) else list(folders)
    found: dict[Path, list[Path]] = {}
    for folder in dict.fromkeys(folder for out in outs for folder in run_folders(out)):
        found.setdefault(folder.parent, []).append(folder)
    if not found:
        raise SpeechbenchError(
            f"{' and '.join(map(str, outs))} holds no runs: make some with `speechbench ablate --out {outs[0]}`"
        )
    ablations = [_ablation(folder, runs) for folder, runs in found.items()]
    return sorted(ablations, key=lambda its: (its.number("running") == 0, str(its.folder)))


def _ablation(folder: Path, folders: Iterable[Path]) -> Status:
    runs: list[Run | RunStatus] = []
    for each in folders:
        try:
            runs.append(read_run(each))
        except (SpeechbenchError, OSError) as error:
            runs.append(RunStatus(each.name, each.name, "failed", each, reason=str(error)))
    known = _Durations([run for run in runs if isinstance(run, Run)])
    found = [run if isinstance(run, RunStatus) else _one(run, known) for run in runs]
    found.sort(key=lambda run: (STATES.index(run.state), run.name))
    open_ = [run for run in found if run.state in ("running", "stopped", "planned")]
    at_once = max(1, sum(run.state == "running" for run in open_))
    lefts = [run.left for run in open_]
    left = None if None in lefts else sum(its for its in lefts if its is not None) / at_once
    return Status(folder, tuple(found), left if open_ else 0.0)


class _Durations:
    """What runs of an ablation took, by what they have in common."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._whole: dict[str | None, list[float]] = {}
        self._step: dict[str | None, list[float]] = {}
        self._evaluation: list[float] = []
        for run in runs:
            if run.result is None:
                continue
            seconds, steps = run.result.seconds, run.result.steps
            self._whole.setdefault(run.info.trainer, []).append(seconds.get("total", 0.0))
            self._evaluation.append(seconds.get("evaluation", 0.0))
            if steps:
                self._step.setdefault(run.info.trainer, []).append(seconds.get("train", 0.0) / steps)

    @property
    def evaluation(self) -> float | None:
        """Seconds that measuring a model takes: all runs of an ablation answer the same examples."""
        return fmean(self._evaluation) if self._evaluation else None

    def step(self, trainer: str | None) -> float | None:
        """Seconds of a training step."""
        return fmean(self._step[trainer]) if trainer in self._step else None

    def whole(self, trainer: str | None) -> float | None:
        """Seconds of a run."""
        return fmean(self._whole[trainer]) if trainer in self._whole else None


def _one(run: Run, known: _Durations) -> RunStatus:
    info = run.info
    steps = int(info.config.get("max_steps", 0)) if info.trainer else 0
    name = info.name
    if run.result is not None:
        took = run.result.seconds.get("total")
        return RunStatus(info.id, name, "finished", run.folder, step=steps, steps=steps, seconds=took, left=0.0)
    holder, news = claimed(run.folder), now(run.folder)
    if holder is not None and _is_at_work(holder, run.folder):
        return _running(run, name, steps, holder, news or Now("starting", 0, 0, steps=steps), known)
    logged = _logged(run)
    step = int(logged.get("step", 0))
    left = _left(steps - step, known.step(info.trainer), known.evaluation) if step else known.whole(info.trainer)
    reward, failure = logged.get("reward"), run.failure
    if failure is not None:
        return RunStatus(
            info.id, name, "failed", run.folder, step=step, steps=steps, reward=reward, reason=failure.reason
        )
    state = "stopped" if step or news is not None else "planned"
    return RunStatus(info.id, name, state, run.folder, step=step, steps=steps, reward=reward, left=left)


def _is_at_work(holder: Holder, folder: Path) -> bool:
    if holder.is_here:
        return holder.is_alive and _holds(folder)
    try:
        return time.time() - (folder / NOW).stat().st_mtime < _SILENT
    except OSError:
        return False


def _holds(folder: Path) -> bool:
    """Whether the lock is held: a process that was killed may have left its number to another."""
    try:
        return is_held(folder)
    except (SpeechbenchError, OSError):
        return True  # it cannot be tried


def _running(run: Run, name: str, steps: int, holder: Holder, news: Now, known: _Durations) -> RunStatus:
    """Of a run that someone is at work on, by his news."""
    step = news.steps_done or int(_logged(run).get("step", 0))
    step_seconds = news.step_seconds or known.step(run.info.trainer)
    evaluation = known.evaluation
    if step >= steps and evaluation is not None:  # it is being measured
        evaluation *= 1 - news.done / news.total if news.total else 1.0
    return RunStatus(
        id=run.info.id,
        name=name,
        state="running",
        folder=run.folder,
        where=f"{holder.host}:{holder.process}",
        what=news.what,
        done=news.done,
        total=news.total,
        step=step,
        steps=steps,
        reward=news.values.get("reward"),
        seconds=news.seconds,
        left=_left(steps - step, step_seconds, evaluation),
    )


def _left(steps: int, step_seconds: float | None, evaluation: float | None) -> float | None:
    if steps > 0 and step_seconds is None:
        return None
    return max(steps, 0) * (step_seconds or 0.0) + (evaluation or 0.0)


def _logged(run: Run) -> Mapping[str, float]:
    try:
        return run.log[-1] if run.log else {}
    except (SpeechbenchError, OSError):
        return {}
