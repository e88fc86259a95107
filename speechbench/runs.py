"""Run folders: the truth on disk of one training and its evaluation, written and read.

A folder holds `run.json` (what the run is), `train.jsonl` (one line per logged step), `samples.jsonl` (every
test example with its hypothesis, scores and statistics), `sampled.jsonl` (the same of sampled answers, where they
were asked for) and `result.json` (corpus scores and costs). The last is written last, in one step: a folder
without it is an unfinished run.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from speechbench.errors import SpeechbenchError
from speechbench.rewards.aggregate import AGGREGATES
from speechbench.run_files import MOVE_OR_REMOVE, broken, check_seal, dump, read_json, sealed, write_json
from speechbench.run_samples import Samples, read_passes, read_samples, write_passes, write_samples
from speechbench.run_schema import (
    RESULT,
    RUN,
    SAMPLED,
    SAMPLES,
    TRAIN,
    Best,
    Health,
    MetricInfo,
    Result,
    RunInfo,
    Sample,
    Sampled,
    Score,
)

__all__ = [
    "RESULT",
    "RUN",
    "SAMPLED",
    "SAMPLES",
    "TRAIN",
    "MetricInfo",
    "Result",
    "Run",
    "RunInfo",
    "Sample",
    "Sampled",
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

_UNSAID = {"split": "test"}  # what run.json did not say when it was the only one that mattered


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        folder: Where it lies.
        info: What the run is.
        result: What came out; `None` while it is unfinished.
    """

    folder: Path
    info: RunInfo
    result: Result | None

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
        if self.finished:
            check_seal(self.folder / RESULT, read_json(self.folder / RESULT), SAMPLES)
        return read_samples(self.folder / SAMPLES, self.info.metrics)

    @cached_property
    def passes(self) -> tuple[Samples, ...]:
        """The samples of each pass of the sampled evaluation, read on first use; none where there was none.

        Raises:
            SpeechbenchError: As for `samples`.
        """
        if self.result is None or self.result.sampled is None:
            return ()
        check_seal(self.folder / RESULT, read_json(self.folder / RESULT), SAMPLED)
        return read_passes(self.folder / SAMPLED, self.info.metrics)

    @cached_property
    def log(self) -> list[dict[str, Any]]:
        """What was logged at each step of the training, in order; empty where nothing was trained.

        Raises:
            SpeechbenchError: If a line is no JSON object, or one was changed since the run was finished.
        """
        path = self.folder / TRAIN
        if self.finished:
            check_seal(self.folder / RESULT, read_json(self.folder / RESULT), TRAIN)
        lines = []
        texts = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for number, text in enumerate(texts, 1):
            try:
                line = json.loads(text)
                if not isinstance(line, dict):
                    raise ValueError(f"{text[:40]!r} is no JSON object")
            except ValueError as error:
                if self.finished or number < len(texts):  # else it is being written
                    raise broken(path, error, number) from None
            else:
                lines.append(line)
        return lines


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
    found = read_json(path)
    wanted = json.loads(dump(dataclasses.asdict(info), str(path)))
    for key, value in wanted.items():
        unsaid = key in _UNSAID and key not in found
        if key != "provenance" and not unsaid and found.get(key) != value:
            raise SpeechbenchError(
                f"{path} was edited: its {key!r} is {found.get(key)!r}, of this run it is {value!r}; {MOVE_OR_REMOVE}"
            )


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
    return write_json(path, sealed(path, content, (RUN, TRAIN, SAMPLES, SAMPLED)))


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
    content = {**_UNSAID, **read_json(path)}
    try:
        known = {f.name: content[f.name] for f in dataclasses.fields(RunInfo)}
        metrics = tuple(MetricInfo(**metric) for metric in content["metrics"])
    except (KeyError, TypeError) as error:
        raise broken(path, error) from None
    unknown = [metric.aggregate for metric in metrics if metric.aggregate not in AGGREGATES]
    if unknown:
        raise SpeechbenchError(f"{path} needs the aggregate {unknown[0]!r}, which is unknown here: upgrade speechbench")
    return Run(folder, RunInfo(**{**known, "metrics": metrics}), _read_result(folder / RESULT, metrics))


def find_runs(out: Path | str, only: Collection[str] | None = None) -> list[Run]:
    """All runs under a folder, finished and unfinished, ordered by their folders.

    Args:
        out: A run folder, an ablation's folder, or the folder of several ablations.
        only: Ids of the runs that count, which are their folders' names: no other is opened, so that none of
            them stands in the way. `None` for all.

    Raises:
        SpeechbenchError: If there is no such folder, or one of these runs cannot be read.
    """
    out = Path(out)
    if not out.is_dir():
        raise SpeechbenchError(f"there is no folder {out}: make runs with `speechbench ablate`, or name their folder")
    found = {path.parent for pattern in (RUN, f"*/{RUN}", f"*/*/{RUN}") for path in out.glob(pattern)}
    return [read_run(folder) for folder in sorted(found) if only is None or folder.resolve().name in only]


def _read_result(path: Path, metrics: Iterable[MetricInfo]) -> Result | None:
    if not path.exists():
        return None
    content = read_json(path)
    for name in (RESULT, RUN):
        check_seal(path, content, name)
    try:
        return Result(
            metrics={metric.name: content["metrics"][metric.name]["corpus"] for metric in metrics},
            health=Health(**{f.name: content["health"][f.name] for f in dataclasses.fields(Health)}),
            seconds=content["seconds"],
            peak_memory_bytes=content["peak_memory_bytes"],
            steps=content["steps"],
            warnings=tuple(content["warnings"]),
            usage=content["usage"],
            best=Best(**content["best"]) if content.get("best") else None,
            sampled=_sampled(content["sampled"], metrics) if content.get("sampled") else None,
        )
    except (KeyError, TypeError) as error:
        raise broken(path, error) from None


def _sampled(content: dict[str, Any], metrics: Iterable[MetricInfo]) -> Sampled:
    passes = {metric.name: tuple(content["metrics"][metric.name]["passes"]) for metric in metrics}
    return Sampled(content["temperature"], content["top_p"], passes)
