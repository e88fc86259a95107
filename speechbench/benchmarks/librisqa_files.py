"""LibriSQA's JSON files, as the download has them, and what stands in for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from speechbench.benchmarks.hub_datasets import is_saved
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.hub import check_revision, is_hub_name

FILES = ("test", "train")
_LFS = b"version https://git-lfs"  # how the stand-in begins that a clone without Git LFS leaves


class QuestionSource(Protocol):
    """Where LibriSQA's rows come from: a folder, or a data set on the hub."""

    def rows(self, part: int, name: str) -> Iterable[tuple[str, Any]]:
        """The rows of one of `FILES`, each with where it stands; `Any`, as nothing is checked yet.

        Raises:
            MissingError: If they are not there; the message says how to get them.
            SpeechbenchError: If they are no such rows.
        """

    def sources(self) -> Sequence[Path]:
        """The files that were read: when one changes, they are read again. Asked for after `rows`."""

    def identity(self) -> Mapping[str, Any]:
        """What tells this source from others; JSON-able."""

    def provenance(self) -> Mapping[str, str]:
        """What was found of where it comes from, as its revision on the hub."""


class LibriSQAFolder:
    """The files that `hf download ZihanZhao/LibriSQA --repo-type dataset` leaves behind.

    Args:
        root: Folder that holds `LibriSQA-PartI/` and `LibriSQA-PartII/`, or the JSON files themselves.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._asked: dict[Path, None] = {}  # in order

    def path(self, part: int, name: str) -> Path:
        """Where a file is, or should be."""
        inner, flat = self._places(part, name)
        return flat if flat.is_file() else inner

    def has(self, part: int) -> bool:
        """Whether one of a part's files is there."""
        return any(self.path(part, name).is_file() for name in FILES)

    def rows(self, part: int, name: str) -> Iterable[tuple[str, Any]]:
        """The rows of a file, each with the file and its number; none if another file of the part is all there is.

        Raises:
            MissingError: If there is no file of this part.
            SpeechbenchError: If it is no JSON list.
            UsageError: If the root is a file.
        """
        self._asked.update(dict.fromkeys(self._places(part, name)))
        path = self.path(part, name)
        if self.root.is_file():
            raise UsageError(f"root={self.root} is a file: name the folder that holds LibriSQA's files")
        if not self.has(part):
            raise MissingError(f"LibriSQA: there is no {path}; {self.how_to_get()}")
        if path.is_file():
            yield from ((f"{path}, row {number}", row) for number, row in enumerate(_read(path), 1))

    def how_to_get(self) -> str:
        """The command that downloads them."""
        return f"run `hf download ZihanZhao/LibriSQA --repo-type dataset --local-dir {self.root}`"

    def sources(self) -> Sequence[Path]:
        """The places of the files that were asked for, there or not."""
        return list(self._asked)

    def identity(self) -> Mapping[str, Any]:
        """The folder."""
        return {"questions": str(self.root.absolute())}

    def provenance(self) -> Mapping[str, str]:
        """Nothing: files do not say which revision they are of."""
        return {}

    def _places(self, part: int, name: str) -> tuple[Path, Path]:
        folder = f"LibriSQA-Part{'I' * part}"
        file = f"{folder}-{name}.json"
        return self.root / folder / file, self.root / file


def source_of(part: int, root: str, revision: str | None) -> QuestionSource:
    """Where the rows of a part come from.

    Args:
        part: 1 or 2.
        root: A folder of JSON files, or of what `datasets` saved; or the hub's name of a data set.
        revision: Of the data set on the hub.

    Raises:
        UsageError: If a revision of a folder is asked for.
    """
    folder = LibriSQAFolder(Path(root).expanduser())
    on_hub = not folder.root.is_dir() and is_hub_name(root)
    if not on_hub:
        check_revision(revision, f"a data set on the hub, and {root} is a folder")
    if on_hub or is_saved(folder.root):
        from speechbench.benchmarks.hub_librisqa import HubLibriSQA

        return HubLibriSQA(root, revision)
    return folder


def _read(path: Path) -> list[Any]:
    try:
        content = path.read_bytes()
        if content.startswith(_LFS):
            raise SpeechbenchError(
                f"{path} is only Git LFS's stand-in for the file: run `git lfs pull` there, or download it anew"
            )
        rows = json.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise SpeechbenchError(f"{path} cannot be read: {error.strerror}; mend that, or download it anew") from error
    except UnicodeDecodeError as error:
        what = f"the byte 0x{error.object[error.start]:02x} at position {error.start} is no UTF-8"
        raise SpeechbenchError(f"{path} is no JSON: {what}; download it anew") from None
    except RecursionError:
        raise SpeechbenchError(f"{path} is no list of rows: its brackets nest too deep; download it anew") from None
    except ValueError as error:
        raise SpeechbenchError(f"{path} is no JSON, or was cut off: {error}; download it anew") from None
    if not isinstance(rows, list):
        raise SpeechbenchError(f"{path} holds no JSON list, as LibriSQA's files do; download it anew")
    return rows
