"""What goes on in a run's folder now: written there by whoever does the run, read by `speechbench status`.

It is news and no record: at most one a second, lost with the process, and never a reason for the run to fail.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from speechbench.progress import Progress, Relay

NOW = ".now.json"
_EVERY = 1.0  # seconds between news
_SHOWN = ("reward", "loss")


@dataclass(frozen=True)
class Now:
    """What a run is at.

    Attributes:
        what: "training", or what else takes long: "evaluating".
        done: Of it: steps, or examples.
        total: Of these.
        steps_done: Of its training, as it stands in the log or soon will.
        steps: Of its training; 0 where nothing is trained.
        seconds: Since whoever does it now began, by a clock that does not jump.
        step_seconds: That a step took on the average since then, all that came between the steps included; `None`
            before the first.
        values: Of the last step: "reward" on unit scale where there is one, "loss".
        told: What a person should know, in the order in which it was told.
    """

    what: str
    done: int
    total: int
    steps_done: int = 0
    steps: int = 0
    seconds: float = 0.0
    step_seconds: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    told: tuple[str, ...] = ()


def now(folder: Path) -> Now | None:
    """What goes on in a run folder, or went on when whoever did it was killed; `None` if nothing does."""
    try:
        return msgspec.json.decode((folder / NOW).read_bytes(), type=Now)
    except (OSError, ValueError):
        return None


@contextmanager
def recorded(progress: Progress, folder: Path, steps: int) -> Iterator[Progress]:
    """A progress that also writes into a run's folder what it hears, for as long as the context lasts.

    Args:
        progress: Hears everything too.
        folder: The run's.
        steps: Of its training; 0 where nothing is trained.
    """
    record = _Recorded(progress, folder, steps)
    try:
        yield record
    finally:
        with suppress(OSError):
            (folder / NOW).unlink(missing_ok=True)


class _Recorded(Relay):
    """Writes at the first word of anything new, then once a second at most."""

    def __init__(self, progress: Progress, folder: Path, steps: int) -> None:
        super().__init__(progress)
        self._folder = folder
        self._begun = time.monotonic()
        self._written = float("-inf")
        self._first: tuple[float, int] | None = None  # when the first step was done, and which it was
        self._now = Now("starting", 0, 0, steps=steps)
        self._write(self._now)

    def step(self, logged: Mapping[str, float]) -> None:
        super().step(logged)
        step, at = int(logged["step"]), time.monotonic()
        if self._first is None:
            self._first = at, step
        since, first = self._first
        self._write(
            dataclasses.replace(
                self._now,
                what="training",
                done=step,
                total=int(logged["steps"]),
                steps_done=step,
                step_seconds=(at - since) / (step - first) if step > first else at - self._begun,
                values={name: float(logged[name]) for name in _SHOWN if name in logged},
            )
        )

    def advance(self, what: str, done: int, total: int) -> None:
        super().advance(what, done, total)
        self._write(dataclasses.replace(self._now, what=what, done=done, total=total))

    def aside(self, what: str, done: int, total: int) -> None:
        super().aside(what, done, total)
        self._write(dataclasses.replace(self._now, what=what, done=done, total=total))

    def tell(self, text: str) -> None:
        super().tell(text)
        self._write(dataclasses.replace(self._now, told=(*self._now.told, text)), is_urgent=True)

    def _write(self, news: Now, is_urgent: bool = False) -> None:
        is_new = is_urgent or news.what != self._now.what or news.done >= news.total
        at = time.monotonic()
        self._now = dataclasses.replace(news, seconds=at - self._begun)
        if not is_new and at - self._written < _EVERY:
            return
        self._written = at
        temporary = self._folder / f"{NOW}.{os.getpid()}.tmp"  # no fsync: news need not outlive a power cut
        with suppress(OSError):
            temporary.write_text(json.dumps(dataclasses.asdict(self._now)), encoding="utf-8")
            os.replace(temporary, self._folder / NOW)
