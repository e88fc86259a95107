"""From run folders to what is compared: the runs of one ablation on one benchmark, in rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from speechbench.errors import SpeechbenchError
from speechbench.leaderboard.settings import canonical, difference, flat, without_seed
from speechbench.run_files import run_folders
from speechbench.run_schema import INPUT_CONTROLS
from speechbench.runs import MetricInfo, Run, read_run

_ORDER = ("base", *INPUT_CONTROLS, "sft", "rejection-sft", "grpo", "mixed-grpo")
"""Of the trainers on the board; others come after them."""


@dataclass(frozen=True)
class Row:
    """Runs that differ in their seed only.

    Attributes:
        label: What the row is called; rows of the same trainer and reward are told apart by what differs.
        runs: All of them, by seed.
    """

    label: str
    runs: tuple[Run, ...]

    @property
    def trainer(self) -> str:
        """The trainer's name; for the model before training "base", or the control of its input."""
        info = self.runs[0].info
        return info.trainer or info.control or "base"

    @property
    def reward(self) -> str | None:
        """Canonical spec of the reward."""
        return self.runs[0].info.reward

    @property
    def model_fingerprint(self) -> str:
        """Of the weights that were started from."""
        return self.runs[0].info.model_fingerprint

    @property
    def config(self) -> dict[str, Any]:
        """The settings, which all runs of the row share: without the seed."""
        return without_seed(self.runs[0].info.config)

    @property
    def input_control(self) -> str | None:
        """What the base model was given instead of the speech; `None` for speech."""
        return self.runs[0].info.control

    @property
    def is_control(self) -> bool:
        """Whether it is not in competition: its reward is a control, or the model was not given the speech."""
        return self.runs[0].info.has_control_reward or self.input_control is not None

    @property
    def is_trained(self) -> bool:
        """Whether something was trained, and not only the base model measured."""
        return self.runs[0].info.trainer is not None

    @property
    def finished(self) -> tuple[Run, ...]:
        """The runs with a result."""
        return tuple(run for run in self.runs if run.finished)


@dataclass(frozen=True)
class Broken:
    """A run folder, or a file of it, that cannot be read: it counts for nothing, and the rest goes on.

    Attributes:
        folder: Where it lies.
        reason: What is wrong with it and how to mend it.
        is_known: Whether it can be told what run it is, so that it stands in a row, as an unfinished one.
    """

    folder: Path
    reason: str
    is_known: bool = False


@dataclass(frozen=True)
class Group:
    """What stands on one board: the runs of one ablation on one benchmark, or of several on the same data.

    Attributes:
        ablation: Name of the folder that holds the runs; of several, with plus signs between.
        benchmark: Its spec.
        split: That all were measured on.
        data_fingerprint: Of its examples, the same for all.
        metrics: All that some run was measured with, in the benchmark's order.
        rows: In the board's order: base, sft, rejection-sft, grpo, mixed-grpo, other trainers, controls.
        broken: What of it cannot be read. A run whose answers cannot be read counts as unfinished.
        unknown: How many of these could be any run: tests of each are planned, as of a row that is not finished.
    """

    ablation: str
    benchmark: str
    split: str
    data_fingerprint: str
    metrics: tuple[MetricInfo, ...]
    rows: tuple[Row, ...]
    broken: tuple[Broken, ...] = ()
    unknown: int = 0

    @property
    def runs(self) -> list[Run]:
        """All runs, in the order of the rows."""
        return [run for row in self.rows for run in row.runs]


def groups(
    out: Path | str | Sequence[Path | str], only: Collection[str] | None = None, together: bool = False
) -> list[Group]:
    """The runs under folders, one group for each ablation and benchmark.

    Args:
        out: The folder, or several.
        only: Ids of the runs that count; `None` for all.
        together: One group for all ablations on the same data; a run that several of them have counts once.

    Raises:
        SpeechbenchError: If there is none that can be read, two of a group do not compare, or a run that several
            ablations have gave other answers in each.
    """
    outs = [out] if isinstance(out, (str, Path)) else list(out)
    runs, broken = _read(outs, only)
    found: dict[tuple[object, ...], dict[str, tuple[Path, Run]]] = {}
    for folder, run in runs.items():
        key = (run.info.benchmark, run.info.data_fingerprint) if together else (folder.parent, run.info.benchmark)
        its, name = found.setdefault(key, {}), run.info.id if together else str(folder)
        its[name] = (folder.parent, run) if name not in its else _one_of(its[name], (folder.parent, run))
    if not found:
        where = " and ".join(map(str, outs))
        if broken:
            raise SpeechbenchError(f"{where} holds no run that can be read: {broken[0].reason}")
        raise SpeechbenchError(f"{where} holds no runs: make some with `speechbench ablate --out {outs[0]}`")
    made, left = [], list(broken)
    for its in found.values():
        ablations = dict.fromkeys(ablation for ablation, _ in its.values())
        here = [each for each in left if each.folder.resolve().parent in ablations]
        left = [each for each in left if each not in here]
        made.append(
            _group(" + ".join(folder.name for folder in ablations), [run for _, run in its.values()], tuple(here))
        )
    made.sort(key=lambda group: (group.ablation, group.benchmark))
    if left:  # of ablations of which nothing can be read
        made[0] = replace(made[0], broken=(*made[0].broken, *left))
    return made


