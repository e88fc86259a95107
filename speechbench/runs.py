"""Run folders: the truth on disk of one training and its evaluation, written and read.

A folder holds `run.json` (what the run is), `train.jsonl` (one line per logged step), `samples.jsonl` (every
test example with its hypothesis, scores and statistics) and `result.json` (corpus scores and costs). The
last is written last, in one step: a folder without it is an unfinished run.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from speechbench.errors import SpeechbenchError
from speechbench.rewards.aggregate import AGGREGATES
from speechbench.run_schema import SCHEMA, Health, MetricInfo, Result, RunInfo, Sample, Score

__all__ = [
    "RESULT",
    "RUN",
    "SAMPLES",
    "TRAIN",
    "MetricInfo",
    "Result",
    "Run",
    "RunInfo",
    "Sample",
    "Samples",
    "Score",
    "find_runs",
    "read_run",
    "read_samples",
    "write_result",
    "write_run",
    "write_samples",
]

RUN, TRAIN, SAMPLES, RESULT = "run.json", "train.jsonl", "samples.jsonl", "result.json"
MOVE_OR_REMOVE = "remove the run's folder and run the same command again"


@dataclass(frozen=True)
class Samples:
    """The samples of a run, with their numbers as arrays.

    Attributes:
        records: In the order of the file.
        ids: Of the examples, in the same order.
        statistics: By the metric's name, shape [example, statistic].
        scores: By the metric's name, shape [example], on the field's scale; NaN where the metric does not apply.
    """

    records: tuple[Sample, ...]
    ids: tuple[str, ...]
    statistics: Mapping[str, npt.NDArray[np.float64]]
    scores: Mapping[str, npt.NDArray[np.float64]]


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
        """The samples, read on first use and checked against the result.

        Raises:
            SpeechbenchError: If the file is missing or broken, or does not give the result's corpus scores.
        """
        samples = read_samples(self.folder / SAMPLES, self.info.metrics)
        for metric in self.info.metrics if self.result else ():
            assert self.result is not None
            try:
                corpus = float(AGGREGATES[metric.aggregate](samples.statistics[metric.name].sum(axis=0)))
            except ValueError as error:
                raise _broken(self.folder / SAMPLES, error) from None
            written = self.result.metrics[metric.name]
            if not np.isclose(np.nan if written is None else written, corpus, rtol=1e-6, atol=1e-6, equal_nan=True):
                raise SpeechbenchError(
                    f"{self.folder / SAMPLES} gives {metric.display} {corpus:.4f} but {RESULT} says {written}: one of "
                    f"the two was changed or cut; {MOVE_OR_REMOVE}"
                )
        return samples


def write_run(folder: Path | str, info: RunInfo) -> Path:
    """Makes the folder and writes `run.json`; the run is then planned, not finished.

    Returns:
        The file.
    """
    return _write(Path(folder) / RUN, {"schema": SCHEMA, **dataclasses.asdict(info)})


def write_samples(folder: Path | str, samples: Iterable[Sample], name: str = SAMPLES) -> Path:
    """Writes `samples.jsonl`, or the same under another name.

    Returns:
        The file.

    Raises:
        SpeechbenchError: If a score or statistic is NaN or infinite; the message names the sample.
    """
    path = Path(folder) / name
    return _replace(path, "".join(_dump(_sample_to_json(s), f"sample {s.id} of {path}") + "\n" for s in samples))


def write_result(folder: Path | str, result: Result) -> Path:
    """Writes `result.json`, which makes the run a finished one: call it last.

    Returns:
        The file.
    """
    metrics = {name: {"corpus": corpus} for name, corpus in result.metrics.items()}
    return _write(Path(folder) / RESULT, {"schema": SCHEMA, **dataclasses.asdict(result), "metrics": metrics})


def read_run(folder: Path | str) -> Run:
    """Reads a run folder; its samples are read when asked for.

    Raises:
        SpeechbenchError: If a file is missing, broken or of a newer schema; the message names file and fix.
    """
    folder = Path(folder)
    path = folder / RUN
    content = _read(path)
    try:
        known = {f.name: content[f.name] for f in dataclasses.fields(RunInfo)}
        metrics = tuple(MetricInfo(**metric) for metric in content["metrics"])
    except (KeyError, TypeError) as error:
        raise _broken(path, error) from None
    unknown = [metric.aggregate for metric in metrics if metric.aggregate not in AGGREGATES]
    if unknown:
        raise SpeechbenchError(f"{path} needs the aggregate {unknown[0]!r}, which is unknown here: upgrade speechbench")
    return Run(folder, RunInfo(**{**known, "metrics": metrics}), _read_result(folder / RESULT, metrics))


def find_runs(out: Path | str) -> list[Run]:
    """All runs under a folder, finished and unfinished, ordered by their folders.

    Args:
        out: A run folder, an ablation's folder, or the folder of several ablations.

    Raises:
        SpeechbenchError: If there is no such folder, or one of its runs cannot be read.
    """
    out = Path(out)
    if not out.is_dir():
        raise SpeechbenchError(f"there is no folder {out}: make runs with `speechbench ablate`, or name their folder")
    found = {path.parent for pattern in (RUN, f"*/{RUN}", f"*/*/{RUN}") for path in out.glob(pattern)}
    return [read_run(folder) for folder in sorted(found)]


def read_samples(path: Path, metrics: Iterable[MetricInfo]) -> Samples:
    """Reads `samples.jsonl`.

    Raises:
        SpeechbenchError: If it is missing or broken, or lacks a score of one of the metrics.
    """
    records: list[Sample] = []
    line = 0
    names = [metric.name for metric in metrics]
    try:
        with path.open(encoding="utf-8") as file:
            for text in file:
                line += 1
                records.append(_sample_from_json(json.loads(text)))
        statistics = {name: np.array([r.metrics[name].statistics for r in records], np.float64) for name in names}
        scores = {name: np.array([r.metrics[name].score for r in records], np.float64) for name in names}
    except FileNotFoundError:
        raise SpeechbenchError(f"{path} is missing: {MOVE_OR_REMOVE}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(path, error, line) from None
    ids = tuple(record.id for record in records)
    if len(set(ids)) != len(ids) or not ids:
        raise SpeechbenchError(f"{path} {'holds an example twice' if ids else 'is empty'}: {MOVE_OR_REMOVE}")
    return Samples(tuple(records), ids, statistics, scores)


def _read_result(path: Path, metrics: Iterable[MetricInfo]) -> Result | None:
    if not path.exists():
        return None
    content = _read(path)
    try:
        return Result(
            metrics={metric.name: content["metrics"][metric.name]["corpus"] for metric in metrics},
            health=Health(**{f.name: content["health"][f.name] for f in dataclasses.fields(Health)}),
            seconds=content["seconds"],
            peak_memory_bytes=content["peak_memory_bytes"],
            steps=content["steps"],
        )
    except (KeyError, TypeError) as error:
        raise _broken(path, error) from None


def _sample_to_json(sample: Sample) -> dict[str, Any]:
    content = {f.name: getattr(sample, f.name) for f in dataclasses.fields(Sample)}
    content["metrics"] = {
        name: {
            "score": None if score.score is None else float(score.score),
            "statistics": [float(value) for value in score.statistics],
        }
        for name, score in sample.metrics.items()
    }
    return content


def _sample_from_json(content: dict[str, Any]) -> Sample:
    metrics = {name: Score(m["score"], tuple(m["statistics"])) for name, m in content["metrics"].items()}
    known = {name: content[name] for name in Sample.__dataclass_fields__}
    return Sample(**{**known, "references": tuple(content["references"]), "metrics": metrics})


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpeechbenchError(f"{path} is missing: name a run folder, or {MOVE_OR_REMOVE}") from None
    except ValueError as error:
        raise _broken(path, error) from None
    if not isinstance(content, dict) or not isinstance(content.get("schema"), int):
        raise SpeechbenchError(f"{path} is broken: it has no schema number; {MOVE_OR_REMOVE}")
    if content["schema"] > SCHEMA:
        raise SpeechbenchError(f"{path} has schema {content['schema']}, newer than {SCHEMA}: upgrade speechbench")
    return content


def _broken(path: Path, error: Exception, line: int = 0) -> SpeechbenchError:
    what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
    return SpeechbenchError(f"{path}{f' line {line}' if line else ''} is broken: {what}; {MOVE_OR_REMOVE}")


def _write(path: Path, content: dict[str, Any]) -> Path:
    return _replace(path, _dump(content, str(path), indent=1) + "\n")


def _dump(content: dict[str, Any], what: str, indent: int | None = None) -> str:
    try:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=indent)
    except ValueError as error:
        raise SpeechbenchError(f"{what} holds a NaN or an infinity, which no score may be: {error}") from None


def _replace(path: Path, text: str) -> Path:
    """Writes a whole file or none: a reader never sees half of it, even after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
