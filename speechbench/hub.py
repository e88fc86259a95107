"""Checkpoints by folder, data sets too, by their name on the Hugging Face hub."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

from speechbench.errors import MissingError, UsageError
from speechbench.threads import failure_within

_PART = re.compile(r"(.+)-\d{5}-of-(\d{5})\.\w+")
UNREAD = ("consolidated*", "*.h5", "*.msgpack", "*.onnx", "*.gguf")
"""Files of a checkpoint that nothing here reads: its weights once more, as Mistral's or other libraries want them."""
TOKENIZERS = ("tokenizer.json", "vocab.*", "*.model", "tekken.json")
"""Files of a checkpoint, of which every tokenizer of transformers is made from one, and Mistral's own."""
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


def resolve(checkpoint: str, revision: str | None = None, patterns: Sequence[str] | None = None) -> Path:
    """The folder of a whole checkpoint: a local one, the hub's cache, or a fresh download.

    Args:
        checkpoint: Folder, or hub name "owner/model".
        revision: Of the hub's repository.
        patterns: Which of the hub's files are needed, configuration and tokenizer among them; `None` for the whole
            checkpoint, but for what is `UNREAD`.

    Raises:
        UsageError: If it is neither a folder nor shaped like a hub name, or a revision is asked of a folder.
        MissingError: If it is not in the cache and cannot be downloaded; within seconds if there is no hub.
    """
    if not isinstance(checkpoint, str):  # digits alone are a number in a spec
        raise UsageError(
            f"checkpoint={checkpoint!r} should be a folder or owner/model, as a text: put digits alone in quotes"
        )
    folder = Path(checkpoint).expanduser()
    check_revision(revision, f"a model on the hub, and {checkpoint} is a folder" if folder.is_dir() else None)
    if folder.is_dir():
        return folder
    if not is_hub_name(checkpoint):
        raise UsageError(
            f"checkpoint {checkpoint!r}: there is no such folder, and it is no name on the hub; name a folder that is "
            "there, or owner/model"
        )
    complete = _is_checkpoint if patterns is None else _is_described
    return fetch(checkpoint, patterns, complete, revision, unread=UNREAD)


def check_revision(revision: object, folder: str | None = None) -> None:
    """Refuses what cannot name a revision, and any where there is a folder.

    Args:
        revision: As a user gave it; `None` for none.
        folder: What stands in the revision's way, where something does.

    Raises:
        UsageError: With the way to write it.
    """
    if revision is None:
        return
    if folder is not None:
        raise UsageError(f"revision={revision!r} is of {folder}: leave it out")
    if not isinstance(revision, str) or not revision:  # digits alone are a number in a spec
        raise UsageError(
            f"revision={revision!r} should be a branch, a tag or a commit of the hub's repository, as a text: one of "
            "digits alone is written in quotes, revision='1.0'"
        )


def is_hub_name(name: str) -> bool:
    """Whether a text is shaped like the name of a model or data set on the hub, "owner/name"."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) is not None


def snapshot_of(folder: Path) -> tuple[str, str] | None:
    """The name on the hub and the commit of a model that stands in the hub's cache; `None` of any other folder."""
    folder = folder.resolve()
    place = folder.parent.parent.name
    if folder.parent.name != "snapshots" or not place.startswith("models--"):
        return None
    return place.removeprefix("models--").replace("--", "/"), folder.name


