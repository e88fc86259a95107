"""Specs: a plug, its parameters, and how both are spelled. How a spelling is read stands in `grammar`.

`bleu`, `chrf(word_order=2)`, `shuffled(chrf(word_order=2))`, and of rewards also `0.7*bleu + 0.3*comet` and
`bleu*language`, which are short for the rewards `sum` and `product`.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from speechbench.errors import SpeechbenchError, UsageError, did_you_mean

T = TypeVar("T")
Value = bool | int | float | str | None

SUM, PRODUCT = "sum", "product"  # the two rewards that have signs of their own

_BARE_STRING = re.compile(r"[\w./~:@+-]+\Z")
# Neither signs nor brackets, no white space at the ends, and no minus where it could be a sign.
_BARE_NAME = re.compile(r"(?!-)[^\s'\"(),*+=\[\]](?:(?!\s-)[^'\"(),*+=\[\]])*(?<!\s)\Z")


@dataclass(frozen=True)
class Spec:
    """A plug's name and its parameters.

    Attributes:
        name: A registered name, `path/to/file.py:name`, or of a model a folder.
        parameters: What is passed to the plug, by name.
        arguments: What is passed to the plug by position, in front of the parameters. A spec without parameters
            and arguments of its own is held as its name: `shuffled(bleu)` has the argument "bleu".
    """

    name: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    arguments: tuple[Argument, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", tuple(_plain(argument) for argument in self.arguments))

    def __str__(self) -> str:
        """The one canonical spelling, which reads back as this spec: arguments, then parameters sorted."""
        if self.is_sum and not self.parameters:
            return _written_sum(self)
        if self.is_product:
            return _written_product(self)
        inside = [_written_name(a) if isinstance(a, str) else str(a) if isinstance(a, Spec) else write(a)
                  for a in self.arguments]  # fmt: skip
        inside += [f"{key}={write(value)}" for key, value in sorted(self.parameters.items())]
        return f"{_written_name(self.name)}({', '.join(inside)})" if inside else _written_name(self.name)

    @property
    def is_sum(self) -> bool:
        """Whether it is a sum of rewards, which `sum_of` has made."""
        return self.name == SUM and len(self.arguments) > 0

    @property
    def is_product(self) -> bool:
        """Whether it is a product of rewards and perhaps, in front, a weight; `product_of` has made it."""
        return self.name == PRODUCT and len(self.arguments) > 1 and not self.parameters

    @property
    def weighted(self) -> tuple[float, Spec]:
        """The weight in front, and what it weighs."""
        first = self.arguments[0] if self.is_product else None
        if not isinstance(first, float):
            return 1.0, self
        rest = self.arguments[1:]
        return first, as_spec(rest[0]) if len(rest) == 1 else Spec(PRODUCT, arguments=rest)

    @property
    def terms(self) -> tuple[Spec, ...]:
        """What it is made of: of `0.7*bleu + comet(model=x)` these are `bleu` and `comet(model=x)`, without weights."""
        _, inner = self.weighted
        if not (inner.is_sum or inner.is_product):
            return (inner,)
        return tuple(term for part in inner.arguments if not isinstance(part, float) for term in as_spec(part).terms)

    def named(self, plug: Callable[..., object], kind: str) -> Spec:
        """The spec with the plug's names for its positional arguments, so that one plug has one spelling.

        Arguments stay as they are where one of them is a spec, or the plug takes them by position only.

        Raises:
            UsageError: If the plug takes no such arguments.
        """
        if not self.arguments:
            return self
        self._bind(plug, kind)
        taken = list(inspect.signature(plug).parameters.values())[: len(self.arguments)]
        if any(isinstance(argument, Spec) for argument in self.arguments) or not all(
            parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in taken
        ):
            return self
        by_name = {p.name: a for p, a in zip(taken, self.arguments, strict=True) if not isinstance(a, Spec)}
        return Spec(self.name, {**by_name, **self.parameters})

    def without_defaults(self, plug: Callable[..., object], keep: Iterable[str] = ()) -> Spec:
        """The spec without parameters that say what the plug would do anyway, so that one plug has one spelling.

        Args:
            plug: Whose defaults they are.
            keep: Parameters that stay.
        """
        defaults = {parameter.name: parameter.default for parameter in inspect.signature(plug).parameters.values()}

        def says_something(key: str, value: Value) -> bool:
            default = defaults.get(key, inspect.Parameter.empty)
            return key in keep or type(value) is not type(default) or value != default

        told = {key: value for key, value in self.parameters.items() if says_something(key, value)}
        return Spec(self.name, told, self.arguments)

    def build(self, plug: Callable[..., T], kind: str) -> T:
        """Calls the plug with the arguments and parameters.

        Raises:
            UsageError: If it takes no such argument or parameter, is a class that lacks methods, or fails.
        """
        if not callable(plug):
            raise UsageError(f"{kind} {self} is of type {type(plug).__name__}: it should be a class, or a function")
        if inspect.isabstract(plug):
            lacking = ", ".join(sorted(getattr(plug, "__abstractmethods__", ())))
            raise UsageError(f"{kind} {self}: the class lacks {lacking}; write it")
        self._bind(plug, kind)
        try:
            return plug(*self.arguments, **self.parameters)
        except (SpeechbenchError, OSError):
            raise  # these say themselves what, where and how
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise UsageError(f"{kind} {self} cannot be made: {said}; mend its parameters or its code") from error

    def _bind(self, plug: Callable[..., object], kind: str) -> None:
        signature = inspect.signature(plug)
        taken = signature.parameters.values()
        names = [p.name for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        unknown = [key for key in self.parameters if key not in names]
        if unknown and not any(p.kind is p.VAR_KEYWORD for p in taken):
            hint = did_you_mean(unknown[0], names) if names else "it has no parameters"
            raise UsageError(f"{kind} {self}: got an unexpected keyword argument {unknown[0]!r}: {hint}")
        try:
            signature.bind(*self.arguments, **self.parameters)
        except TypeError as error:
            raise UsageError(f"{kind} {self}: {error}") from None


Argument = Value | Spec


def as_spec(argument: Argument) -> Spec:
    """An argument that stands for a plug, as a spec."""
    return argument if isinstance(argument, Spec) else Spec(str(argument))


def sum_of(terms: Iterable[Spec], parameters: Mapping[str, Value] | None = None) -> Spec:
    """The sum of rewards, each perhaps with a weight in front, in its one order: that of the rewards' spelling.

    Sums among the terms that have neither weight nor parameters are opened up. A single term is its own sum.

    Args:
        terms: At least one.
        parameters: Of the reward `sum`.

    Raises:
        UsageError: If a reward stands twice.
    """
    opened: list[Spec] = []
    for term in terms:
        opened += [as_spec(a) for a in term.arguments] if term.is_sum and not term.parameters else [term]
    ordered = sorted(opened, key=lambda term: _order(term.weighted[1]))
    if len(ordered) == 1 and not parameters:
        return ordered[0]
    made = Spec(SUM, dict(parameters or {}), tuple(ordered))
    for reward, times in Counter(str(term.weighted[1]) for term in ordered).items():
        if times > 1:
            raise UsageError(f"reward {made}: {reward} stands twice in the sum; give it one weight")
    return made


def product_of(factors: Iterable[Spec | float]) -> Spec:
    """The product of rewards and numbers: one weight in front unless it is 1, then the rewards by their spelling.

    Args:
        factors: At least one of them a reward.

    Raises:
        UsageError: If the weight is 0 or no finite number.
    """
    weight, rewards = 1.0, []
    for factor in factors:
        if isinstance(factor, Spec):
            own, rest = factor.weighted
            weight *= own
            rewards += [as_spec(a) for a in rest.arguments] if rest.is_product else [rest]
        else:
            weight *= factor
    rewards.sort(key=_order)
    if weight == 0 or not math.isfinite(weight):
        raise UsageError(
            f"reward {weight:g}*{'*'.join(map(_bracketed, rewards))}: a weight is a finite number other than 0"
        )
    if weight == 1.0:
        return rewards[0] if len(rewards) == 1 else Spec(PRODUCT, arguments=tuple(rewards))
    return Spec(PRODUCT, arguments=(weight, *rewards))


def _order(spec: Spec) -> tuple[str, str]:
    """What rewards are ordered by: where a file lies must not decide it, unless nothing else does."""
    return str(_without_folders(spec)), str(spec)


def _without_folders(spec: Spec) -> Spec:
    def last(value: Argument) -> Argument:
        if isinstance(value, Spec):
            return _without_folders(value)
        return value.rpartition("/")[2] if isinstance(value, str) else value

    parameters = {key: last(value) for key, value in spec.parameters.items()}
    return Spec(spec.name.rpartition("/")[2], parameters, tuple(map(last, spec.arguments)))  # type: ignore[arg-type]


def _written_sum(spec: Spec) -> str:
    terms = list(map(str, map(as_spec, spec.arguments)))
    return terms[0] + "".join(f" - {term[1:]}" if term[0] == "-" else f" + {term}" for term in terms[1:])


def _written_product(spec: Spec) -> str:
    weight, rest = spec.weighted
    rewards = "*".join(map(_bracketed, map(as_spec, rest.arguments))) if rest.is_product else _bracketed(rest)
    if weight == 1:
        return rewards
    return f"-{rewards}" if weight == -1 else f"{repr(weight).removesuffix('.0')}*{rewards}"


def _written_name(name: str) -> str:
    return name if _BARE_NAME.match(name) and read(name) == name else repr(name)


def _bracketed(spec: Spec) -> str:
    return f"({spec})" if spec.is_sum and not spec.parameters else str(spec)


def _plain(argument: Argument) -> Argument:
    if isinstance(argument, Spec) and not argument.arguments and not argument.parameters:
        return argument.name
    return argument


def write(value: Value) -> str:
    """A parameter's value as `read` reads it."""
    if isinstance(value, str):
        return value if _BARE_STRING.match(value) and read(value) == value else repr(value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return repr(value)


def read(text: str) -> Value:
    """What a parameter's spelling means: a number, true, false, none, a quoted string, or else a bare string."""
    constants: dict[str, Value] = {"true": True, "false": False, "none": None, "inf": math.inf, "-inf": -math.inf}
    if text in constants:
        return constants[text]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, (bool, int, float, str)) or value is None else text
