"""Checkpoints by folder or by their name on the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from speechbench.errors import MissingError, UsageError
from speechbench.threads import failure_within

_downloads = ContextVar("downloads", default=True)
_SECONDS = 6.0  # how long the hub may take to answer at all before it counts as unreachable


@contextmanager
def without_downloads() -> Iterator[None]:
    """A context in which only what is on this machine is found: `fetch` raises where it would download."""
    token = _downloads.set(False)
    try:
        yield
    finally:
        _downloads.reset(token)


def may_download() -> bool:
    """Whether something may be fetched from the hub here: not within `without_downloads`."""
    return _downloads.get()


def resolve(checkpoint: str, revision: str | None = None) -> Path:
    """The folder of a whole checkpoint: a local one, the hub's cache, or a fresh download.

    Args:
        checkpoint: Folder, or hub name "owner/model".
        revision: Of the hub's repository.

    Raises:
        UsageError: If it is neither a folder nor shaped like a hub name.
        MissingError: If it is not in the cache and cannot be downloaded; within seconds if there is no hub.
    """
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        return folder
    if not is_hub_name(checkpoint):
        raise UsageError(
            f"checkpoint {checkpoint!r}: there is no such folder, and it is no name on the hub; name a folder that is "
            "there, or owner/model"
        )
    return fetch(checkpoint, None, lambda found: (found / "config.json").is_file(), revision)


def is_hub_name(name: str) -> bool:
    """Whether a text is shaped like a model's name on the hub, "owner/model"."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) is not None


def fetch(
    name: str, patterns: Sequence[str] | None, complete: Callable[[Path], bool], revision: str | None = None
) -> Path:
    """A model's files from the hub's cache on this machine, or else from the hub.

    Args:
        name: On the hub, "owner/model".
        patterns: Which files; `None` for all.
        complete: Whether a folder holds what is needed.
        revision: Of the hub's repository.

    Raises:
        MissingError: If they are in neither; within seconds if the hub does not answer.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    wanted = None if patterns is None else list(patterns)
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=wanted, local_files_only=True))
    except HFValidationError:
        raise MissingError(
            f"{name} is no folder on this machine and no name on the hub; name a folder that is there, or owner/model"
        ) from None
    except LocalEntryNotFoundError:
        pass
    else:
        if complete(folder):
            return folder
    if not may_download():
        raise _missing(name, "is not downloaded to be looked at")
    _reach(name, revision)
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
    except Exception as error:  # whatever the network layer raises: it differs between versions of the hub's client
        raise _missing(name, f"its download ended in {type(error).__name__}") from error
    if not complete(folder):
        raise _missing(name, f"the hub's copy lacks {' or '.join(patterns or ['config.json'])}")
    return folder


def _reach(name: str, revision: str | None) -> None:
    from huggingface_hub import HfApi

    failure = failure_within(_SECONDS + 1, lambda: HfApi().model_info(name, revision=revision, timeout=_SECONDS))
    if isinstance(failure, TimeoutError):
        raise _missing(name, "the hub does not answer")
    if failure is not None:
        raise _missing(name, f"asking the hub for it ended in {type(failure).__name__}") from failure


def _missing(name: str, why: str) -> MissingError:
    return MissingError(
        f"{name} is not on this machine and {why}; name a folder that has it, or where there is a network (for gated "
        f"models with HF_TOKEN set) run `hf download {name}`"
    )