def cached(
    name: str,
    patterns: Sequence[str] | None,
    complete: Callable[[Path], bool],
    revision: str | None = None,
    repo_type: str = "model",
) -> Path | None:
    """What the hub's cache on this machine has of a repository; `None` if it has not all that is needed.

    Args:
        name: On the hub, "owner/name".
        patterns: Which files; `None` for all.
        complete: Whether a folder holds what is needed.
        revision: Of the hub's repository.
        repo_type: "model" or "dataset".

    Returns:
        The folder, which for a repository's commit has the commit's hash as its name.

    Raises:
        MissingError: If there can be no such name.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    wanted = None if patterns is None else list(patterns)
    try:
        folder = Path(
            snapshot_download(
                name, repo_type=repo_type, revision=revision, allow_patterns=wanted, local_files_only=True
            )
        )
    except HFValidationError:
        raise MissingError(
            f"{name} is no folder on this machine and no name on the hub; name a folder that is there, or "
            f"owner/{repo_type}"
        ) from None
    except LocalEntryNotFoundError:
        return None
    return folder if complete(folder) else None


def fetch(
    name: str,
    patterns: Sequence[str] | None,
    complete: Callable[[Path], bool],
    revision: str | None = None,
    repo_type: str = "model",
    unread: Sequence[str] = (),
) -> Path:
    """The files of a model or data set from the hub's cache on this machine, or else from the hub.

    Args:
        name: On the hub, "owner/name".
        patterns: Which files; `None` for all.
        complete: Whether a folder holds what is needed.
        revision: Of the hub's repository.
        repo_type: "model" or "dataset".
        unread: Patterns of files that are not downloaded.

    Returns:
        The folder, which for a repository's commit has the commit's hash as its name.

    Raises:
        LackingError: If the hub has the repository, but not what is needed.
        MissingError: If they are in neither; within seconds if the hub does not answer.
    """
    from huggingface_hub import snapshot_download

    folder = cached(name, patterns, complete, revision, repo_type)
    if folder is not None:
        return folder
    missing = partial(_missing, name, patterns, revision, repo_type)
    if not may_download():
        raise missing("is not downloaded to be looked at")
    _reach(name, revision, repo_type, missing)
    wanted = None if patterns is None else list(patterns)
    but_for: dict[str, Any] = {"ignore_patterns": list(unread)} if unread else {}
    try:
        folder = Path(snapshot_download(name, repo_type=repo_type, revision=revision, allow_patterns=wanted, **but_for))
    except Exception as error:  # whatever the network layer raises: it differs between versions of the hub's client
        raise missing(f"its download ended in {type(error).__name__}") from error
    if not complete(folder):
        raise LackingError(str(missing(f"the hub's copy lacks {' or '.join(patterns or ['config.json or weights'])}")))
    return folder


def _is_checkpoint(folder: Path) -> bool:
    """Whether a model's configuration and all files of its weights are there: a download may have been cut short."""
    weights = [path.name for pattern in ("model*.safetensors", "pytorch_model*.bin") for path in folder.glob(pattern)]
    parts = [found for found in map(_PART.fullmatch, weights) if found]
    whole = len(parts) < len(weights) or any(
        sum(part.groups() == (of[1], of[2]) for part in parts) == int(of[2]) for of in parts
    )
    return whole and (folder / "config.json").is_file()


def _is_described(folder: Path) -> bool:
    """Whether there is more than a model's configuration, which may have been looked at alone."""
    has_tokenizer = any(True for pattern in TOKENIZERS for _ in folder.glob(pattern))
    return has_tokenizer and (folder / "config.json").is_file()


class LackingError(MissingError):
    """The hub has the repository, but not what is needed of it."""


def _reach(name: str, revision: str | None, repo_type: str, missing: Callable[[str], MissingError]) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    ask = HfApi().dataset_info if repo_type == "dataset" else HfApi().model_info
    failure = failure_within(_SECONDS + 1, lambda: ask(name, revision=revision, timeout=_SECONDS))
    if isinstance(failure, TimeoutError):
        raise missing("the hub does not answer")
    if isinstance(failure, RevisionNotFoundError):
        raise LackingError(str(missing(f"the hub has no revision {revision} of it"))) from failure
    if isinstance(failure, RepositoryNotFoundError):
        raise missing("the hub has none of this name, or shows it to others alone") from failure
    if failure is not None:
        raise missing(f"asking the hub for it ended in {type(failure).__name__}") from failure


def _missing(name: str, patterns: Sequence[str] | None, revision: str | None, repo_type: str, why: str) -> MissingError:
    command, kind = f"hf download {name}", "models"
    if repo_type == "dataset":  # of which one wants no more than what is needed: others are in the same repository
        command += " --repo-type dataset" + "".join(f" --include {pattern!r}" for pattern in patterns or [])
        kind = "data sets"
    command += "" if revision is None else f" --revision {shlex.quote(revision)}"
    return MissingError(
        f"{name} is not on this machine and {why}; name a folder that has it, or where there is a network (for gated "
        f"{kind} with HF_TOKEN set) run `{command}`"
    )
