"""From what a user sets to a trainer's configuration, each value of the type that its field has."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from speechbench.errors import UsageError, did_you_mean
from speechbench.trainers.base import TrainConfig, TrainResult

_OURS = frozenset({"output_dir", "progress", "seed", "trainer"})  # fields that the ablation sets for each run


def configure(
    name: str, function: Callable[..., TrainResult], settings: Mapping[str, Any], defaults: Mapping[str, Any]
) -> TrainConfig:
    """Makes the configuration of a trainer; folder, seed and progress are each run's own.

    Args:
        name: The trainer's, for messages.
        function: The trainer; the annotation of its parameter `config` says which dataclass it takes.
        settings: What the user set, by field.
        defaults: What stands where the user set nothing.

    Raises:
        UsageError: If the trainer declares no configuration, has no such field, or a value is wrong.
    """
    kind, types_of = _kind(name, function), settable(name, function)
    values = dict(defaults)
    for key, value in settings.items():
        if key not in types_of:
            raise UsageError(f"configuration of {name}: there is no {key!r}; {did_you_mean(key, types_of)}")
        values[key] = typed(value, types_of[key], f"configuration of {name}: {key}={value!r}")
    try:
        config = kind(output_dir=Path(), **values)
    except UsageError as error:
        raise UsageError(f"configuration of {name}: {error}") from None
    for key, value in described(config).items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise UsageError(
                f"configuration of {name}: {key}={value!r} is kept with the run as JSON, which cannot hold it: let the "
                "field be a text, a number, or a list of these"
            ) from None
    return config


def read_sections(path: Path) -> dict[str, dict[str, Any]]:
    """Reads a YAML file of sections: settings by trainer.

    Raises:
        UsageError: If it is no YAML, holds no sections, or holds a section or a setting twice: YAML would drop one.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or root is None:
        raise UsageError(f"{path}: write one section per trainer, as in `grpo: {{learning_rate: 1.0e-5}}`")
    for mapping in (root, *(section for _, section in root.value)):
        lines: dict[str, int] = {}
        for key, _ in mapping.value if isinstance(mapping, yaml.MappingNode) else ():
            name, line = str(key.value), key.start_mark.line + 1
            if name in lines:
                raise UsageError(f"{path}: {name!r} stands in line {lines[name]} and in line {line}: write it once")
            lines[name] = line
    return content


def settable(name: str, function: Callable[..., TrainResult]) -> dict[str, Any]:
    """The fields of a trainer's configuration that a user can set, sorted, and the type of each.

    Raises:
        UsageError: If the trainer declares no configuration.
    """
    kind = _kind(name, function)
    types_of = typing.get_type_hints(kind)
    return {key: types_of[key] for key in sorted({field.name for field in dataclasses.fields(kind)} - _OURS)}


def _kind(name: str, function: Callable[..., TrainResult]) -> type[TrainConfig]:
    try:
        inspect.signature(function).bind(None, None, None, None)
        kind = typing.get_type_hints(function).get("config")
    except (NameError, TypeError) as error:
        raise UsageError(
            f"trainer {name}: it should be a function (model, benchmark, reward, config: SomeConfig) -> TrainResult: "
            f"{error}"
        ) from None
    if not (isinstance(kind, type) and issubclass(kind, TrainConfig) and dataclasses.is_dataclass(kind)):
        raise UsageError(
            f"trainer {name}: its parameter `config` must be annotated with a dataclass that extends "
            "speechbench.trainers.base.TrainConfig"
        )
    return kind


def typed(value: Any, wanted: Any, what: str) -> Any:
    """The value as its field's type; YAML reads `1e-5` as a text, and `8.0` is as good as 8.

    Args:
        value: As YAML gives it.
        wanted: The type.
        what: How the error calls the value.

    Raises:
        UsageError: If it is none of that type.
    """
    options = typing.get_args(wanted) if typing.get_origin(wanted) in (types.UnionType, typing.Union) else (wanted,)
    if value is None and type(None) in options:
        return None
    for option in options:
        if option is bool and isinstance(value, bool):
            return value
        if option in (int, float) and not isinstance(value, bool):
            try:
                number = float(value)
            except (TypeError, ValueError):
                continue
            if option is float and not math.isnan(number):
                return number
            if option is int and number.is_integer():
                return int(number)
        if option is str and isinstance(value, str):
            return value
    if not set(options) & {bool, int, float, str}:
        return value  # a type of the user's own
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "none"}
    raise UsageError(f"{what} should be {' or '.join(names[o] for o in options if o in names)}")


def described(config: TrainConfig) -> dict[str, Any]:
    """A configuration as it is hashed and written: without folder, seed, and what does not change the outcome."""
    left_out = _OURS | {"save_steps"}
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.name not in left_out}


def hashed(content: Any) -> str:
    """SHA-256 of what JSON can write, hexadecimal."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
