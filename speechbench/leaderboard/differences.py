"""The board's tests in figures: how much each row differs from base, SFT and its control, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

from speechbench.leaderboard.baselines import BASELINES
from speechbench.leaderboard.comparisons import Comparison
from speechbench.leaderboard.table import Board, Cell

HEADING = "difference, p (paired bootstrap, after Holm)"
SAMPLED = "sampled"  # against base, both sampled


@dataclass(frozen=True)
class Difference:
    """One row against one baseline.

    Attributes:
        label: "grpo(bleu) − base", "grpo(bleu) − grpo(shuffled(bleu))", "grpo(bleu) − base, sampled".
        comparisons: One for each metric, in the columns' order; `None` where it is not tested.
    """

    label: str
    comparisons: tuple[Comparison | None, ...]


def differences(board: Board) -> list[Difference]:
    """Every row against base, then against SFT, then against its control, then against base with sampled answers.

    Rows without a test are left out.
    """
    metrics = [place for place, column in enumerate(board.columns) if column.kind == "metric"]
    found = []
    for baseline in (*BASELINES, SAMPLED):
        for row in board.rows:
            comparisons = tuple(_comparison(row.cells[place], baseline) for place in metrics)
            against = next((comparison.against for comparison in comparisons if comparison is not None), None)
            if against is not None:
                how = ", sampled" if baseline == SAMPLED else ""
                found.append(Difference(f"{row.label} − {against}{how}", comparisons))
    return found


def _comparison(cell: Cell, baseline: str) -> Comparison | None:
    if baseline == SAMPLED:
        return None if cell.sampled is None else cell.sampled.base
    found: Comparison | None = getattr(cell, baseline)
    return found
