"""The errors that are a user's to mend: one clear sentence, never a traceback."""

from __future__ import annotations

import difflib
import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class SpeechbenchError(Exception):
    """The work failed for a reason the user can mend; the message says what, where and how.

    Attributes:
        exit_status: What the command exits with.
    """

    exit_status = 1


class MissingError(SpeechbenchError):
    """An extra, a checkpoint or a data set is missing; the message ends with the command that mends it."""


class DivergedError(SpeechbenchError):
    """A training's loss or gradient is no finite number any more."""


class UsageError(SpeechbenchError):
    """The call was wrong: a mistyped name, a bad value, options that do not go together."""

    exit_status = 2


_ROOM = "make room there; the same command then goes on from what is finished"
_ACCESS = "give yourself access to it, or name another place (for runs with --out)"
_FILES = "allow more open files (`ulimit -n 4096`) or stop what holds them, and run the same command again"
_MENDS: dict[int | None, str] = {
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


def sentence_of(error: BaseException) -> str | None:
    """What the operating system refused, where, and how to mend it.

    Returns:
        The sentence; `None` for an error that is not the operating system's, or tells neither the file nor
        anything a user could do: it is better shown as it is.
    """
    if (
        not isinstance(error, OSError)
        or error.errno is None
        or not (error.filename is not None or error.errno in _NAMELESS)
    ):
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


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The end of a sentence about a mistyped word: the nearest of those that are known, or else all of them.

    Args:
        word: As it was written.
        known: All that there are.
        cutoff: How alike the nearest must be, 0 to 1, as `difflib.get_close_matches` counts it.
    """
    words = list(known)
    nearest = difflib.get_close_matches(word, words, n=1, cutoff=cutoff)
    return f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(words)}"


@contextmanager
def writing(place: Path, half: Path | None = None) -> Iterator[None]:
    """Turns the failure to write a checkpoint or a model, by whichever library, into one sentence.

    Args:
        place: What is written, for the message.
        half: Folder that is deleted when writing it failed, whatever the reason, so that its room is free again.

    Raises:
        SpeechbenchError: If the disk is full, the place is not writable, or the like.
    """
    try:
        yield
    except Exception as error:
        if half is not None:
            shutil.rmtree(half, ignore_errors=True)
        refusal = _refusal(error)
        if refusal is None:
            raise
        what, mend = refusal
        raise SpeechbenchError(f"{place} cannot be written: {what}; {mend}") from error


def _refusal(error: Exception) -> tuple[str, str] | None:
    """What went wrong in writing and how to mend it; `None` for what is no failure to write."""
    if isinstance(error, SpeechbenchError):
        return None  # already a sentence
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        number, what = error.errno, error.strerror or text
    elif found := re.search(r"\(os error (\d+)\)|Os { code: (\d+)", text):  # of safetensors and tokenizers, in Rust
        number = int(found[1] or found[2])
        what = os.strerror(number)
    elif "inline_container" in text or "PytorchStreamWriter" in text:  # of torch.save, which hides the reason
        number, what = errno.ENOSPC, "torch could not write all of it"
    elif type(error).__name__ == "SafetensorError":  # by its name: whoever only asks for help waits for no import
        number, what = None, text
    else:
        return None
    return what, _MENDS.get(number, "make room there, or make it writable, and run the same command again")
