"""The board's tests in figures: how much each row differs from base and from SFT, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

from speechbench.leaderboard.comparisons import BASELINES, Comparison
from speechbench.leaderboard.table import Board

HEADING = "difference, p (paired bootstrap, after Holm)"


@dataclass(frozen=True)
class Difference:
    """One row against one baseline.

    Attributes:
        label: "grpo(bleu) − base".
        comparisons: One for each metric, in the columns' order; `None` where it is not tested.
    """

    label: str
    comparisons: tuple[Comparison | None, ...]


def differences(board: Board) -> list[Difference]:
    """Every row against base, then every row against SFT; rows without a test are left out."""
    metrics = [place for place, column in enumerate(board.columns) if column.kind == "metric"]
    found = [
        Difference(f"{row.label} − {baseline}", tuple(getattr(row.cells[place], baseline) for place in metrics))
        for baseline in BASELINES
        for row in board.rows
    ]
    return [difference for difference in found if any(difference.comparisons)]


def p_text(p: float) -> str:
    """A probability with two significant digits, "p=0.0045"."""
    return f"p={p:.2g}" if p >= 0.0001 else "p<0.0001"
