"""The answers in a run folder: every test example with its hypotheses, scores and statistics, written and read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from speechbench.errors import SpeechbenchError
from speechbench.run_files import MOVE_OR_REMOVE, broken, dump, replace
from speechbench.run_schema import SAMPLED, SAMPLES, MetricInfo, Sample

T = TypeVar("T")

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
class Samples:
    """The samples of a run, with their numbers as arrays.

    Attributes:
        path: The file.
        number: Of the pass, where the file holds several.
        ids: Of the examples, in the order of the file.
        speakers: Of the examples, where known.
        audio: Path of each example's speech, where there was any.
        statistics: By the metric's name, shape [example, statistic].
        scores: By the metric's name, shape [example], on the field's scale; NaN where the metric does not apply.
    """

    path: Path
    number: int
    ids: tuple[str, ...]
    speakers: tuple[str | None, ...]
    audio: tuple[str | None, ...]
    statistics: Mapping[str, npt.NDArray[np.float64]]
    scores: Mapping[str, npt.NDArray[np.float64]]

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
    """Writes `samples.jsonl`, or the same under another name.

    Returns:
        The file.

    Raises:
        SpeechbenchError: If a score or statistic is NaN or infinite; the message names the sample.
    """
    return _write(Path(folder) / name, ((s, {}) for s in samples))


def write_passes(folder: Path | str, passes: Sequence[Iterable[Sample]], name: str = SAMPLED) -> Path:
    """Writes `sampled.jsonl`, or the same under another name: lines as in `samples.jsonl`, with a "pass" from 0.

    Returns:
        The file.

    Raises:
        SpeechbenchError: As `write_samples`.
    """
    return _write(Path(folder) / name, ((s, {_PASS: n}) for n, samples in enumerate(passes) for s in samples))


def read_samples(path: Path, metrics: Iterable[MetricInfo], content: bytes | None = None) -> Samples:
    """Reads `samples.jsonl`.

    Args:
        path: The file.
        metrics: Whose numbers are wanted.
        content: What the file holds, where that was read already.

    Raises:
        SpeechbenchError: If it is missing or broken, or lacks a score of one of the metrics.
    """
    return _together(path, 0, _decoded(path, _read(path) if content is None else content, _LINES), metrics)


def read_passes(path: Path, metrics: Iterable[MetricInfo], content: bytes | None = None) -> tuple[Samples, ...]:
    """Reads `sampled.jsonl`: the samples of each pass.

    Raises:
        SpeechbenchError: As `read_samples`, and if the passes are not of the same examples.
    """
    passes: dict[int, list[_Line]] = {}
    for line in _decoded(path, _read(path) if content is None else content, _LINES):
        passes.setdefault(line.number, []).append(line)
    metrics = tuple(metrics)
    found = tuple(_together(path, number, passes[number], metrics) for number in sorted(passes))
    if not found or any(set(its.ids) != set(found[0].ids) for its in found):
        raise SpeechbenchError(
            f"{path} {'holds passes over different examples' if found else 'is empty'}: {MOVE_OR_REMOVE}"
        )
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SpeechbenchError(f"{path} is missing: {MOVE_OR_REMOVE}") from None


def _decoded(path: Path, content: bytes, decoder: msgspec.json.Decoder[T]) -> list[T]:
    try:
        return decoder.decode_lines(content)
    except ValueError:  # which line? msgspec does not say
        for number, text in enumerate(content.splitlines(), 1):
            try:
                decoder.decode(text)
            except ValueError as error:
                raise broken(path, error, number) from None
        raise


def _write(path: Path, lines: Iterable[tuple[Sample, Mapping[str, int]]]) -> Path:
    texts = (dump({**more, **_sample_to_json(s)}, f"sample {s.id} of {path}") for s, more in lines)
    return replace(path, "".join(text + "\n" for text in texts))


def _together(path: Path, number: int, lines: Sequence[_Line], metrics: Iterable[MetricInfo]) -> Samples:
    statistics, scores = {}, {}
    try:
        for metric in metrics:
            its = [line.metrics[metric.name] for line in lines]
            width = len(its[0].statistics) if its else 0
            flat = np.fromiter(chain.from_iterable(score.statistics for score in its), np.float64)
            if any(len(score.statistics) != width for score in its):
                raise ValueError(f"{metric.name} has not as many statistics for each example")
            statistics[metric.name] = flat.reshape(len(its), width)
            scores[metric.name] = np.array([score.score for score in its], np.float64)
    except (ValueError, KeyError) as error:
        raise broken(path, error, len(lines)) from None
    ids = tuple(line.id for line in lines)
    if len(set(ids)) != len(ids) or not ids:
        raise SpeechbenchError(f"{path} {'holds an example twice' if ids else 'is empty'}: {MOVE_OR_REMOVE}")
    speakers, audio = tuple(line.speaker for line in lines), tuple(line.audio for line in lines)
    return Samples(path, number, ids, speakers, audio, statistics, scores)


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
