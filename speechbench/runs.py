"""Run folders: the truth on disk of one training and its evaluation, written and read.

A folder holds `run.json` (what the run is), `train.jsonl` (one line per logged step), `samples.jsonl` (every
test example with its hypothesis, scores and statistics), `sampled.jsonl` (the same of sampled answers, where they
were asked for; both with their numbers as columns beside them) and `result.json` (corpus scores and costs). The last
is written last, in one step: a folder without it is an unfinished run; `failure.json` says why, where it was an error.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import msgspec

from speechbench.aggregate import AGGREGATES
from speechbench.errors import SpeechbenchError
from speechbench.grammar import parse_expression
from speechbench.old_schemas import upgraded_run
from speechbench.run_columns import columns_name
from speechbench.run_files import MOVE_OR_REMOVE, broken, check_seal, dump, read_json, run_folders, sealed, write_json
from speechbench.run_samples import Samples, read_passes, read_samples, write_passes, write_samples
from speechbench.run_schema import (
    FAILURE,
    RESULT,
    RUN,
    SAMPLED,
    SAMPLES,
    SCHEMA,
    TRAIN,
    Failure,
    MetricInfo,
    Result,
    RunInfo,
    Sample,
    Score,
)

__all__ = [
    "MetricInfo",
    "Result",
    "Run",
    "RunInfo",
    "Sample",
    "Samples",
    "Score",
    "check_sealed",
    "find_runs",
    "read_passes",
    "read_run",
    "read_samples",
    "write_passes",
    "write_result",
    "write_run",
    "write_samples",
]

_LOGGED = msgspec.json.Decoder(dict[str, Any])
_ENDLESS = re.compile(rb"[0-9]{101}")  # digits of a number that no figure is, and that would have no mean


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        folder: Where it lies.
        info: What the run is.
        result: What came out; `None` while it is unfinished.
        schema: That `run.json` was written in.
        seal: What `result.json` holds, with the hashes of the other files.
    """

    folder: Path
    info: RunInfo
    result: Result | None
    schema: int = SCHEMA
    seal: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def finished(self) -> bool:
        """Whether there is a result."""
        return self.result is not None

    @cached_property
    def samples(self) -> Samples:
        """The samples, read on first use.

        Raises:
            SpeechbenchError: If the file is missing, broken, or was changed since the run was finished.
        """
        return read_samples(self.folder / SAMPLES, self.info.metrics, self._sealed(SAMPLES), self._columns(SAMPLES))

    @cached_property
    def passes(self) -> tuple[Samples, ...]:
        """The samples of each pass of the sampled evaluation, read on first use; none where there was none.

        Raises:
            SpeechbenchError: As for `samples`.
        """
        if self.result is None or self.result.sampled is None:
            return ()
        return read_passes(self.folder / SAMPLED, self.info.metrics, self._sealed(SAMPLED), self._columns(SAMPLED))

    @cached_property
    def log(self) -> list[dict[str, Any]]:
        """What was logged at each step of the training, in order; empty where nothing was trained.

        Raises:
            SpeechbenchError: If a line is no JSON object or has a number of more than 100 digits, or one was changed
                since the run was finished.
        """
        path = self.folder / TRAIN
        content = self._sealed(TRAIN)
        if content is None:
            content = path.read_bytes() if path.exists() else b""
        if not _ENDLESS.search(content):
            with suppress(ValueError, RecursionError):  # as a rule; else one by one, to name the line
                return _LOGGED.decode_lines(content)
        lines, texts = [], content.splitlines()
        for number, text in enumerate(texts, 1):
            try:
                if _ENDLESS.search(text):
                    raise ValueError("a number of more than 100 digits")
                lines.append(_LOGGED.decode(text))
            except (ValueError, RecursionError) as error:
                if self.finished or number < len(texts):  # else it is being written
                    raise broken(path, error, number) from None
        return lines

    @property
    def failure(self) -> Failure | None:
        """Why it did not come to its end, where it was tried, failed, and was not tried again."""
        try:
            return None if self.finished else msgspec.json.decode((self.folder / FAILURE).read_bytes(), type=Failure)
        except (OSError, ValueError, RecursionError):
            return None  # none, or not to be read: what is told of an unfinished run is no reason to stop

    def _sealed(self, name: str) -> bytes | None:
        """What a file of a finished run holds, if it was not changed; `None` for one that may still be written."""
        return check_seal(self.folder / RESULT, self.seal, name) if self.finished else None

    def _columns(self, name: str) -> bytes | None:
        """What the columns of a finished run's file hold; `None` where there are none, or they were changed."""
        try:
            return self._sealed(columns_name(name)) or None
        except SpeechbenchError:
            return None


_COMMANDS = {"list": "sizes", "show": "show", "rm": "rm", "gc": "gc"}


def __getattr__(name: str) -> Any:
    """What the commands `speechbench runs …` do is here under their names, from `speechbench.upkeep`."""
    if name not in _COMMANDS:
        raise AttributeError(f"module 'speechbench.runs' has no attribute {name!r}")
    from speechbench import upkeep  # which needs this module

    return getattr(upkeep, _COMMANDS[name])


def write_run(folder: Path | str, info: RunInfo) -> Path:
    """Makes the folder and writes `run.json`; the run is then planned, not finished.

    Returns:
        The file.
    """
    return write_json(Path(folder) / RUN, dataclasses.asdict(info))


