"""What a recipe is: its values, where each is from, and how they are filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from speechbench.errors import MissingError
from speechbench.grammar import parse
from speechbench.registry import BENCHMARKS, MODELS, Registry
from speechbench.specs import Spec, write

PAPER, OURS = "paper", "ours"
_KINDS: Mapping[str, Registry[Any]] = {"benchmark": BENCHMARKS, "model": MODELS}


@dataclass(frozen=True)
class Value:
    """A value of a recipe.

    Attributes:
        value: As `plan`, a configuration or a spec takes it.
        of: `PAPER`, or `OURS` where the paper does not state it.
        why: Of the paper's where it stands, of ours the reason.
    """

    value: Any
    of: str
    why: str


@dataclass(frozen=True)
class Plug:
    """A benchmark or a model.

    Attributes:
        name: As registered.
        parameters: Of its spec.
        of: `PAPER` or `OURS`, of the name.
        why: Likewise.
        place: Parameters one of which must say where the data is; none where it needs no saying.
        how_to_get: What must be there, and how it is named; the end of a sentence.
    """

    name: str
    parameters: Mapping[str, Value]
    of: str
    why: str
    place: tuple[str, ...] = ()
    how_to_get: str = ""

    def spec(self, kind: str, given: str | None = None) -> str:
        """Its spec, with the parameters that were given in place of its own; or what was given, if that is another.

        Raises:
            UsageError: If what was given is no spec, or takes no such parameters.
            MissingError: If nothing says where the data is.
        """
        theirs = Spec(self.name) if given is None else parse(given)
        if theirs.name != self.name:
            return str(given)
        if theirs.arguments:
            theirs = theirs.named(_KINDS[kind].get(self.name), kind)
        if self.place and not set(self.place) & set(theirs.parameters):
            raise MissingError(f"{self.name}: {self.how_to_get}")
        ours = {key: value.value for key, value in self.parameters.items()}
        return str(Spec(self.name, {**ours, **theirs.parameters}))


@dataclass(frozen=True)
class Row:
    """A value of a recipe as it is shown.

    Attributes:
        setting: What it is of: an argument, "model.adapter", or "grpo.beta"; "all trainers.seed" of all.
        value: As it is written in a spec, a list or a configuration.
        of: `PAPER` or `OURS`.
        why: Where it stands, or the reason.
    """

    setting: str
    value: str
    of: str
    why: str


@dataclass(frozen=True)
class Recipe:
    """A whole set-up.

    Attributes:
        name: As `--recipe` takes it.
        summary: One sentence.
        citation: Of the paper.
        benchmark: What is asked.
        model: What is trained.
        plan: Other arguments of `speechbench.planning.plan`.
        common: Settings of all trainers.
        trainers: Settings by trainer, on top of those.
        fixed: What holds without being set.
    """

    name: str
    summary: str
    citation: str
    benchmark: Plug
    model: Plug
    plan: Mapping[str, Value]
    common: Mapping[str, Value]
    trainers: Mapping[str, Mapping[str, Value]]
    fixed: Mapping[str, Value] = field(default_factory=dict)

    def value(self, argument: str) -> Any:
        """Of an argument of `plan`."""
        return self.plan[argument].value

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of `plan` that were given, and the recipe's where none was.

        Raises:
            UsageError: If the benchmark or the model is no spec.
            MissingError: If nothing says where the data is.
        """
        plugs = {"model": self.model, "benchmark": self.benchmark}
        own = {key: value.value for key, value in self.plan.items()}
        return {**own, **given, **{kind: plug.spec(kind, given.get(kind)) for kind, plug in plugs.items()}}

    def config(self, trainers: Sequence[str], given: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        """The sections of these trainers' stages, and those that were given on top.

        Args:
            trainers: Names, joined by "+" or not.
            given: By section.
        """
        sections: dict[str, Mapping[str, Any]] = {}
        for stage in (stage for name in trainers for stage in name.split("+")):
            values = {**self.common, **self.trainers.get(stage, {})}
            sections[stage] = {key: value.value for key, value in values.items()}
        for section, settings in given.items():  # what is no mapping is refused where all sections are looked at
            own = sections.get(section, {})
            sections[section] = {**own, **settings} if isinstance(settings, Mapping) else settings
        return sections

    def rows(self) -> Iterator[Row]:
        """All values, in the order of the arguments, trainers after them."""
        for kind, plug in (("model", self.model), ("benchmark", self.benchmark)):
            yield Row(kind, plug.name, plug.of, plug.why)
            yield from _rows(f"{kind}.", plug.parameters)
        yield from _rows("", self.plan)
        yield from _rows("all trainers.", self.common)
        for trainer, values in self.trainers.items():
            yield from _rows(f"{trainer}.", values)
        yield from _rows("", self.fixed)


def _rows(above: str, values: Mapping[str, Value]) -> Iterator[Row]:
    for name, value in values.items():
        yield Row(f"{above}{name}", _written(value.value), value.of, value.why)


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else write(value)
