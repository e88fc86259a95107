"""The files of a run folder as files: written whole or not at all, read with one sentence for what is broken."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from speechbench.errors import SpeechbenchError, naming
from speechbench.run_schema import RESULT, RUN, SCHEMA

MOVE_OR_REMOVE = "remove the run's folder and run the same command again"
FIRST_SEALED = 2  # the first schema whose results have a seal
SEAL = "sha256"  # field of a sealed file: SHA-256 by file name, its own over all its other fields


def run_folders(out: Path | str, only: Collection[str] | None = None) -> list[Path]:
    """The run folders under a folder, in order: those that hold a `run.json`, however broken, or a result without one.

    So are those that may not be looked into: whether they hold one nobody knows.

    Args:
        out: A run folder, an ablation's folder, or the folder of several ablations.
        only: Ids of the runs that count, which are their folders' names. `None` for all.

    Raises:
        SpeechbenchError: If there is no such folder.
    """
    out = Path(out)
    if not out.is_dir():
        raise SpeechbenchError(f"there is no folder {out}: make runs with `speechbench ablate`, or name their folder")
    found = _holding_runs(out, 2)
    return sorted(folder for folder in found if only is None or folder.resolve().name in only)


def _holding_runs(folder: Path, deeper: int) -> Iterator[Path]:
    """By `os.scandir`, which is five times as fast as pathlib's glob; what may not be looked into may hold one."""
    try:
        with os.scandir(folder) as entries:
            inside = list(entries)
    except FileNotFoundError:  # removed meanwhile
        return
    except PermissionError:
        yield folder
        return
    if not {RUN, RESULT}.isdisjoint(entry.name for entry in inside):
        yield folder
    for entry in inside if deeper else ():
        if _is_folder(entry):
            yield from _holding_runs(folder / entry.name, deeper - 1)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def write_json(path: Path, content: dict[str, Any]) -> Path:
    """Writes a JSON object with the schema's number.

    Raises:
        SpeechbenchError: If it holds a NaN or an infinity.
    """
    return replace(path, dump({"schema": SCHEMA, **content}, str(path), indent=1) + "\n")


def dump(content: dict[str, Any], what: str, indent: int | None = None) -> str:
    """JSON of finite numbers; `what` it is of names it in the error.

    Raises:
        SpeechbenchError: If it holds a NaN or an infinity.
    """
    try:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=indent)
    except ValueError as error:
        raise SpeechbenchError(f"{what} holds a NaN or an infinity, which no score may be: {error}") from None


def replace(path: Path, text: str) -> Path:
    """Writes a whole file or none: a reader never sees half of it, even after a power cut.

    Raises:
        OSError: If it cannot be written; it names the file.
    """
    return replace_bytes(path, text.encode("utf-8"))


def replace_bytes(path: Path, content: bytes) -> Path:
    """As `replace`, of what is no text."""
    with _temporary(path) as temporary:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    return path


def probe(path: Path) -> None:
    """Finds out whether a file can be written there, before the work that it is to hold; one that is there stays.

    Raises:
        OSError: If it cannot; it names the file.
    """
    with _temporary(path) as temporary:
        temporary.write_text("\n")


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A name beside a file, in its folder, which is made; what then has this name goes again. Errors name the file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


def remove_temporary(folder: Path) -> None:
    """Removes what a killed process has left half written; only for who holds the folder."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object of this schema or an older one, as it stands there.

    Raises:
        SpeechbenchError: If it is missing, broken or of a newer schema.
    """
    try:
        content = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        raise SpeechbenchError(f"{path} is missing: name a run folder, or {MOVE_OR_REMOVE}") from None
    except (ValueError, RecursionError) as error:  # msgspec's among them
        raise broken(path, error) from None
    if not isinstance(content, dict) or not isinstance(content.get("schema"), int):
        raise SpeechbenchError(f"{path} is broken: it has no schema number; {MOVE_OR_REMOVE}")
    if content["schema"] > SCHEMA:
        raise SpeechbenchError(f"{path} has schema {content['schema']}, newer than {SCHEMA}: upgrade speechbench")
    return content


def broken(path: Path, error: Exception, line: int = 0) -> SpeechbenchError:
    """What is wrong with a file that could not be understood."""
    what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
    return SpeechbenchError(f"{path}{f' line {line}' if line else ''} is broken: {what}; {MOVE_OR_REMOVE}")


def sealed(path: Path, content: dict[str, Any], others: tuple[str, ...]) -> dict[str, Any]:
    """The content of a file with the hashes that tell whether it, or one of the others beside it, was changed.

    Args:
        path: Where it is going to be written.
        content: All of its fields.
        others: Names of files in the same folder; those that are not there are left out.
    """
    hashes = {name: _hash(path.with_name(name).read_bytes()) for name in others if path.with_name(name).exists()}
    return {**content, SEAL: {**hashes, path.name: _hash_of(content)}}


def check_seal(path: Path, content: dict[str, Any], name: str) -> bytes:
    """Refuses a sealed file, or one that it seals, which was changed since.

    Args:
        path: The sealed file.
        content: What was read from it.
        name: Of the file in question, in the same folder; `path.name` for itself.

    Returns:
        What the other file holds, of which the hash was taken; nothing where it is not there, and for the file itself.

    Raises:
        SpeechbenchError: If its hash is not the one in the seal.
    """
    file = path.with_name(name)
    held = b""
    found: str | None = None
    if name == path.name:
        found = _hash_of({key: value for key, value in content.items() if key not in (SEAL, "schema")})
    else:
        with suppress(FileNotFoundError):
            held = file.read_bytes()
            found = _hash(held)
    if content["schema"] >= FIRST_SEALED:
        seal = content.get(SEAL)
        if found != (seal.get(name) if isinstance(seal, dict) else None):
            state = "was changed or cut" if found else "is missing"
            raise SpeechbenchError(f"{file} {state} since the run was finished: {MOVE_OR_REMOVE}")
    return held


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _hash_of(content: dict[str, Any]) -> str:
    return _hash(json.dumps(content, sort_keys=True).encode())
