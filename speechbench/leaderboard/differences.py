"""The board's tests in figures: how much each row differs from base, SFT and its control, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

from speechbench.leaderboard.baselines import BASELINES
from speechbench.leaderboard.comparisons import Comparison
from speechbench.leaderboard.table import Board

HEADING = "difference, p (paired bootstrap, after Holm)"


@dataclass(frozen=True)
class Difference:
    """One row against one baseline.

    Attributes:
        label: "grpo(bleu) − base", "grpo(bleu) − grpo(shuffled(bleu))".
        comparisons: One for each metric, in the columns' order; `None` where it is not tested.
    """

    label: str
    comparisons: tuple[Comparison | None, ...]


def differences(board: Board) -> list[Difference]:
    """Every row against base, then against SFT, then against its control; rows without a test are left out."""
    metrics = [place for place, column in enumerate(board.columns) if column.kind == "metric"]
    found = []
    for baseline in BASELINES:
        for row in board.rows:
            comparisons = tuple(getattr(row.cells[place], baseline) for place in metrics)
            against = next((comparison.against for comparison in comparisons if comparison is not None), None)
            if against is not None:
                found.append(Difference(f"{row.label} − {against}", comparisons))
    return found


def interval_text(interval: tuple[float, float], decimals: int) -> str:
    """Both ends of an interval, "56.5–61.7"; "-0.3 to 1.2" where a dash would be read as a minus."""
    low, high = (f"{end:.{decimals}f}" for end in interval)
    return f"{low} to {high}" if interval[0] < 0 else f"{low}\N{EN DASH}{high}"


def p_text(p: float) -> str:
    """A probability with two significant digits, "p=0.0045"."""
    return f"p={p:.2g}" if p >= 0.0001 else "p<0.0001"
