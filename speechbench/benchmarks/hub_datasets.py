"""Data sets of the Hugging Face hub as Arrow files on this machine: found, pinned, opened by `datasets`.

No code of a data set is run, and no audio is decoded here: recordings are bytes in a column.
"""

from __future__ import annotations

import functools
import glob
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechbench import hub
from speechbench.benchmarks.base import SPLITS
from speechbench.errors import MissingError, SpeechbenchError, UsageError, sentence_of
from speechbench.libraries import needed

if TYPE_CHECKING:
    import pyarrow

CONVERTED = "refs/convert/parquet"
"""The revision under which the hub keeps its own conversion of a data set to Parquet."""
_SHARD = re.compile(r"([\w.]+)-(\d{5})-of-(\d{5})(?:-\w+)?\.parquet")


class Origin:
    """Where a data set lies: in a folder, or in a repository on the hub at one commit.

    Args:
        name: The folder, or the hub's name, "owner/name".
        revision: Of the hub's repository; if not given, what is on this machine, or else the newest.
        patterns: Which of the repository's files.
        complete: Whether a folder holds all that is needed.
        lacking: What is said where the hub has the data set, but not all that is needed.
        others: Revisions that are tried too, where none is given and the newest lacks what is needed.

    Attributes:
        name: As given.

    Raises:
        UsageError: If the name is neither, or the revision is no text or is asked of a folder.
    """

    def __init__(
        self,
        name: str,
        revision: str | None,
        patterns: Sequence[str],
        complete: Callable[[Path], bool],
        lacking: str,
        others: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._local = Path(name).expanduser()
        self._is_local = self._local.is_dir()
        hub.check_revision(revision, f"a data set on the hub, and {name} is a folder" if self._is_local else None)
        if not self._is_local and not hub.is_hub_name(name):
            raise UsageError(
                f"data set {name!r}: there is no such folder, and it is no name on the hub; name a folder that is "
                "there, or owner/name"
            )
        self._revisions = (None, *others) if revision is None else (revision,)
        self._patterns = patterns
        self._complete = complete
        self._lacking = lacking

    @functools.cached_property
    def folder(self) -> Path:
        """The folder, downloaded if need be.

        Raises:
            MissingError: If it is not on this machine and cannot be downloaded; within seconds if there is no hub.
        """
        if self._is_local:
            return self._local.absolute()
        for revision in self._revisions:
            found = hub.cached(self.name, self._patterns, self._complete, revision, "dataset")
            if found is not None:
                return found
        for revision in self._revisions:
            with suppress(hub.LackingError):
                return hub.fetch(self.name, self._patterns, self._complete, revision, "dataset")
        asked = "".join(f"; revision {revision} was asked for" for revision in self._revisions[:1] if revision)
        raise MissingError(self._lacking + asked)

    def provenance(self) -> Mapping[str, str]:
        """The data set and, of one on the hub, the commit that its files are of."""
        if self._is_local:
            return {"data set": str(self.folder)}
        return {"data set": self.name, "revision": self.folder.name}


def is_saved(folder: Path) -> bool:
    """Whether `datasets` saved a `Dataset` or `DatasetDict` as this folder."""
    whole = (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    return whole or (folder / "dataset_dict.json").is_file()


def shards(folder: Path) -> tuple[Mapping[str, Sequence[Path]], Sequence[str]]:
    """The Parquet files of a data set's splits, as they are uploaded or as the hub converts them.

    Args:
        folder: With `<split>-00000-of-00002.parquet`, or `<split>/0000.parquet`.

    Returns:
        The files by split, in order; and which splits lack what, one sentence's part each.
    """
    files: dict[str, list[Path]] = {}
    promised: dict[str, int] = {}
    lacks: list[str] = []
    for path in sorted(folder.glob("*.parquet")):
        named = _SHARD.fullmatch(path.name)
        split = named[1] if named else path.stem
        files.setdefault(split, []).append(path)
        promised[split] = int(named[3]) if named else 1
    for path in sorted(folder.glob("*/*.parquet")):
        split = path.parent.name
        if split.startswith("partial-"):
            lacks.append(f"{split.removeprefix('partial-')} is converted in part only")
        elif path.stem.isdecimal():
            files.setdefault(split, []).append(path)
            promised[split] = max(promised.get(split, 0), int(path.stem) + 1)
    lacks += [f"{s} has {len(files[s])} of {count} files" for s, count in promised.items() if len(files[s]) != count]
    return files, lacks


def open_saved(folder: Path, what: str) -> tuple[Mapping[str, Sequence[Path]], str | None]:
    """The Arrow files of a data set that `datasets` saved.

    Args:
        folder: As made by `save_to_disk`.
        what: What needs it, as "covost2 from the hub".

    Returns:
        The files by split, in order, and the name of the data set's configuration, where known.

    Raises:
        MissingError: If `datasets` is not installed.
        SpeechbenchError: If the folder cannot be read, or holds one split and does not say which.
    """
    datasets = needed("datasets", "datasets", what)
    with _reading(folder, "save it again"):
        found = datasets.load_from_disk(str(folder), keep_in_memory=False)
    if not isinstance(found, dict):
        if found.split is None:
            raise SpeechbenchError(
                f"{folder} holds a Dataset that does not say which split it is: save it in a DatasetDict with the "
                f"splits {', '.join(SPLITS)}"
            )
        found = {str(found.split): found}
    configuration = next((split.info.config_name for split in found.values()), None)
    return {split: _files(found[split]) for split in found}, configuration


def open_parquet(files: Mapping[str, Sequence[Path]], what: str) -> Mapping[str, Sequence[Path]]:
    """The Arrow files of a data set in Parquet, which `datasets` makes once and keeps in its own cache.

    A copy is made because a recording in Parquet can be had only with the hundred or so around it, and one in an
    Arrow file is read straight from its place.

    Args:
        files: By split, in order.
        what: What needs it, as "covost2 from the hub".

    Returns:
        The Arrow files by split, in order.

    Raises:
        MissingError: If `datasets` is not installed.
        SpeechbenchError: If a file cannot be read.
    """
    datasets = needed("datasets", "datasets", what)
    from pyarrow import parquet

    first = next(iter(files.values()))[0]
    with _reading(first.parent, "download it anew"), _quietly(datasets):
        filled = {  # `datasets` cannot read a file without rows
            split: [glob.escape(str(path)) for path in paths if parquet.read_metadata(path).num_rows]
            for split, paths in files.items()
        }
        asked = {split: paths for split, paths in filled.items() if paths}
        found = datasets.load_dataset("parquet", data_files=asked) if asked else {}
    return {split: _files(found[split]) if split in asked else [] for split in files}


def table_of(file: Path) -> pyarrow.Table:
    """An Arrow file as a table, mapped into memory: what is not looked at is not read.

    It is opened once in each process, and again when the file has changed.

    Raises:
        OSError: If there is no such file.
        SpeechbenchError: If it is no Arrow file.
    """
    found = file.stat()
    return _table(file, (found.st_size, found.st_mtime_ns))


def texts(column: pyarrow.ChunkedArray) -> list[str | None]:
    """The cells of a column; bytes that are no UTF-8 are surrogates, as `tsv.damage` finds them.

    Raises:
        SpeechbenchError: If it is no column of texts; said after its name.
    """
    if str(column.type) not in ("string", "large_string", "null"):
        raise SpeechbenchError(f"holds {str(column.type)[:200]}, not texts")
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        cells = _as_bytes(column).to_pylist()
        return [None if cell is None else cell.decode("utf-8", "surrogateescape") for cell in cells]


@functools.lru_cache(maxsize=512)
def _table(file: Path, stamp: tuple[int, int]) -> pyarrow.Table:
    pyarrow = needed("pyarrow", "datasets", f"the data set in {file.parent}")
    with _reading(file, "remove it, and download or save the data set again"):
        table = pyarrow.ipc.open_stream(pyarrow.memory_map(str(file))).read_all()
        for column in table.flatten().columns:  # a damaged place of a cell would end the process, not raise
            _as_bytes(column).validate(full=True)
        return table


def _as_bytes(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """The same cells, not looked at: texts need not be UTF-8."""
    kinds = {"string": "binary", "large_string": "large_binary"}
    return column.cast(kinds[str(column.type)]) if str(column.type) in kinds else column


def _files(dataset: Any) -> list[Path]:
    return [Path(file["filename"]) for file in dataset.cache_files]


@contextmanager
def _reading(place: Path, mend: str) -> Iterator[None]:
    """Turns whatever `datasets` and pyarrow raise of damaged files into one sentence."""
    try:
        yield
    except (SpeechbenchError, MemoryError):
        raise
    except Exception as error:  # of several libraries, and of data that can be anything
        cause = error.__cause__ or error
        full = sentence_of(cause)  # as where the disk is
        said = (" ".join(str(cause).split()) or type(cause).__name__)[:300]
        raise SpeechbenchError(full or f"{place} cannot be read as a data set: {said}; {mend}") from error


@contextmanager
def _quietly(datasets: Any) -> Iterator[None]:
    """Lets `datasets` draw its bars on a terminal only, and not write beside what is said of its errors here."""
    shown, level = datasets.utils, datasets.logging.get_verbosity()
    bars = not shown.are_progress_bars_disabled()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    if bars and not sys.stderr.isatty():
        shown.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if bars:
            shown.enable_progress_bars()
