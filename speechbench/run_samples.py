"""The answers in a run folder: every test example with its hypotheses, scores and statistics, written and read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from speechbench.aggregate import AGGREGATES
from speechbench.errors import SpeechbenchError
from speechbench.run_columns import Columns, columns_name, decode_columns, write_columns
from speechbench.run_files import MOVE_OR_REMOVE, broken, dump, replace
from speechbench.run_schema import SAMPLED, SAMPLES, MetricInfo, Sample

T = TypeVar("T")

_LARGEST = 1e100  # of a statistic: sums and products of more would have no end
_PASS = "pass"  # field of a line of several passes: its number


class _Score(msgspec.Struct):
    score: float | None
    statistics: list[float]


class _Line(msgspec.Struct, rename={"number": _PASS}):
    """What of a line is needed to compare runs; texts are read when they are asked for."""

    id: str
    speaker: str | None
    audio: str | None
    metrics: dict[str, _Score]
    number: int = 0


class _Number(msgspec.Struct, rename={"number": _PASS}):
    number: int = 0


_LINES, _RECORDS, _NUMBERS = msgspec.json.Decoder(_Line), msgspec.json.Decoder(Sample), msgspec.json.Decoder(_Number)


@dataclass(frozen=True)
class Samples(Columns):
    """The samples of a run, with their numbers as arrays.

    Attributes:
        path: The file.
        number: Of the pass, where the file holds several.
    """

    path: Path
    number: int = 0

    @cached_property
    def records(self) -> tuple[Sample, ...]:
        """All that the file says of each example, in its order; read on first use.

        Raises:
            SpeechbenchError: If the file is missing or broken.
        """
        content = _read(self.path)
        samples, numbers = _decoded(self.path, content, _RECORDS), _decoded(self.path, content, _NUMBERS)
        return tuple(s for s, its in zip(samples, numbers, strict=True) if its.number == self.number)


def write_samples(folder: Path | str, samples: Iterable[Sample], name: str = SAMPLES) -> Path:
    """Writes `samples.jsonl` and its columns; or the lines alone under another name.

    Returns:
        The file.

    Raises:
        SpeechbenchError: If a score or statistic is NaN or infinite; the message names the sample.
    """
    samples = list(samples)
    path = _write(Path(folder) / name, ((s, {}) for s in samples))
    if name == SAMPLES:
        write_columns(path.with_name(columns_name(name)), [samples])
    return path


def write_passes(folder: Path | str, passes: Sequence[Iterable[Sample]], name: str = SAMPLED) -> Path:
    """Writes `sampled.jsonl` and its columns, lines as in `samples.jsonl` with a "pass" from 0; or the lines alone.

    Returns:
        The file.

    Raises:
        SpeechbenchError: As `write_samples`.
    """
    several = [list(samples) for samples in passes]
    path = _write(Path(folder) / name, ((s, {_PASS: n}) for n, samples in enumerate(several) for s in samples))
    if name == SAMPLED:
        write_columns(path.with_name(columns_name(name)), several)
    return path


def read_samples(
    path: Path, metrics: Iterable[MetricInfo], content: bytes | None = None, columns: bytes | None = None
) -> Samples:
    """Reads `samples.jsonl`.

    Args:
        path: The file.
        metrics: Whose numbers are wanted.
        content: What the file holds, where that was read already.
        columns: What its columns hold, where they are there; then the lines are not read.

    Raises:
        SpeechbenchError: If it is missing or broken, or lacks a score of one of the metrics.
    """
    metrics = list(metrics)
    names = [metric.name for metric in metrics]
    known = _known(columns, names)
    if known is None or len(known) != 1:
        known = [_together(path, _decoded(path, _read(path) if content is None else content, _LINES), names)]
    return _checked(path, 0, known[0], metrics)


def read_passes(
    path: Path, metrics: Iterable[MetricInfo], content: bytes | None = None, columns: bytes | None = None
) -> tuple[Samples, ...]:
    """Reads `sampled.jsonl`: the samples of each pass. The arguments are those of `read_samples`.

    Raises:
        SpeechbenchError: As `read_samples`, and if the passes are not of the same examples.
    """
    metrics = list(metrics)
    names = [metric.name for metric in metrics]
    its = _known(columns, names)
    if its is None:
        passes: dict[int, list[_Line]] = {}
        for line in _decoded(path, _read(path) if content is None else content, _LINES):
            passes.setdefault(line.number, []).append(line)
        its = [_together(path, passes[number], names) for number in sorted(passes)]
    found = tuple(_checked(path, number, each, metrics) for number, each in enumerate(its))
    if not found or any(set(each.ids) != set(found[0].ids) for each in found):
        raise SpeechbenchError(
            f"{path} {'holds passes over different examples' if found else 'is empty'}: {MOVE_OR_REMOVE}"
        )
    return found


def _known(columns: bytes | None, metrics: Iterable[str]) -> list[Columns] | None:
    """What the columns hold, if they can be read and hold all metrics."""
    found = None if columns is None else decode_columns(columns)
    return found if found and all(name in its.scores for its in found for name in metrics) else None


def _checked(path: Path, number: int, its: Columns, metrics: Iterable[MetricInfo]) -> Samples:
    if len(set(its.ids)) != len(its.ids) or not its.ids:
        raise SpeechbenchError(f"{path} {'holds an example twice' if its.ids else 'is empty'}: {MOVE_OR_REMOVE}")
    for metric in metrics:
        statistics = its.statistics[metric.name]
        reason = _unfit(metric.aggregate, statistics.shape[1])
        if not reason and not np.abs(statistics).max(initial=0.0) <= _LARGEST:
            reason = f"a statistic is beyond ±{_LARGEST:g}"
        if reason:
            raise SpeechbenchError(f"{path} is broken: {metric.display}: {reason}; {MOVE_OR_REMOVE}")
    return Samples(its.ids, its.speakers, its.audio, its.statistics, its.scores, path, number)


@cache
def _unfit(aggregate: str, width: int) -> str:
    """Why so many statistics are none of an aggregate; nothing where they are."""
    try:
        AGGREGATES[aggregate](np.zeros(width))
    except ValueError as error:
        return str(error)
    return ""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SpeechbenchError(f"{path} is missing: {MOVE_OR_REMOVE}") from None


def _decoded(path: Path, content: bytes, decoder: msgspec.json.Decoder[T]) -> list[T]:
    try:
        return decoder.decode_lines(content)
    except (ValueError, RecursionError):  # which line? msgspec does not say
        for number, text in enumerate(content.splitlines(), 1):
            try:
                decoder.decode(text)
            except (ValueError, RecursionError) as error:
                raise broken(path, error, number) from None
        raise


def _write(path: Path, lines: Iterable[tuple[Sample, Mapping[str, int]]]) -> Path:
    texts = (dump({**more, **_sample_to_json(s)}, f"sample {s.id} of {path}") for s, more in lines)
    return replace(path, "".join(text + "\n" for text in texts))


def _together(path: Path, lines: Sequence[_Line], metrics: Iterable[str]) -> Columns:
    statistics, scores = {}, {}
    try:
        for name in metrics:
            its = [line.metrics[name] for line in lines]
            width = len(its[0].statistics) if its else 0
            if any(len(score.statistics) != width for score in its):
                raise ValueError(f"{name} has not as many statistics for each example")
            flat = np.fromiter(chain.from_iterable(score.statistics for score in its), np.float64)
            statistics[name] = flat.reshape(len(its), width)
            scores[name] = np.array([score.score for score in its], np.float64)
    except (ValueError, KeyError) as error:
        raise broken(path, error, len(lines)) from None
    ids, speakers, audio = (tuple(getattr(line, what) for line in lines) for what in ("id", "speaker", "audio"))
    return Columns(ids, speakers, audio, statistics, scores)


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
