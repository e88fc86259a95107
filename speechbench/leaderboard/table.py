"""The one table that every renderer shares: what the runs of an ablation amount to, cell by cell."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from speechbench.grammar import parse_expression
from speechbench.leaderboard.comparisons import Comparison, Comparisons, compare
from speechbench.leaderboard.notes import notes
from speechbench.leaderboard.sampled import (
    SampledCell,
    SampledComparisons,
    SampledHow,
    compare_sampled,
    sampled_cell,
)
from speechbench.leaderboard.statistics import RESAMPLES, TIE, SeedSpread, interval, seed_spread
from speechbench.leaderboard.store import Group, Row, groups
from speechbench.runs import MetricInfo, Run
from speechbench.specs import Spec, as_spec
from speechbench.tables import decimals_of


@dataclass(frozen=True)
class Column:
    """A column of the board.

    Attributes:
        key: The metric's spec, or the name of a figure of health or cost.
        title: What stands over it.
        kind: "metric", "health" or "cost".
        unit: "points" on the field's scale, "share" from 0 to 1, "ratio", "s" or "runs".
        decimals: How many are worth showing, in the unit it is shown in (shares as per cent).
        lower_is_better: Whether it is a metric that counts errors.
    """

    key: str
    title: str
    kind: str
    unit: str
    decimals: int
    lower_is_better: bool = False

    @property
    def heading(self) -> str:
        """The title, with an arrow where lower is better."""
        return heading(self.title, self.lower_is_better)


FIGURES = (
    Column("empty", "empty", "health", "share", 1),
    Column("truncated", "truncated", "health", "share", 1),
    Column("copied", "copied", "health", "share", 1),
    Column("repeated", "repeated", "health", "share", 1),
    Column("length_ratio", "length", "health", "ratio", 2),
    Column("seconds", "seconds", "cost", "s", 0),
    Column("seeds", "seeds", "cost", "runs", 0),
)
"""What stands right of the metrics; "seconds" is the wall time of one training, earlier stages included."""


@dataclass(frozen=True)
class Cell:
    """One figure of one row; several seeds give their mean.

    Attributes:
        value: In the column's unit; `None` where there is none (yet).
        interval: 95% bootstrap interval over examples.
        seeds: Spread over seeds, where there are at least two.
        base: Against the base row.
        sft: Against the SFT row.
        control: Against the row of the same training on the shuffled reward.
        sampled: What sampled answers score, where they were asked for; all else is of greedy ones.
        trained_on: Whether the column's metric is the row's reward or a part of it.
        best: Whether no row of the board is better, those aside that were given something else than the speech.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    seeds: SeedSpread | None = None
    base: Comparison | None = None
    sft: Comparison | None = None
    control: Comparison | None = None
    sampled: SampledCell | None = None
    trained_on: bool = False
    best: bool = False


@dataclass(frozen=True)
class BoardRow:
    """One row of the board.

    Attributes:
        label: "base", "sft", "grpo(bleu)".
        trainer: Its name; "base", or the control of the base model's input.
        reward: Canonical spec of the reward.
        control: Whether it is a control: not in competition, but what the others are held against.
        seeds: Of its finished runs; empty for base.
        run_ids: Of its finished runs.
        cells: One for each column.
    """

    label: str
    trainer: str
    reward: str | None
    control: bool
    seeds: tuple[int, ...]
    run_ids: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Board:
    """The leaderboard of one ablation on one benchmark.

    Attributes:
        ablation: Name of the folder that holds the runs.
        benchmark: Its spec.
        split: Of it, that all runs were measured on.
        data_fingerprint: Of that split.
        examples: How many it has; 0 while no run is finished.
        resamples: B of the bootstrap.
        family: How many tests Holm's correction is over.
        columns: Metrics in the benchmark's order, health, costs.
        rows: base, sft, rejection-sft, grpo, mixed-grpo, other trainers, controls.
        notes: What a reader must know.
        sampled: How sampled answers were drawn and tested; `None` where there are none.
    """

    ablation: str
    benchmark: str
    split: str
    data_fingerprint: str
    examples: int
    resamples: int
    family: int
    columns: tuple[Column, ...]
    rows: tuple[BoardRow, ...]
    notes: tuple[str, ...]
    sampled: SampledHow | None = None

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        from speechbench.leaderboard.render import to_markdown

        return to_markdown(self)


def leaderboard(
    folder: Path | str = "runs", resamples: int = RESAMPLES, only: Collection[str] | None = None
) -> list[Board]:
    """Reads run folders and computes what they amount to.

    Args:
        folder: Of ablations, one ablation's, or one run's.
        resamples: B of the bootstrap.
        only: Ids of the runs that count; `None` for all.

    Returns:
        One board for each ablation and benchmark.

    Raises:
        SpeechbenchError: If there are no runs, one cannot be read, or two of a board do not compare.
        UsageError: If the number of resamples is not positive.
    """
    return [board(group, resamples) for group in groups(folder, only)]


