"""What stands on the board beside the metrics: health of the outputs, and cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from speechbench.leaderboard.store import Row
from speechbench.runs import Run


@dataclass(frozen=True)
class Column:
    """A column of the board.

    Attributes:
        key: The metric's spec, or the name of a figure of health or cost.
        title: What stands over it.
        kind: "metric", "rank", "health" or "cost".
        unit: "points" on the field's scale, "rank", "share" from 0 to 1, "ratio", "s", "bytes" or "count".
        decimals: How many are worth showing, in the unit it is shown in (shares as per cent, bytes as GB).
        lower_is_better: Whether it is a metric that counts errors.
        family: Of a metric: "overlap", "embedding", "learned" or "exact".
    """

    key: str
    title: str
    kind: str
    unit: str
    decimals: int
    lower_is_better: bool = False
    family: str = ""

    @property
    def heading(self) -> str:
        """The title, of metrics with an arrow that says which way is better."""
        arrow = (" ↓" if self.lower_is_better else " ↑") if self.kind == "metric" else ""
        return self.title + arrow


def heading(title: str, lower_is_better: bool) -> str:
    """What stands over a metric's scores, where only those that count errors are told apart."""
    return f"{title} ↓" if lower_is_better else title


RANK = Column("rank", "rank", "rank", "rank", 1)
FIGURES = (
    Column("empty", "empty", "health", "share", 1),
    Column("truncated", "truncated", "health", "share", 1),
    Column("copied", "copied", "health", "share", 1),
    Column("wrong_language", "wrong language", "health", "share", 1),
    Column("repeated", "repeated", "health", "share", 1),
    Column("length_ratio", "length", "health", "ratio", 2),
    Column("distinct", "distinct", "health", "share", 1),
    Column("sampling", "sample s", "cost", "s", 0),
    Column("scoring", "score s", "cost", "s", 0),
    Column("learning", "learn s", "cost", "s", 0),
    Column("seconds", "train s", "cost", "s", 0),
    Column("evaluation", "eval s", "cost", "s", 0),
    Column("memory", "GB", "cost", "bytes", 1),
    Column("tokens", "tokens", "cost", "count", 0),
    Column("steps", "steps", "cost", "count", 0),
    Column("seeds", "seeds", "cost", "count", 0),
)
"""What stands right of the metrics. Seconds of training are those of earlier stages too; "seconds" is all of them, and
"tokens" are those in its loss."""

_LATE = 0.1  # the last tenth of a training is what "distinct" is the mean of
_SAME = {"share": 0.0005, "ratio": 0.005}  # what the shown decimals hide is no difference


def figure(row: Row, key: str, runs: Mapping[str, Run]) -> float | None:
    """One figure of a row, the mean over its seeds; `None` where one of them has none.

    Args:
        row: Whose.
        key: Of one of `FIGURES`.
        runs: All runs of the board by their ids, for the stages before.
    """
    if key == "seeds":
        return float(len(row.finished))
    values = [_of(run, key, runs) for run in row.finished]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _of(run: Run, key: str, runs: Mapping[str, Run]) -> float | None:
    assert run.result is not None
    if key in ("sampling", "scoring", "learning", "seconds", "tokens", "steps"):
        return _with_stages(run, key, runs)
    if key == "evaluation":
        return run.result.seconds.get("evaluation")
    if key == "memory":
        return float(run.result.peak_memory_bytes)
    if key == "distinct":
        logged = [its for line in run.log if isinstance(its := line.get("distinct"), (int, float))]
        late = logged[-max(1, math.ceil(_LATE * len(logged))) :]
        return sum(late) / len(late) if late else None
    value: float | None = getattr(run.result.health, key)
    return value


def _with_stages(run: Run, key: str, runs: Mapping[str, Run], seen: frozenset[str] = frozenset()) -> float | None:
    """What a run's training took, and the trainings took that it builds on; `None` if one of them is not here."""
    if run.result is None or run.info.trainer is None or run.info.id in seen:
        return None
    if key == "steps":
        own: float | None = run.result.steps
    elif key == "tokens":
        own = run.result.tokens.get("train")
    else:
        own = run.result.seconds.get("train" if key == "seconds" else key)
    if own is None or run.info.start is None:
        return own
    before = _with_stages(runs[run.info.start], key, runs, seen | {run.info.id}) if run.info.start in runs else None
    return None if before is None else own + before


def is_worse(column: Column, value: float | None, sft: float | None) -> bool:
    """Whether a figure of health is worse than SFT's by more than the shown decimals hide."""
    if column.kind != "health" or value is None or sft is None:
        return False
    if column.unit == "ratio":  # as long as the references is best; half as long is as bad as twice as long
        if min(value, sft) <= 0:
            return value < sft
        return abs(math.log(value)) > abs(math.log(sft)) + _SAME["ratio"]
    return (sft - value if column.key == "distinct" else value - sft) > _SAME["share"]


def sft_place(rows: Sequence[Row]) -> int | None:
    """Place of the only row that was trained by SFT; `None` where there is none, or more than one."""
    places = [place for place, row in enumerate(rows) if row.trainer == "sft"]
    return places[0] if len(places) == 1 else None
