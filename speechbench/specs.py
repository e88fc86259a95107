"""Specs: how a plug and its parameters are written on the command line.

`bleu`, `chrf(word_order=2)`, and with a positional argument that may be a spec itself, `shuffled(chrf(word_order=2))`.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from speechbench.errors import SpeechbenchError, UsageError

T = TypeVar("T")
Value = bool | int | float | str | None

_BARE_STRING = re.compile(r"[\w./~:@+-]+\Z")


@dataclass(frozen=True)
class Spec:
    """A plug's name and its parameters.

    Attributes:
        name: A registered name or `path/to/file.py:name`.
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
        """The one canonical spelling: arguments, then parameters sorted; `parse(str(spec)) == spec`."""
        inside = [str(a) if isinstance(a, Spec) else _write(a) for a in self.arguments]
        inside += [f"{key}={_write(value)}" for key, value in sorted(self.parameters.items())]
        return f"{self.name}({', '.join(inside)})" if inside else self.name

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
        try:
            inspect.signature(plug).bind(*self.arguments, **self.parameters)
        except TypeError as error:
            raise UsageError(f"{kind} {self}: {error}") from None


Argument = Value | Spec


def _plain(argument: Argument) -> Argument:
    if isinstance(argument, Spec) and not argument.arguments and not argument.parameters:
        return argument.name
    return argument


def _write(value: Value) -> str:
    if isinstance(value, str):
        return value if _BARE_STRING.match(value) and _read(value) == value else repr(value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return repr(value)


def _read(text: str) -> Value:
    constants: dict[str, Value] = {"true": True, "false": False, "none": None, "inf": math.inf, "-inf": -math.inf}
    if text in constants:
        return constants[text]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, (bool, int, float, str)) or value is None else text


def parse(text: str) -> Spec:
    """Reads `name`, or `name(argument, ..., key=value, ...)`.

    Values are numbers, true, false, none, quoted strings, or bare words and paths; an argument, which has no key,
    may be a spec with brackets of its own as well.

    Raises:
        UsageError: If the text is no spec.
    """
    text = text.strip()
    name, bracket, rest = text.partition("(")
    if not name or (bracket and not rest.endswith(")")):
        raise UsageError(f"{text!r} is no spec: write name or name(key=value, ...)")
    arguments: list[Argument] = []
    parameters: dict[str, Value] = {}
    for part in split_outside_brackets(rest[:-1]) if bracket else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key.isidentifier():
            if parameters:
                raise UsageError(f"{text!r} is no spec: {part!r} should be key=value, as what stands before it")
            arguments.append(_read_argument(part, text))
        elif not value:
            raise UsageError(f"{text!r} is no spec: {part!r} should be key=value")
        elif key in parameters:
            raise UsageError(f"{text!r} is no spec: {key!r} stands twice")
        else:
            parameters[key] = _read(value)
    return Spec(name.strip(), parameters, tuple(arguments))


def _read_argument(part: str, text: str) -> Argument:
    if part[0] in "'\"":
        return _read(part)
    if part.endswith(")"):
        return parse(part)
    if "=" in part:
        raise UsageError(f"{text!r} is no spec: {part!r} should be key=value")
    return _read(part)


def split_outside_brackets(text: str) -> list[str]:
    """Splits at commas that stand outside brackets and quotes, dropping empty parts.

    Raises:
        UsageError: If a bracket or a quote has no counterpart.
    """
    parts, depth, quote, start, escaped = [], 0, "", 0, False
    for index, character in enumerate(text):
        if quote:
            if not escaped and character == quote:
                quote = ""
            escaped = character == "\\" and not escaped
        elif character in "'\"":
            quote = character
        elif character in "([":
            depth += 1
        elif character in ")]":
            depth -= 1
            if depth < 0:
                break
        elif character == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    if depth or quote:
        raise UsageError(f"{text!r} has a bracket or quote without its counterpart")
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]
