"""What a spec can set of a plug, and where the plug is registered: what the commands `show` tell of all kinds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from speechbench.docstrings import arguments
from speechbench.sources import target_of
from speechbench.specs import Spec, write


@dataclass(frozen=True)
class Parameter:
    """A parameter of a plug.

    Attributes:
        name: As in a spec.
        default: As in a spec; `None` where it must be given.
        value: What it is in the spec that is shown, or through the benchmark; `None` where that says nothing.
        text: Its line in the docstring, of a class perhaps in that of one that it extends.
    """

    name: str
    default: str | None
    value: str | None
    text: str


def place_of(plug: object, place: str) -> str:
    """The place that the registry tells; of our own the module, whether it was imported before or not."""
    target = target_of(plug)
    return target if target.startswith("speechbench.") else place


def parameters_of(plug: Callable[..., Any], spec: Spec, given: Collection[str] = ()) -> Iterator[Parameter]:
    """What a spec can set: a class's parameters, and of a function those that have a default.

    Args:
        plug: A class or a function.
        spec: Whose values are told.
        given: Parameters of a function that no spec sets.
    """
    texts: dict[str, str] = {}
    for owner in reversed(getattr(plug, "__mro__", (plug,))):  # a class hands on what it takes over
        texts |= {**arguments(getattr(owner, "__init__", None)), **arguments(owner)}
    for parameter in inspect.signature(plug).parameters.values():
        name, must = parameter.name, parameter.default is parameter.empty
        if not inspect.isclass(plug) and (must or name in given):
            continue
        value = _written(spec.parameters[name]) if name in spec.parameters else None
        yield Parameter(name, None if must else _written(parameter.default), value, texts.get(name, ""))


def _written(value: Any) -> str:
    """As in a spec, where one could hold it."""
    return write(value) if value is None or isinstance(value, (bool, int, float, str)) else repr(value)