def board(group: Group, resamples: int = RESAMPLES) -> Board:
    """The board of one group of runs.

    Raises:
        SpeechbenchError: If samples cannot be read, or runs were not tested on the same examples.
    """
    comparisons, sampled = compare(group, resamples), compare_sampled(group, resamples)
    columns = (*map(_metric_column, group.metrics), *FIGURES)
    seconds = _training_seconds(group.runs)
    cells = [
        [
            _cell(place, row, column, comparisons, sampled)
            if column.kind == "metric"
            else Cell(_figure(row, column.key, seconds))
            for column in columns
        ]
        for place, row in enumerate(group.rows)
    ]
    competing = [its for row, its in zip(group.rows, cells, strict=True) if row.input_control is None]
    for index, column in enumerate(columns):
        if column.kind == "metric":
            _mark_best(competing, index, column.lower_is_better)
    return Board(
        ablation=group.ablation,
        benchmark=group.benchmark,
        split=group.split,
        data_fingerprint=group.data_fingerprint,
        examples=comparisons.examples,
        resamples=resamples,
        family=comparisons.family,
        columns=columns,
        rows=tuple(_row(row, tuple(its)) for row, its in zip(group.rows, cells, strict=True)),
        notes=tuple(notes(group, comparisons, resamples, sampled)),
        sampled=None if sampled is None else sampled.how,
    )


def _metric_column(metric: MetricInfo) -> Column:
    decimals = decimals_of(metric.scale)
    return Column(metric.name, metric.display, "metric", "points", decimals, metric.lower_is_better)


def heading(title: str, lower_is_better: bool) -> str:
    """What stands over a metric's scores."""
    return f"{title} ↓" if lower_is_better else title


def _row(row: Row, cells: tuple[Cell, ...]) -> BoardRow:
    return BoardRow(
        label=row.label,
        trainer=row.trainer,
        reward=row.reward,
        control=row.is_control,
        seeds=tuple(run.info.seed for run in row.finished if run.info.seed is not None),
        run_ids=tuple(run.info.id for run in row.finished),
        cells=cells,
    )


def _cell(place: int, row: Row, column: Column, comparisons: Comparisons, sampled: SampledComparisons | None) -> Cell:
    trained_on = row.reward is not None and column.key in reward_terms(row.reward)
    measured = comparisons.measured.get((place, column.key))
    if measured is None:
        return Cell(None, trained_on=trained_on)
    base = comparisons.tests.get((place, column.key, "base"))
    return Cell(
        value=measured.score,
        interval=interval(measured.draws),
        seeds=seed_spread(measured.by_seed),
        base=base,
        sft=comparisons.tests.get((place, column.key, "sft")),
        control=comparisons.tests.get((place, column.key, "control")),
        sampled=None if sampled is None else sampled_cell(sampled, (place, column.key), base),
        trained_on=trained_on,
    )


def _training_seconds(runs: Sequence[Run]) -> dict[str, float | None]:
    """By run, the wall time of its training and of those it builds on; `None` if one of them is not here."""
    by_id = {run.info.id: run for run in runs}

    def of(run: Run) -> float | None:
        own = run.result.seconds.get("train") if run.result is not None and run.info.trainer is not None else None
        if own is None or run.info.start is None:
            return own
        before = of(by_id[run.info.start]) if run.info.start in by_id else None
        return None if before is None else own + before

    return {run.info.id: of(run) for run in runs}


def _figure(row: Row, key: str, seconds: Mapping[str, float | None]) -> float | None:
    if key == "seeds":
        return float(len(row.finished))
    values = [
        seconds[run.info.id] if key == "seconds" else getattr(run.result.health, key)
        for run in row.finished
        if run.result is not None
    ]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _mark_best(cells: list[list[Cell]], index: int, lower_is_better: bool) -> None:
    values = [row[index].value for row in cells]
    known = [value for value in values if value is not None]
    if not known or max(known) - min(known) <= TIE:
        return  # where all are equal, none is best
    best = min(known) if lower_is_better else max(known)
    for row, value in zip(cells, values, strict=True):
        if value is not None and abs(value - best) <= TIE:
            row[index] = replace(row[index], best=True)


def reward_terms(reward: str) -> set[str]:
    """The specs that a reward is made of: of `0.7*bleu + comet(model=x)` these are `bleu`, `comet(model=x)`."""
    return _terms(parse_expression(reward))


def _terms(spec: Spec) -> set[str]:
    _, inner = spec.weighted
    if not (inner.is_sum or inner.is_product):
        return {str(inner)}
    return {term for part in inner.arguments for term in _terms(as_spec(part))}