def make_sure_of_run(folder: Path | str, info: RunInfo) -> None:
    """Writes `run.json` where there is none; where there is one, it must be of this very run.

    Raises:
        SpeechbenchError: If what stands there says something else: it was edited.
    """
    path = Path(folder) / RUN
    if not path.exists():
        write_run(folder, info)
        return
    content = read_json(path)
    wanted: dict[str, Any] = json.loads(dump(dataclasses.asdict(info), str(path)))
    if content["schema"] < SCHEMA:  # what older schemas did not say cannot differ
        wanted = upgraded_run({"schema": content["schema"], **{key: wanted[key] for key in wanted if key in content}})
        content = upgraded_run(content)
    for key, value in wanted.items():
        if key not in ("provenance", "schema") and content.get(key) != value:
            raise SpeechbenchError(
                f"{path} was edited: its {key!r} is {content.get(key)!r}, of this run it is {value!r}; {MOVE_OR_REMOVE}"
            )


def write_failure(folder: Path | str, error: BaseException) -> Path:
    """Writes `failure.json`: why the run did not come to its end.

    Returns:
        The file.
    """
    said = " ".join(str(error).split()) or type(error).__name__
    reason = said if isinstance(error, SpeechbenchError) else f"{type(error).__name__}: {said}"
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return write_json(Path(folder) / FAILURE, dataclasses.asdict(Failure(reason, when)))


def write_result(folder: Path | str, result: Result) -> Path:
    """Writes `result.json`, which makes the run a finished one: call it last.

    It holds hashes of itself and of the run's other files as they are now, see `check_sealed`.

    Returns:
        The file.
    """
    path = Path(folder) / RESULT
    metrics = {name: {"corpus": corpus} for name, corpus in result.metrics.items()}
    content = {**dataclasses.asdict(result), "metrics": metrics}
    if result.sampled is not None:
        passes = {
            name: {"mean": result.sampled.mean(name), "passes": its} for name, its in result.sampled.metrics.items()
        }
        content["sampled"]["metrics"] = passes
    columns = (columns_name(SAMPLES), columns_name(SAMPLED))
    return write_json(path, sealed(path, content, (RUN, TRAIN, SAMPLES, SAMPLED, *columns)))


def check_sealed(folder: Path | str) -> None:
    """Makes sure that no file of a finished run was changed since; an unfinished run has nothing to check.

    The files are `result.json`, `run.json`, `train.jsonl`, `samples.jsonl` and `sampled.jsonl`: all that the board is
    made of. What was trained, in `checkpoints`, is not sealed: it is large, and may be removed for its room.

    Raises:
        SpeechbenchError: If one was changed, cut or removed; the message names it and the fix.
    """
    path = Path(folder) / RESULT
    if path.exists():
        content = read_json(path)
        for name in (RESULT, RUN, TRAIN, SAMPLES, SAMPLED):
            check_seal(path, content, name)


def read_run(folder: Path | str) -> Run:
    """Reads a run folder; its samples are read when asked for.

    Raises:
        SpeechbenchError: If a file is missing, broken, edited or of another schema; the message names file and fix.
    """
    folder = Path(folder)
    path = folder / RUN
    content = read_json(path)
    try:
        info = msgspec.convert(upgraded_run(content), RunInfo)
        _check_reward(info.reward)
    except (KeyError, TypeError, AttributeError, ValueError, SpeechbenchError) as error:
        raise broken(path, error) from None
    unknown = [metric.aggregate for metric in info.metrics if metric.aggregate not in AGGREGATES]
    if unknown:
        raise SpeechbenchError(f"{path} needs the aggregate {unknown[0]!r}, which is unknown here: upgrade speechbench")
    result, seal = _read_result(folder / RESULT, info.metrics)
    return Run(folder, info, result, content["schema"], seal)


@cache
def _check_reward(reward: str | None) -> None:
    """Refuses the spec of a reward that is none; each once, as many runs share theirs."""
    if reward is not None:
        parse_expression(reward)


def find_runs(out: Path | str, only: Collection[str] | None = None) -> list[Run]:
    """All runs under a folder, finished and unfinished, ordered by their folders.

    Args:
        out: A run folder, an ablation's folder, or the folder of several ablations.
        only: Ids of the runs that count, which are their folders' names: no other is opened, so that none of
            them stands in the way. `None` for all.

    Raises:
        SpeechbenchError: If there is no such folder, or one of these runs cannot be read.
    """
    return [read_run(folder) for folder in run_folders(out, only)]


def _read_result(path: Path, metrics: Iterable[MetricInfo]) -> tuple[Result | None, dict[str, Any]]:
    if not path.exists():
        return None, {}
    content = read_json(path)
    for name in (RESULT, RUN):
        check_seal(path, content, name)
    try:
        corpus = {metric.name: content["metrics"][metric.name]["corpus"] for metric in metrics}
        sampled = content.get("sampled")
        return msgspec.convert({**content, "metrics": corpus, "sampled": _sampled(sampled, metrics)}, Result), content
    except (KeyError, TypeError, ValueError) as error:
        raise broken(path, error) from None


def _sampled(content: dict[str, Any] | None, metrics: Iterable[MetricInfo]) -> dict[str, Any] | None:
    if content is None:
        return None
    return {**content, "metrics": {metric.name: content["metrics"][metric.name]["passes"] for metric in metrics}}
