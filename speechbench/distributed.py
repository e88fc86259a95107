"""Several processes that train one model together, as `torchrun` and `accelerate launch` start them.

The main process plans, holds the folders, evaluates and writes; the others take part in training and otherwise wait
here. They talk through the launcher's key-value store rather than through collectives: whoever waits there waits
without a time limit, hears Ctrl-C, and ends as soon as another process has failed. Alone, a process does none of this.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from speechbench.errors import SpeechbenchError, UsageError

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

_FAILED, _SAID = "failed", "said"
_LONGEST_PAUSE = 0.1  # seconds between looks at the store
_TO_SAY = 10.0  # seconds that the process which failed first is given to say why
_GONE = (
    "another of the {processes} processes that train together has ended, as when it is killed or out of memory; see "
    "what the launcher says of it, then the same command goes on from the last checkpoint"
)


class EndedElsewhere(SpeechbenchError):
    """Another process failed or was stopped first and has said why: this one ends so too, without a word."""

    def __init__(self, exit_status: int) -> None:
        super().__init__("another process ended this one; it has said why")
        self.exit_status = exit_status


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ.get("RANK", 0)) if world_size() > 1 else 0


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_main() -> bool:
    """Whether this process is the one that plans, writes, and talks to people."""
    return rank() == 0


class _Talk:
    """What this process and the others have said to each other so far.

    Every process says and hears the same things in the same order, so a number is enough to tell them apart.
    """

    def __init__(self) -> None:
        self.said, self.claimed = 0, False
        self.kept: list[str] = []  # keys of this process that others may still read

    def key(self, who: object) -> str:
        self.said += 1
        return f"{self.said} {who}"

    def forget(self, but: str) -> None:
        """Removes all that this process said but the last, once all others have said something after it."""
        for key in self.kept:
            if key != but:
                _store().delete_key(key)
        self.kept = [but]


_TALK = _Talk()


def from_main(value: Any = None) -> Any:
    """What the main process gives, on every process; the others wait for it.

    Args:
        value: Anything that JSON can write; that of others does not count.

    Raises:
        EndedElsewhere: If another process has failed.
    """
    if world_size() == 1:
        return value
    key = _TALK.key("main")
    if not is_main():
        return _hear(key)
    _TALK.kept.append(key)
    _store().set(key, json.dumps(value))
    return value


def from_all(value: Any = None) -> list[Any]:
    """What each process gives, by rank, on every process; each waits for all of the others.

    Args:
        value: Anything that JSON can write.

    Raises:
        EndedElsewhere: If another process has failed.
    """
    if world_size() == 1:
        return [value]
    number = _TALK.key("")
    own = f"{number}{rank()}"
    _TALK.kept.append(own)
    _store().set(own, json.dumps(value))
    values = [_hear(f"{number}{other}") for other in range(world_size())]
    _TALK.forget(own)
    return values


@contextmanager
def main_first() -> Iterator[None]:
    """The main process does the block, then the others do: what it makes or downloads, they find.

    Raises:
        EndedElsewhere: If another process has failed.
    """
    begin()
    if not is_main():
        from_main()
    yield
    if is_main():
        from_main()


def require_as_many(processes: int, checkpoint: Path) -> None:
    """Refuses to go on from a checkpoint of another number of processes.

    Raises:
        SpeechbenchError: If there were not as many as there are now.
    """
    if processes != world_size():
        raise SpeechbenchError(
            f"{checkpoint} was written by as many processes as {processes}, not {world_size()}: start as many, or "
            "remove it"
        )


def require_alone() -> None:
    """Refuses work that several processes cannot share.

    Raises:
        UsageError: If this process is one of several.
    """
    if world_size() > 1:
        raise UsageError(
            f"{world_size()} processes were started, but only training is shared, by train and ablate: start this "
            "command without torchrun or accelerate launch"
        )


def begin() -> None:
    """Takes this process' own GPU, before anything is put on one."""
    if world_size() > 1:
        # Once before torch is loaded: of each training and process it would say that no parameter went unused.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        else:
            os.environ.setdefault("ACCELERATE_TORCH_DEVICE", "cpu")  # accelerate's "cpu:0" is none that torch loads to


