"""The errors that are a user's to mend: one clear sentence, never a traceback."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager


class SpeechbenchError(Exception):
    """The work failed for a reason the user can mend; the message says what, where and how.

    Attributes:
        exit_status: What the command exits with.
    """

    exit_status = 1


class MissingError(SpeechbenchError):
    """An extra, a checkpoint or a data set is missing; the message ends with the command that mends it."""


class UsageError(SpeechbenchError):
    """The call was wrong: a mistyped name, a bad value, options that do not go together."""

    exit_status = 2


_ROOM = "make room there; the same command then goes on from what is finished"
_ACCESS = "give yourself access to it, or name another place (for runs with --out)"
_FILES = "allow more open files (`ulimit -n 4096`) or stop what holds them, and run the same command again"
_MENDS = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.EROFS: _ACCESS,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENOTDIR: "a file stands where a folder is needed: move it away, or name another place (for runs with --out)",
    errno.EEXIST: "a file stands where a folder is needed: move it away, or name another place (for runs with --out)",
    errno.EISDIR: "a folder stands where a file is needed: move it away, or name another file",
    errno.ENOENT: "put it there or name what is there; if it was removed meanwhile, run the same command again",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.EIO: "the disk or the network behind it fails: name another place (for runs with --out)",
}
_NAMELESS = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO)  # clear without a file's name too


def sentence_of(error: OSError) -> str | None:
    """What the operating system refused, where, and how to mend it.

    Returns:
        The sentence; `None` for an error that is not the operating system's, or tells neither the file nor
        anything a user could do: it is better shown as it is.
    """
    if error.errno is None or not (error.filename is not None or error.errno in _NAMELESS):
        return None
    what = error.strerror or os.strerror(error.errno)
    place = "a file" if error.filename is None else os.fsdecode(error.filename)
    mend = _MENDS.get(error.errno, "mend that, and run the same command again")
    return f"{place} cannot be read or written: {what}; {mend}"


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Lets the `OSError`s of a block name the file that the user knows.

    Python does not say which file a failed write was to, and of files that are written under another name and
    then renamed it says the other name.
    """
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = os.fspath(path), None
        raise
