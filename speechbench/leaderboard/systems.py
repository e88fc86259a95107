"""From the runs of a group to what is resampled: their statistics in one order of examples, in clusters."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from speechbench.errors import SpeechbenchError
from speechbench.leaderboard.resampling import Places, System
from speechbench.leaderboard.store import Group
from speechbench.runs import Run, Samples

FEWEST = 20
"""Clusters that are worth resampling: with fewer, intervals come out too narrow and tests too bold (Cameron & Miller,
2015, "A Practitioner's Guide to Cluster-Robust Inference", section VI)."""

_LIBRISPEECH = re.compile(r"(\d+-\d+)-\d+")  # file names are <speaker>-<chapter>-<number>


@dataclass(frozen=True)
class Clusters:
    """Examples that belong together, and are drawn together: errors on them are not independent.

    Attributes:
        level: "speaker", "chapter" (of a book that is read), "recording" or "example".
        number: How many there are.
        of: The place of each example's cluster, shape [example].
        too_few: What of coarser levels there are too few of to be resampled, as "4 speakers"; then the intervals and
            tests hold for these and not for others.
    """

    level: str
    number: int
    of: Places
    too_few: tuple[str, ...] = ()


def shared_ids(group: Group) -> tuple[str, ...]:
    """The ids of the test examples, sorted: the one order in which all runs are resampled."""
    finished = [run for row in group.rows for run in row.finished]
    if not finished:
        return ()
    first = set(finished[0].samples.ids)
    for run in finished[1:]:
        others = first.symmetric_difference(run.samples.ids)
        if others:
            raise SpeechbenchError(
                f"{finished[0].folder} and {run.folder} were not tested on the same examples ({min(others)!r} is in "
                "one only), so they do not compare: move one of them into another folder"
            )
    return tuple(sorted(first))


def clusters_of(group: Group, ids: Sequence[str]) -> Clusters:
    """By what the examples of a group are resampled: the coarsest level that is known for all, and has enough of it.

    Args:
        group: Its runs that heard the speech say who spoke.
        ids: The order of the examples.
    """
    run = next((r for row in group.rows for r in row.finished if row.input_control is None), None)
    if run is None:
        return Clusters("example", len(ids), np.arange(len(ids)))
    places = {id_: place for place, id_ in enumerate(run.samples.ids)}
    speakers = [run.samples.speakers[places[id_]] for id_ in ids]
    audio = [run.samples.audio[places[id_]] for id_ in ids]
    too_few: list[str] = []
    for level, names in (("speaker", speakers), ("chapter", map(_chapter, audio)), ("recording", audio)):
        known = list(names)
        if None in known:
            continue
        distinct = sorted({str(name) for name in known})
        if len(distinct) == len(ids):
            break  # nothing is finer than single examples
        if len(distinct) >= FEWEST:
            place = {name: number for number, name in enumerate(distinct)}
            return Clusters(level, len(distinct), np.array([place[str(n)] for n in known], np.intp), tuple(too_few))
        too_few.append(f"{len(distinct)} {level}{'' if len(distinct) == 1 else 's'}")
    return Clusters("example", len(ids), np.arange(len(ids)), tuple(too_few))


def _chapter(audio: str | None) -> str | None:
    found = None if audio is None else _LIBRISPEECH.fullmatch(PurePath(audio).stem)
    return None if found is None else found[1]


def systems_of(
    group: Group, ids: Sequence[str], answers: Callable[[Run], Sequence[Samples]]
) -> dict[tuple[int, str], list[System]]:
    """All finished runs in all metrics, by place of the row and metric.

    Args:
        group: The runs.
        ids: The order of the examples.
        answers: What a run answered: a system for each. A row of which a run has none is left out.
    """
    systems: dict[tuple[int, str], list[System]] = {}
    for place, row in enumerate(group.rows):
        its = [(run.info.seed, answers(run)) for run in row.finished]
        if not all(of_run for _, of_run in its):
            continue
        ordered = [(seed, samples, _order(samples, ids)) for seed, of_run in its for samples in of_run]
        for metric in group.metrics:
            if ordered and all(metric in run.info.metrics for run in row.finished):
                systems[place, metric.name] = [
                    System(
                        samples.statistics[metric.name][order],
                        ~np.isnan(samples.scores[metric.name][order]),
                        metric.aggregate,
                        seed,
                    )
                    for seed, samples, order in ordered
                ]
    return systems


def _order(samples: Samples, ids: Sequence[str]) -> list[int] | slice:
    if samples.ids == tuple(ids):
        return slice(None)
    places = {id_: place for place, id_ in enumerate(samples.ids)}
    return [places[id_] for id_ in ids]