def has_failed() -> bool:
    """Whether one of the processes has failed or was stopped, this one included."""
    if world_size() == 1:
        return False
    try:
        return bool(_store().check([_FAILED]))
    except RuntimeError:
        return True  # whoever holds the store is gone


@contextmanager
def ending_together() -> Iterator[None]:
    """Around all that a process does: what ends one ends all, and the first alone says why.

    The others' training then fails where it waits for this one's gradients, or they hear of it where they wait here.

    Raises:
        EndedElsewhere: Instead of any error, if another process failed before; that one has then said why.
        SpeechbenchError: If another process is gone without a word.
        BaseException: The block's own, if it is the first.
    """
    try:
        yield
    except (EndedElsewhere, GeneratorExit):
        raise
    except BaseException as error:
        is_good = not getattr(error, "code" if isinstance(error, SystemExit) else "exit_code", 1)  # after --help
        if world_size() == 1 or _TALK.claimed or is_good:
            raise
        if not _claim(getattr(error, "exit_status", 1)):
            raise EndedElsewhere(_wait_until_said()) from error
        _TALK.claimed = True
        if _is_lost_connection(error):
            raise SpeechbenchError(_GONE.format(processes=world_size())) from error
        raise


def said() -> None:
    """Tells the others that this process has said all: those that ended because it did may end now.

    Without a launcher's store it is the main process that holds it, and stays until nobody needs it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if world_size() == 1:
        return
    end = time.monotonic() + _TO_SAY
    with suppress(RuntimeError, SpeechbenchError):
        _store().set(_SAID, "")
        ready = _store().add("ready to end", 1)
        if is_main() and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
            while ready < world_size() and time.monotonic() < end:
                time.sleep(_LONGEST_PAUSE)
                ready = _store().add("ready to end", 0)


def leave(exit_status: int) -> NoReturn:
    """Ends this process for good, once it has said why."""
    said()
    if world_size() > 1:
        os._exit(exit_status)  # taking a process group down whose others are gone may never end
    sys.exit(exit_status)


def _claim(exit_status: int) -> bool:
    """Says that this process has failed; whether it is the first to say so."""
    try:
        first = _store().add(f"{_FAILED} processes", 1) == 1
        if first:
            _store().set(_FAILED, str(exit_status))
    except RuntimeError:
        return True  # whoever holds the store is gone without a word
    return first


def _wait_until_said() -> int:
    """Waits until the process that failed first has said why, for ending sooner would end it too; its exit status."""
    end = time.monotonic() + _TO_SAY
    exit_status = 1
    with suppress(RuntimeError):
        exit_status = int(_store().get(_FAILED))
        while not _store().check([_SAID]) and time.monotonic() < end:
            time.sleep(_LONGEST_PAUSE)
    return exit_status


def _hear(key: str) -> Any:
    store = _store()
    pause = 0.001
    try:
        while not store.check([key]):
            if store.check([_FAILED]):
                raise EndedElsewhere(_wait_until_said())
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return json.loads(store.get(key))
    except RuntimeError as error:
        raise SpeechbenchError(_GONE.format(processes=world_size())) from error


def _is_lost_connection(error: BaseException) -> bool:
    """Whether an error is that of a collective whose other side went away."""
    if not isinstance(error, RuntimeError):
        return False
    from torch.distributed import DistError

    return isinstance(error, DistError) or "gloo" in str(error).lower()


@cache
def _store() -> Store:
    """The store that the launcher, or the main process, holds."""
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]
    from torch.distributed.rendezvous import rendezvous

    try:
        store, _, _ = next(rendezvous("env://", timeout=timedelta(minutes=5)))
    except (RuntimeError, ValueError) as error:
        raise SpeechbenchError(
            f"process {rank()} of {world_size()} (RANK, WORLD_SIZE) cannot reach the others at MASTER_ADDR and "
            f"MASTER_PORT: start all of them with torchrun or accelerate launch ({' '.join(str(error).split())})"
        ) from None
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # a store may outlive the processes it was for
    return PrefixStore(f"speechbench {attempt}", store)
