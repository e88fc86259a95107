"""Two runs side by side: every metric with its tests, and the examples on which they differ most."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechbench.errors import SpeechbenchError, UsageError, did_you_mean
from speechbench.leaderboard.comparisons import PLANNED, Comparison, comparison
from speechbench.leaderboard.resampling import System
from speechbench.leaderboard.statistics import interval
from speechbench.leaderboard.store import Group, Row, groups
from speechbench.leaderboard.systems import clusters_of, shared_ids, systems_of
from speechbench.leaderboard.testing import Measured, Pair, Tested, measured_and_tested
from speechbench.run_schema import RUN
from speechbench.runs import MetricInfo, Run, Sample, read_run

EXAMPLES = 20
"""How many wins and how many losses are shown."""


@dataclass(frozen=True)
class Scored:
    """One metric of two runs.

    Attributes:
        metric: Which.
        scores: Of the first and of the second, on the field's scale; `None` where it does not apply.
        intervals: 95%, over examples.
        bootstrap: The first against the second.
        randomisation: p of approximate randomisation, after Holm.
    """

    metric: MetricInfo
    scores: tuple[float | None, float | None]
    intervals: tuple[tuple[float, float] | None, tuple[float, float] | None]
    bootstrap: Comparison | None
    randomisation: float | None


@dataclass(frozen=True)
class Difference:
    """An example on which two runs differ.

    Attributes:
        id: The example's.
        scores: Of the first and of the second, on the field's scale.
        source: What was said, where known.
        reference: The first.
        hypotheses: Of the first and of the second.
    """

    id: str
    scores: tuple[float, float]
    source: str | None
    reference: str
    hypotheses: tuple[str, str]


@dataclass(frozen=True)
class RunComparison:
    """Two runs side by side.

    Attributes:
        names: Of the first and of the second.
        benchmark: That both were measured on.
        split: Of it.
        examples: How many it has.
        clusters: By what they are resampled, and how many there are.
        family: How many tests Holm's correction is over: the metrics.
        metrics: In the benchmark's order.
        by: The metric that examples are compared by.
        wins: Examples on which the first is better, the largest difference first.
        losses: On which it is worse.
    """

    names: tuple[str, str]
    benchmark: str
    split: str
    examples: int
    clusters: tuple[str, int]
    family: int
    metrics: tuple[Scored, ...]
    by: MetricInfo
    wins: tuple[Difference, ...]
    losses: tuple[Difference, ...]


def compare(
    a: Path | str,
    b: Path | str,
    folder: Path | str = "runs",
    metric: str | None = None,
    resamples: int | None = None,
    examples: int = EXAMPLES,
) -> RunComparison:
    """Compares two finished runs.

    Args:
        a: Run folder, or id, or what a run is called ("grpo(bleu)", "grpo(bleu) seed 1") within `folder`.
        b: The other.
        folder: Where runs are looked for by id and name.
        metric: Spec or display name of the metric that examples are compared by; the first by default.
        resamples: As of `leaderboard`.
        examples: How many wins and losses there are at most.

    Raises:
        UsageError: If there is no such run or metric, or a name is of several runs.
        SpeechbenchError: If one is not finished, or they do not compare.
    """
    one, two = _run(a, folder), _run(b, folder)
    for run in (one, two):
        if not run.finished:
            raise SpeechbenchError(f"{run.folder} is not finished: run the same command again, or name another run")
    if one.info.data_fingerprint != two.info.data_fingerprint:
        raise SpeechbenchError(
            f"{one.folder} and {two.folder} were tested on different data ({one.info.benchmark} "
            f"{one.info.data_fingerprint}, {two.info.benchmark} {two.info.data_fingerprint}), so they do not compare"
        )
    shared = [its for its in one.info.metrics if its in two.info.metrics]
    if not shared:
        raise SpeechbenchError(f"{one.folder} and {two.folder} have no metric of one signature in common")
    by = _metric(shared, metric)
    rows = tuple(Row(run.info.name, (run,)) for run in (one, two))
    info = one.info
    group = Group("", info.benchmark, info.split, info.data_fingerprint, tuple(shared), rows)
    ids = shared_ids(group)
    clusters = clusters_of(group, ids)
    systems = {
        key: [System(s.statistics, s.applies, s.aggregate) for s in its]  # two checkpoints: seeds are no matter
        for key, its in systems_of(group, ids, lambda run: [run.samples]).items()
    }
    pairs = {its.name: Pair((0, its.name), (1, its.name), PLANNED) for its in shared}
    measured, tested = measured_and_tested(systems, pairs, {PLANNED: len(pairs)}, resamples, clusters.of)
    _, randomised = measured_and_tested(
        systems, pairs, {PLANNED: len(pairs)}, resamples, clusters.of, test="randomisation"
    )
    wins, losses = _differences(one, two, ids, by, examples)
    return RunComparison(
        names=(rows[0].label, rows[1].label),
        benchmark=info.benchmark,
        split=info.split,
        examples=len(ids),
        clusters=(clusters.level, clusters.number),
        family=len(pairs),
        metrics=tuple(_scored(its, measured, tested, randomised, rows[1].label, len(pairs)) for its in shared),
        by=by,
        wins=wins,
        losses=losses,
    )


def _run(name: Path | str, folder: Path | str) -> Run:
    if os.path.isfile(Path(name) / RUN):  # False for names that no file can have
        return read_run(name)
    runs = [run for group in groups(folder) for run in group.runs]
    found = [run for run in runs if str(name) in (run.info.id, run.info.label, run.info.name)]
    if len(found) == 1:
        return found[0]
    if found:
        which = ", ".join(f"{run.info.name} ({run.folder})" for run in found)
        raise UsageError(f"{name!r} is the name of several runs: give the folder of one of {which}")
    known = sorted({run.info.name for run in runs})
    raise UsageError(
        f"{str(name)!r} is no run folder, and no run in {folder} has that id or name: {did_you_mean(str(name), known)}"
    )


def _metric(metrics: Sequence[MetricInfo], name: str | None) -> MetricInfo:
    if name is None:
        return metrics[0]
    for its in metrics:
        if name in (its.name, its.display):
            return its
    names = [its.name for its in metrics]
    raise UsageError(f"both runs have no metric {name!r}: {did_you_mean(name, names)}")


def _scored(
    metric: MetricInfo,
    measured: dict[tuple[int, str], Measured],
    tested: Mapping[str, Tested],
    randomised: Mapping[str, Tested],
    against: str,
    family: int,
) -> Scored:
    its = [measured.get((place, metric.name)) for place in (0, 1)]
    scores = [None if i is None else i.score for i in its]
    intervals = [None if i is None else interval(i.draws, i.clusters) for i in its]
    test, other = tested.get(metric.name), randomised.get(metric.name)
    return Scored(
        metric,
        (scores[0], scores[1]),
        (intervals[0], intervals[1]),
        None if test is None else comparison(test, against, family, metric.lower_is_better),
        None if other is None else other.p_holm,
    )


def _differences(
    one: Run, two: Run, ids: Sequence[str], by: MetricInfo, examples: int
) -> tuple[tuple[Difference, ...], tuple[Difference, ...]]:
    records: list[dict[str, Sample]] = [{s.id: s for s in run.samples.records} for run in (one, two)]
    places = [{id_: place for place, id_ in enumerate(run.samples.ids)} for run in (one, two)]
    scores = [run.samples.scores[by.name] for run in (one, two)]
    gains = np.array([scores[0][places[0][id_]] - scores[1][places[1][id_]] for id_ in ids])
    if by.lower_is_better:
        gains = -gains
    order = [int(place) for place in np.argsort(-gains, kind="stable")]  # NaN last
    best = [place for place in order if gains[place] > 0][:examples]
    worst = [place for place in reversed(order) if gains[place] < 0][:examples]

    def difference(place: int) -> Difference:
        id_ = ids[place]
        first, second = records[0][id_], records[1][id_]
        both = float(scores[0][places[0][id_]]), float(scores[1][places[1][id_]])
        return Difference(id_, both, first.source, first.references[0], (first.hypothesis, second.hypothesis))

    return tuple(map(difference, best)), tuple(map(difference, worst))