def _one_of(first: tuple[Path, Run], second: tuple[Path, Run]) -> tuple[Path, Run]:
    """Of two copies of a run the finished one; the first where both are, which then must say the same."""
    if not (first[1].finished and second[1].finished):
        return second if second[1].finished else first
    one, two = first[1].samples, second[1].samples
    scores = [(its.ids, {name: values.tobytes() for name, values in its.statistics.items()}) for its in (one, two)]
    if scores[0] != scores[1]:
        raise SpeechbenchError(
            f"{first[1].folder} and {second[1].folder} are the same run, {first[1].info.name}, with other answers: "
            "remove one, or show the ablations apart, without --together"
        )
    return first


def _read(outs: Sequence[Path | str], only: Collection[str] | None) -> tuple[dict[Path, Run], list[Broken]]:
    """The runs by their folders as these really are, and what cannot be read."""
    parents: dict[Path, Path] = {}  # resolved once for all runs in them

    def really(folder: Path) -> Path:
        if folder.is_symlink() or folder.name in ("", ".."):
            return folder.resolve()
        parents[folder.parent] = parents.get(folder.parent) or folder.parent.resolve()
        return parents[folder.parent] / folder.name

    folders = {really(folder): folder for out in outs for folder in run_folders(out, only)}
    found = {folder: _read_one(its) for folder, its in folders.items()}
    runs = {folder: run for folder, (run, _) in found.items() if run is not None}
    return runs, [broken for _, broken in found.values() if broken is not None]


def _read_one(folder: Path) -> tuple[Run | None, Broken | None]:
    try:
        run = read_run(folder)
    except (SpeechbenchError, OSError) as error:
        return None, Broken(folder, str(error))
    try:
        if run.finished:
            run.samples, run.passes, run.log  # noqa: B018  each is read and checked now
    except (SpeechbenchError, OSError) as error:
        return replace(run, result=None), Broken(folder, str(error), is_known=True)
    return run, None


def _group(ablation: str, runs: list[Run], broken: tuple[Broken, ...]) -> Group:
    _check_data(runs)
    metrics = _metrics(runs)
    places = {metric.name: place for place, metric in enumerate(metrics)}
    rows = sorted(_rows(runs), key=lambda row: _place(row, places))
    info = runs[0].info
    unknown = sum(not its.is_known for its in broken)
    return Group(ablation, info.benchmark, info.split, info.data_fingerprint, metrics, tuple(rows), broken, unknown)


def _check_data(runs: list[Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        if run.info.data_fingerprint != first.info.data_fingerprint:
            raise SpeechbenchError(
                f"{first.folder} and {run.folder} were tested on different data of {first.info.benchmark} "
                f"({first.info.data_fingerprint} and {run.info.data_fingerprint}), so they do not compare: move one "
                "of them into another folder"
            )


def _metrics(runs: list[Run]) -> tuple[MetricInfo, ...]:
    """The metrics of all runs, each of one signature."""
    found: dict[str, tuple[MetricInfo, Run]] = {}
    for run in runs:
        for metric in run.info.metrics:
            known, where = found.setdefault(metric.name, (metric, run))
            if known != metric and canonical(vars(known)) != canonical(vars(metric)):
                raise SpeechbenchError(
                    f"{where.folder} and {run.folder} measured {metric.display} differently "
                    f"({difference(vars(known), vars(metric))}), so they do not compare: move one of them into "
                    "another folder, or remove it and run the same command again"
                )
    return tuple(metric for metric, _ in found.values())


def _rows(runs: list[Run]) -> list[Row]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        info = run.info
        config = without_seed(info.config)
        same = (info.label, info.trainer, info.control, info.reward, info.model, info.model_fingerprint, config)
        found.setdefault(canonical(same), []).append(run)
    rows = [Row(members[0].info.label, _by_seed(members)) for members in found.values()]
    namesakes = [[other for other in rows if other is not row and other.label == row.label] for row in rows]
    return [_told_apart(row, others) for row, others in zip(rows, namesakes, strict=True)]


def _by_seed(runs: list[Run]) -> tuple[Run, ...]:
    ordered = sorted(runs, key=lambda run: (run.info.seed is not None, run.info.seed or 0))
    for one, two in pairwise(ordered):
        if one.info.seed == two.info.seed:
            seed = "" if one.info.seed is None else f" seed {one.info.seed}"
            raise SpeechbenchError(
                f"{one.folder} and {two.folder} are both {one.info.label}{seed} with the same configuration: remove one"
            )
    return tuple(ordered)


def _told_apart(row: Row, namesakes: list[Row]) -> Row:
    """A row whose label says in which settings it differs from rows of the same label."""
    if not namesakes:
        return row
    mine = _settings(row)
    theirs = [_settings(other) for other in namesakes]
    differing = [key for key in mine if any(other.get(key) != mine[key] for other in theirs)]
    return replace(row, label=f"{row.label} {', '.join(f'{key}={mine[key]}' for key in differing) or 'other settings'}")


def _settings(row: Row) -> dict[str, str]:
    info = row.runs[0].info
    config = flat(row.config)
    identity = {"model": info.model, "weights": info.model_fingerprint[:8]}
    return {**{key: value for key, value in config.items() if key not in identity}, **identity}


def _place(row: Row, metrics: Mapping[str, int]) -> tuple[bool, int, str, int, str]:
    """Where a row stands: controls last, then by trainer, then by reward in the order of the metrics."""
    known = row.trainer in _ORDER
    trainer = _ORDER.index(row.trainer) if known else len(_ORDER)
    reward = metrics.get(row.reward or "", len(metrics))
    return row.is_control, trainer, "" if known else row.trainer, reward, row.label
