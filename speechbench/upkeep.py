"""What runs take up on disk, and making room: nothing goes that was not named before."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from speechbench.errors import SpeechbenchError, UsageError, did_you_mean
from speechbench.locks import held, holder
from speechbench.run_files import run_folders
from speechbench.run_schema import CHECKPOINTS, RESULT, TRAINED
from speechbench.run_status import RunStatus, status
from speechbench.runs import read_run
from speechbench.trainers.checkpoints import BEST, CHECKPOINT, COMPLETE, last_complete

POLICIES = ("best", "last")
"""Of a finished run: the trained model, which is that of the best validation where there was one, and the newest
checkpoint, which holds the optimizer's state too."""


@dataclass(frozen=True)
class Size:
    """A run and its room.

    Attributes:
        run: It.
        bytes: All that its folder holds.
        checkpoints: Each checkpoint and trained model, with its bytes.
    """

    run: RunStatus
    bytes: int
    checkpoints: tuple[tuple[Path, int], ...]


@dataclass(frozen=True)
class Removal:
    """Something that may go.

    Attributes:
        path: A run's folder, or a folder in it.
        run: The run's folder.
        bytes: Its room.
        why: What it is.
    """

    path: Path
    run: Path
    bytes: int
    why: str


def sizes(folders: Path | str | Sequence[Path | str] = "runs") -> list[Size]:
    """All runs under folders with their room, the largest first; the arguments and errors are `status`'s."""
    found = [_size(run) for ablation in status(folders) for run in ablation.runs]
    return sorted(found, key=lambda its: (-its.bytes, str(its.run.folder)))


def show(run: str, folder: Path | str = "runs") -> Size:
    """A run with its room; the arguments and errors are `find`'s."""
    return _size(find(run, folder))


def find(which: str, folder: Path | str = "runs") -> RunStatus:
    """A run by its folder, id, or name as in "grpo(bleu) seed 0".

    Args:
        which: The run.
        folder: Where runs are looked for, if it is no folder itself.

    Raises:
        UsageError: If there is no such run, or several.
        SpeechbenchError: If there are no runs.
    """
    as_folder = Path(which)
    if as_folder.is_dir() and run_folders(as_folder) == [as_folder]:
        return status(as_folder)[0].runs[0]
    runs = [run for ablation in status(folder) for run in ablation.runs]
    found = [run for run in runs if which in (run.id, run.name)]
    if len(found) > 1:
        places = ", ".join(str(run.folder) for run in found)
        raise UsageError(f"{which!r} is the name of several runs: name one by its folder ({places})")
    if not found:
        raise UsageError(f"{which!r} is no run of {folder}: {did_you_mean(which, [run.name for run in runs])}")
    return found[0]


def removal(which: str, folder: Path | str = "runs") -> Removal:
    """What removing a run would take away.

    Raises:
        UsageError: As of `find`.
        SpeechbenchError: If someone is at work on it.
    """
    run = find(which, folder)
    if run.state == "running":
        raise SpeechbenchError(f"{run.name} is being done by {holder(run.folder)}: stop that first")
    what = f"{run.name}, {run.state}"
    if built_on := list(_built_on(run)):
        what += f"; {', '.join(built_on)} start from it, and would have it done again"
    return Removal(run.folder, run.folder, _bytes(run.folder), what)


def removals(runs: Sequence[str], folder: Path | str = "runs") -> list[Removal]:
    """The same for several runs, each of which may be named twice."""
    return list({each.path.resolve(): each for each in (removal(run, folder) for run in runs)}.values())


def superfluous(folders: Path | str | Sequence[Path | str] = "runs", keep: Collection[str] = POLICIES) -> list[Removal]:
    """What may go without a result being lost: of finished runs the checkpoints that are not kept, and leftovers.

    Runs that are not finished keep all that they need to go on; of those that someone is at work on nothing is named.

    Args:
        folders: As of `status`.
        keep: Of finished runs: some of `POLICIES`, or none.

    Raises:
        UsageError: If `keep` names something else.
        SpeechbenchError: As of `status`.
    """
    for policy in keep:
        if policy not in POLICIES:
            raise UsageError(f"keep={policy!r} is none of {', '.join(POLICIES)}: {did_you_mean(policy, POLICIES)}")
    runs = [run for ablation in status(folders) for run in ablation.runs if run.state != "running"]
    return [each for run in runs for each in _superfluous(run, keep)]


def rm(runs: Sequence[str], folder: Path | str = "runs") -> list[Removal]:
    """Removes runs.

    Args:
        runs: Each a folder, an id, or a name as in "grpo(bleu) seed 0".
        folder: Where they are looked for.

    Returns:
        What was removed.

    Raises:
        UsageError: As of `find`.
        SpeechbenchError: If someone is at work on one of them.
    """
    return remove(removals(runs, folder))


def gc(folders: Path | str | Sequence[Path | str] = "runs", keep: Collection[str] = POLICIES) -> list[Removal]:
    """Removes what `superfluous` names; the arguments and errors are its.

    Returns:
        What was removed.
    """
    return remove(superfluous(folders, keep))


def remove(removals: Sequence[Removal]) -> list[Removal]:
    """Removes what was named, a run's result first so that it never counts as finished with less than all of it.

    Returns:
        What was there to be removed.

    Raises:
        SpeechbenchError: If someone is at work on a run by now.
        OSError: If something cannot be removed.
    """
    removed = []
    for each in removals:
        if not each.path.is_dir():
            continue
        with held(each.run) as ours:
            if not ours:
                raise SpeechbenchError(f"{each.run} is being done by {holder(each.run)}: stop that first")
            for first in (RESULT, COMPLETE):
                (each.path / first).unlink(missing_ok=True)
            shutil.rmtree(each.path)
        removed.append(each)
    return removed


def _superfluous(run: RunStatus, keep: Collection[str]) -> Iterator[Removal]:
    checkpoints = [path for path, _ in _checkpoints(run.folder)]
    whole = [path for path in checkpoints if path.name.startswith(f"{CHECKPOINT}-") and (path / COMPLETE).exists()]
    last = last_complete(run.folder / CHECKPOINTS)
    for path in checkpoints:
        why = None
        if path.name.startswith("."):
            why = "half written"
        elif path.name.startswith(f"{CHECKPOINT}-") and path not in whole:
            why = "a checkpoint that is not whole"
        elif run.state != "finished":
            continue
        elif path == run.folder / TRAINED:
            why = None if "best" in keep else "the trained model"
        elif path.name.startswith(f"{BEST}-"):
            why = "the best on validation, which the trained model is too"
        elif path in whole and (path != last or "last" not in keep):
            why = "a checkpoint to go on from"
        if why is not None:
            yield Removal(path, run.folder, _bytes(path), f"{run.name}: {why}")


def _built_on(run: RunStatus) -> Iterator[str]:
    """The names of the runs that start from a run."""
    for folder in run_folders(run.folder.parent):
        with suppress(SpeechbenchError, OSError):
            info = read_run(folder).info
            if info.start == run.id:
                yield info.name


def _size(run: RunStatus) -> Size:
    return Size(run, _bytes(run.folder), tuple(_checkpoints(run.folder)))


def _checkpoints(folder: Path) -> list[tuple[Path, int]]:
    where = folder / CHECKPOINTS
    paths = sorted(path for path in where.iterdir() if path.is_dir()) if where.is_dir() else []
    return [(path, _bytes(path)) for path in paths]


def _bytes(path: Path) -> int:
    """What is under it; links count nothing, and are not followed."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue  # gone meanwhile
    return total
