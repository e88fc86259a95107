"""What long work reports while it goes on; the command draws it, a notebook may ignore it."""

from __future__ import annotations

from collections.abc import Mapping


class Progress:
    """Hears what goes on. This one says nothing; subclasses draw."""

    def plan(self, units: int) -> None:
        """So many units of work lie ahead, over all runs: a training step and an evaluated example are one each."""

    def start(self, what: str, number: int, total: int) -> None:
        """Run `number` of `total` begins."""

    def step(self, logged: Mapping[str, float]) -> None:
        """A training step is done; `logged` holds "step", "steps" and what the trainer watches."""

    def advance(self, what: str, done: int, total: int) -> None:
        """Other work goes on: examples evaluated, utterances made."""

    def aside(self, what: str, done: int, total: int) -> None:
        """As `advance`, of work between two steps that is none of the units planned: examples of a validation."""

    def tell(self, text: str) -> None:
        """Something that a person should know."""

    def finish(self, what: str, seconds: float, summary: str) -> None:
        """A run is done, or was found done."""

    def beside(self, place: int) -> Progress:
        """What hears of one of several runs that go on at once; `place` tells them apart, from 0."""
        return self

    def skip(self, units: int) -> None:
        """So many units need not be done after all."""


class Relay(Progress):
    """Passes on all that it hears; subclasses do something besides.

    Args:
        inner: Hears it.
    """

    def __init__(self, inner: Progress) -> None:
        self._inner = inner

    def plan(self, units: int) -> None:
        self._inner.plan(units)

    def start(self, what: str, number: int, total: int) -> None:
        self._inner.start(what, number, total)

    def step(self, logged: Mapping[str, float]) -> None:
        self._inner.step(logged)

    def advance(self, what: str, done: int, total: int) -> None:
        self._inner.advance(what, done, total)

    def aside(self, what: str, done: int, total: int) -> None:
        self._inner.aside(what, done, total)

    def tell(self, text: str) -> None:
        self._inner.tell(text)

    def finish(self, what: str, seconds: float, summary: str) -> None:
        self._inner.finish(what, seconds, summary)

    def beside(self, place: int) -> Progress:
        return self._inner.beside(place)

    def skip(self, units: int) -> None:
        self._inner.skip(units)
