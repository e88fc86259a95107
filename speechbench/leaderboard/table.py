"""The one table that every renderer shares: what the runs of an ablation amount to, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from speechbench.leaderboard.comparisons import Comparison, Comparisons, compare
from speechbench.leaderboard.counting import Tick
from speechbench.leaderboard.entries import Entry, entries
from speechbench.leaderboard.figures import FIGURES, RANK, Column, figure, is_worse, sft_place
from speechbench.leaderboard.goodhart import Goodhart, goodhart
from speechbench.leaderboard.notes import notes
from speechbench.leaderboard.ranks import Overall, against, overall, ranks, reward_terms
from speechbench.leaderboard.sampled import (
    SampledCell,
    SampledComparisons,
    SampledHow,
    compare_sampled,
    sampled_cell,
)
from speechbench.leaderboard.seeds import SeedSpread, seed_spread
from speechbench.leaderboard.statistics import ALPHA, TIE, interval
from speechbench.leaderboard.store import Group, Row
from speechbench.runs import MetricInfo
from speechbench.tables import decimals_of


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
        best: Whether no row in competition scores better that no other is significantly better than.
        level_with_best: Whether it is the best, or not separable from it: no significant difference was found.
        rank: Interval of the row's rank in this column; see `ranks`.
        worse_than_sft: Of figures of health, whether SFT's is better.
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
    level_with_best: bool = False
    rank: tuple[int, int] | None = None
    worse_than_sft: bool = False


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
        overall: The row's rank over all metrics but its own; `None` where it has none, as with one seed.
    """

    label: str
    trainer: str
    reward: str | None
    control: bool
    seeds: tuple[int, ...]
    run_ids: tuple[str, ...]
    cells: tuple[Cell, ...]
    overall: Overall | None = None


@dataclass(frozen=True)
class Board:
    """The leaderboard of one ablation on one benchmark.

    Attributes:
        ablation: Name of the folder that holds the runs.
        benchmark: Its spec.
        split: Of it, that all runs were measured on.
        data_fingerprint: Of that split.
        examples: How many it has; 0 while no run is finished.
        clusters: By what they are resampled, and how many there are of it: ("speaker", 40).
        test: What p is of: "bootstrap" or "randomisation".
        resamples: B of every score.
        most_resamples: B of the test that was given most.
        smallest_p: The smallest p that resamples and clusters allow, as it is and after Holm's correction.
        family: How many tests Holm's correction is over.
        alpha: Level of significance.
        columns: Metrics in the benchmark's order, the rank over them, health, costs.
        rows: base, sft, rejection-sft, grpo, mixed-grpo, other trainers, controls.
        goodhart: What each reward gained on its own metric, and on the others.
        runs: All runs behind it.
        broken: What cannot be read: its folder, and what is wrong with it.
        notes: What a reader must know.
        sampled: How sampled answers were drawn and tested; `None` where there are none.
    """

    ablation: str
    benchmark: str
    split: str
    data_fingerprint: str
    examples: int
    clusters: tuple[str, int]
    test: str
    resamples: int
    most_resamples: int
    smallest_p: tuple[float, float]
    family: int
    columns: tuple[Column, ...]
    rows: tuple[BoardRow, ...]
    goodhart: tuple[Goodhart, ...]
    runs: tuple[Entry, ...]
    broken: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    sampled: SampledHow | None = None
    alpha: float = ALPHA

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        from speechbench.leaderboard.render.as_markdown import to_markdown

        return to_markdown(self)


def board_of(group: Group, resamples: int | None = None, test: str = "bootstrap", tick: Tick | None = None) -> Board:
    """The board of one group of runs.

    Args:
        group: The runs.
        resamples: B; `None` for 2,000 and more where these leave a verdict open, up to 20·m/α.
        test: "bootstrap" or "randomisation".
        tick: Told of resamples done.

    Raises:
        SpeechbenchError: If runs were not tested on the same examples.
        UsageError: If the number of resamples is not positive, or there is no such test.
    """
    comparisons = compare(group, resamples, test, tick)
    sampled = compare_sampled(group, comparisons, resamples, tick)
    clusters = comparisons.clusters
    columns = (*map(_metric_column, group.metrics), RANK, *FIGURES)
    cells = _cells(group, columns, comparisons, sampled)
    return Board(
        ablation=group.ablation,
        benchmark=group.benchmark,
        split=group.split,
        data_fingerprint=group.data_fingerprint,
        examples=comparisons.examples,
        clusters=("example", 0) if clusters is None else (clusters.level, clusters.number),
        test=test,
        resamples=comparisons.resamples,
        most_resamples=comparisons.most,
        smallest_p=comparisons.smallest_p,
        family=comparisons.family,
        columns=columns,
        rows=tuple(_row(place, row, cells[place], group) for place, row in enumerate(group.rows)),
        goodhart=goodhart(group, comparisons),
        runs=(runs := entries(group)),
        broken=tuple((str(each.folder), each.reason) for each in group.broken),
        notes=tuple(notes(group, comparisons, runs, sampled)),
        sampled=None if sampled is None else sampled.how,
    )


