"""The answers in a run folder: every test example with its hypotheses, scores and statistics, written and read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from speechbench.errors import SpeechbenchError
from speechbench.run_files import MOVE_OR_REMOVE, broken, dump, replace
from speechbench.run_schema import SAMPLED, SAMPLES, MetricInfo, Sample, Score

_PASS = "pass"  # field of a line of several passes: its number


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


def read_samples(path: Path, metrics: Iterable[MetricInfo]) -> Samples:
    """Reads `samples.jsonl`.

    Raises:
        SpeechbenchError: If it is missing or broken, or lacks a score of one of the metrics.
    """
    return _together(path, [sample for sample, _ in _lines(path)], metrics)


def read_passes(path: Path, metrics: Iterable[MetricInfo]) -> tuple[Samples, ...]:
    """Reads `sampled.jsonl`: the samples of each pass.

    Raises:
        SpeechbenchError: As `read_samples`, and if the passes are not of the same examples.
    """
    passes: dict[int, list[Sample]] = {}
    for sample, number in _lines(path):
        passes.setdefault(number, []).append(sample)
    metrics = tuple(metrics)
    found = tuple(_together(path, passes[number], metrics) for number in sorted(passes))
    if not found or any(set(its.ids) != set(found[0].ids) for its in found):
        raise SpeechbenchError(
            f"{path} {'holds passes over different examples' if found else 'is empty'}: {MOVE_OR_REMOVE}"
        )
    return found


def _write(path: Path, lines: Iterable[tuple[Sample, Mapping[str, int]]]) -> Path:
    texts = (dump({**more, **_sample_to_json(s)}, f"sample {s.id} of {path}") for s, more in lines)
    return replace(path, "".join(text + "\n" for text in texts))


def _lines(path: Path) -> Iterator[tuple[Sample, int]]:
    """Each sample of a file with the number of its pass, 0 where there is but one."""
    line = 0
    try:
        with path.open(encoding="utf-8") as file:
            for text in file:
                line += 1
                content = json.loads(text)
                yield _sample_from_json(content), int(content.get(_PASS, 0))
    except FileNotFoundError:
        raise SpeechbenchError(f"{path} is missing: {MOVE_OR_REMOVE}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise broken(path, error, line) from None


def _together(path: Path, records: Sequence[Sample], metrics: Iterable[MetricInfo]) -> Samples:
    names = [metric.name for metric in metrics]
    try:
        statistics = {name: np.array([r.metrics[name].statistics for r in records], np.float64) for name in names}
        scores = {name: np.array([r.metrics[name].score for r in records], np.float64) for name in names}
    except (ValueError, KeyError, TypeError) as error:
        raise broken(path, error, len(records)) from None
    ids = tuple(record.id for record in records)
    if len(set(ids)) != len(ids) or not ids:
        raise SpeechbenchError(f"{path} {'holds an example twice' if ids else 'is empty'}: {MOVE_OR_REMOVE}")
    return Samples(tuple(records), ids, statistics, scores)


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
