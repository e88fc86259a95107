"""Specs: how a plug and its parameters are written on the command line, `name(key=value, ...)`."""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from speechbench.errors import UsageError

T = TypeVar("T")
Value = bool | int | float | str | None

_BARE_STRING = re.compile(r"[\w./~:@+-]+\Z")


@dataclass(frozen=True)
class Spec:
    """A plug's name and its parameters.

    Attributes:
        name: A registered name or `path/to/file.py:name`.
        parameters: What is passed to the plug, by name.
    """

    name: str
    parameters: Mapping[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        """The one canonical spelling: parameters sorted, `parse(str(spec)) == spec`."""
        if not self.parameters:
            return self.name
        return f"{self.name}({', '.join(f'{k}={_write(v)}' for k, v in sorted(self.parameters.items()))})"

    def build(self, plug: Callable[..., T], kind: str) -> T:
        """Calls the plug with the parameters.

        Raises:
            UsageError: If it takes no such parameter.
        """
        try:
            inspect.signature(plug).bind(**self.parameters)
        except TypeError as error:
            raise UsageError(f"{kind} {self}: {error}") from None
        return plug(**self.parameters)


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
    """Reads `name` or `name(key=value, ...)`.

    Values are numbers, true, false, none, quoted strings, or bare words and paths.

    Raises:
        UsageError: If the text is no spec.
    """
    text = text.strip()
    name, bracket, rest = text.partition("(")
    if not name or (bracket and not rest.endswith(")")):
        raise UsageError(f"{text!r} is no spec: write name or name(key=value, ...)")
    parameters: dict[str, Value] = {}
    for part in split_outside_brackets(rest[:-1]) if bracket else ():
        key, equals, value = part.partition("=")
        if not equals or not key.strip().isidentifier() or not value.strip():
            raise UsageError(f"{text!r} is no spec: {part.strip()!r} should be key=value")
        if key.strip() in parameters:
            raise UsageError(f"{text!r} is no spec: {key.strip()!r} stands twice")
        parameters[key.strip()] = _read(value.strip())
    return Spec(name.strip(), parameters)


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