def _metric_column(metric: MetricInfo) -> Column:
    decimals = decimals_of(metric.scale)
    return Column(metric.name, metric.display, "metric", "points", decimals, metric.lower_is_better, metric.family)


def _cells(
    group: Group, columns: Sequence[Column], comparisons: Comparisons, sampled: SampledComparisons | None
) -> list[list[Cell]]:
    """Of each row its cells."""
    ranked = ranks(group, comparisons)
    runs = {run.info.id: run for run in group.runs}
    sft = sft_place(group.rows)
    table: list[list[Cell]] = [[] for _ in group.rows]
    for column in columns:
        if column.kind == "metric":
            its = [_cell(place, row, column, comparisons, sampled) for place, row in enumerate(group.rows)]
            its = [replace(cell, rank=ranked.get((place, column.key))) for place, cell in enumerate(its)]
            _mark_best(its, group.rows, column, comparisons)
        elif column.kind == "rank":
            its = [Cell(None) for _ in group.rows]  # the row's `overall` says it
        else:
            values = [figure(row, column.key, runs) for row in group.rows]
            baseline = None if sft is None else values[sft]
            its = [
                Cell(value, worse_than_sft=row.is_trained and is_worse(column, value, baseline))
                for value, row in zip(values, group.rows, strict=True)
            ]
        for cells, cell in zip(table, its, strict=True):
            cells.append(cell)
    return table


def _row(place: int, row: Row, cells: Sequence[Cell], group: Group) -> BoardRow:
    ranks_of = {m.name: cell.rank for m, cell in zip(group.metrics, cells, strict=False) if cell.rank is not None}
    return BoardRow(
        label=row.label,
        trainer=row.trainer,
        reward=row.reward,
        control=row.is_control,
        seeds=tuple(run.info.seed for run in row.finished if run.info.seed is not None),
        run_ids=tuple(run.info.id for run in row.finished),
        cells=tuple(cells),
        overall=overall(row, group.metrics, ranks_of),
    )


def _cell(place: int, row: Row, column: Column, comparisons: Comparisons, sampled: SampledComparisons | None) -> Cell:
    trained_on = row.reward is not None and column.key in reward_terms(row.reward)
    measured = comparisons.measured.get((place, column.key))
    if measured is None:
        return Cell(None, trained_on=trained_on)
    base = comparisons.tests.get((place, column.key, "base"))
    return Cell(
        value=measured.score,
        interval=interval(measured.draws, measured.clusters),
        seeds=seed_spread(list(measured.by_seed.values())),
        base=base,
        sft=comparisons.tests.get((place, column.key, "sft")),
        control=comparisons.tests.get((place, column.key, "control")),
        sampled=None if sampled is None else sampled_cell(sampled, (place, column.key), base),
        trained_on=trained_on,
    )


def _mark_best(cells: list[Cell], rows: Sequence[Row], column: Column, comparisons: Comparisons) -> None:
    """Marks the best of a column, and what is not separable from it.

    Where a metric does not apply to the same examples for all, scores alone do not tell which is better: whatever a
    row is significantly better than is not best.
    """
    values = {
        place: cell.value
        for place, (cell, row) in enumerate(zip(cells, rows, strict=True))
        if cell.value is not None and not row.is_control
    }
    if not values or max(values.values()) - min(values.values()) <= TIE:
        return  # where all are equal, none is best
    unbeaten = [p for p in values if all(against(comparisons, column.key, p, o) >= 0 for o in values if o != p)]
    leading = {place: values[place] for place in unbeaten or values}
    best = min(leading.values()) if column.lower_is_better else max(leading.values())
    first = [place for place, value in leading.items() if abs(value - best) <= TIE]
    for place in values:
        is_best = place in first
        is_level = is_best or any(_is_level(comparisons, column.key, place, other) for other in first)
        cells[place] = replace(cells[place], best=is_best, level_with_best=is_level)


def _is_level(comparisons: Comparisons, metric: str, place: int, best: int) -> bool:
    key = (metric, min(place, best), max(place, best))
    return key in comparisons.verdicts and against(comparisons, metric, place, best) == 0
