"""Who is at work in a folder: one process at a time, and the others can tell who.

The lock is the operating system's, so that it is free again whenever its holder is gone, however it went. Where a
filesystem has none it is refused: a file that only says "locked" would outlive a killed process.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from speechbench.errors import SpeechbenchError

_LOCK, _HOLDER = "lock", "holder.json"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Holds a folder, which is made if need be, while the context lasts.

    Yields:
        Whether it is ours; if not, someone else holds it, and `holder` says who.

    Raises:
        OSError: If the folder cannot be written.
        SpeechbenchError: If its filesystem has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f".{_LOCK}")
    ours = _acquire(lock, folder)
    with _told(lock, folder / f".{_HOLDER}") if ours else nullcontext():
        yield ours


@contextmanager
def waited(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Holds a folder that need not be there, by files beside it; waits for who holds it.

    Args:
        folder: Its parent is made if need be.
        tell: Told who holds it, once, if that has to be waited for.

    Raises:
        OSError: If the parent folder cannot be written.
        SpeechbenchError: If its filesystem has no locks.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_beside(folder, _LOCK))
    if not _acquire(lock, folder.parent):
        tell(_name(_beside(folder, _HOLDER)))
        lock.acquire()
    with _told(lock, _beside(folder, _HOLDER)):
        yield


def is_held(folder: Path) -> bool:
    """Whether someone holds a folder by `held` now: the lock itself tells, whatever a killed process has left.

    Raises:
        OSError: If the folder cannot be written.
        SpeechbenchError: If its filesystem has no locks.
    """
    if not folder.is_dir():
        return False
    lock = FileLock(folder / f".{_LOCK}")
    ours = _acquire(lock, folder)
    lock.release()
    return not ours


def holder(folder: Path) -> str:
    """Who holds a folder by `held`, in words."""
    return _name(folder / f".{_HOLDER}")


@dataclass(frozen=True)
class Holder:
    """Who holds a folder, or was killed while he did.

    Attributes:
        process: Its number there.
        host: The machine's name.
        since: When it began, in ISO 8601.
    """

    process: int
    host: str
    since: str

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine."""
        return self.host == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Whether it is a process of this machine that is there; of other machines nothing is known."""
        if not self.is_here:
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except OSError:  # someone else's
            return True
        return True


def claimed(folder: Path) -> Holder | None:
    """Who holds a folder by `held`, or was killed while he did; `None` where nobody does."""
    return _claim(folder / f".{_HOLDER}")


def is_claimed(folder: Path) -> bool:
    """Whether someone holds a folder by `held`, or was killed while he did."""
    return (folder / f".{_HOLDER}").exists()


def forget_holder(folder: Path) -> None:
    """Removes what a killed process that held a folder by `waited` has left, once nobody needs to hold it again."""
    with suppress(OSError):
        _beside(folder, _HOLDER).unlink(missing_ok=True)


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f".{folder.name}.{what}")


def _acquire(lock: FileLock, folder: Path) -> bool:
    """Takes a lock, or tells that someone else has it.

    Raises:
        SpeechbenchError: If the folder's filesystem has no locks: depending on filelock's version that is an error,
            or a lock of another kind and a warning.
    """
    reason: object = "it has no flock"
    ours = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with suppress(Timeout):
                lock.acquire(blocking=False)
                ours = True
        if not isinstance(lock, SoftFileLock):
            return ours
        if ours:
            lock.release()
    except NotImplementedError:
        pass
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        reason = error.strerror
    raise SpeechbenchError(
        f"{folder} cannot be locked against other processes, which its filesystem does not offer ({reason}): name a "
        "folder on another one, for runs with --out, for made data with SPEECHBENCH_CACHE"
    )


@contextmanager
def _told(lock: FileLock, path: Path) -> Iterator[None]:
    """Says who holds a lock while the context lasts, then lets it go."""
    try:
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        path.write_text(json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": since}))
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        lock.release()


def _claim(path: Path) -> Holder | None:
    try:
        content = json.loads(path.read_text())
        return Holder(int(content["process"]), str(content["host"]), str(content["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _name(path: Path) -> str:
    found = _claim(path)
    if found is None:
        return "another process"  # it has just begun, or just gone
    return f"process {found.process} on {found.host}, since {found.since}"
