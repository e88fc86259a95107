"""The runs behind a board, one by one: how far each is, why it is no further, and where it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from speechbench.errors import SpeechbenchError
from speechbench.leaderboard.store import Group
from speechbench.locks import is_claimed
from speechbench.run_schema import run_name
from speechbench.runs import Run


@dataclass(frozen=True)
class Entry:
    """A run of the board.

    Attributes:
        id: The run's.
        label: Of its row.
        seed: Of the training; `None` where nothing was trained.
        state: "finished", "failed" or "unfinished".
        reason: Why it is not finished; `None` where it is.
        folder: Where it lies.
        schema: That it was written in.
        provenance: Versions, commit (with a plus where the checkout was changed), hardware, data and model.
    """

    id: str
    label: str
    seed: int | None
    state: str
    reason: str | None
    folder: str
    schema: int
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The label, and the seed where there is one."""
        return run_name(self.label, self.seed)


def entries(group: Group) -> tuple[Entry, ...]:
    """All runs of a group, in the order of its rows."""
    return tuple(_entry(row.label, run, group) for row in group.rows for run in row.runs)


def _entry(label: str, run: Run, group: Group) -> Entry:
    state, reason = _state(run, group)
    info = run.info
    return Entry(info.id, label, info.seed, state, reason, str(run.folder), run.schema, info.provenance)


def _state(run: Run, group: Group) -> tuple[str, str | None]:
    if run.finished:
        return "finished", None
    broken = next((each.reason for each in group.broken if each.folder == run.folder), None)
    if broken is not None:
        return "failed", broken
    failure = run.failure
    if failure is not None:
        return "failed", failure.reason
    try:
        steps = [line["step"] for line in run.log if "step" in line]
    except (SpeechbenchError, OSError) as error:
        return "failed", str(error)
    done = f"{steps[-1]} of {run.info.config.get('max_steps', '?')} steps done" if steps else "not begun"
    return "unfinished", f"{done}, under way or killed" if is_claimed(run.folder) else done
