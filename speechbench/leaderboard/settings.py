"""Settings of runs and signatures of metrics as what tells them apart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any


def without_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without the seeds of all stages."""
    return {
        key: without_seed(inner) if isinstance(inner, Mapping) else inner
        for key, inner in config.items()
        if key != "seed"
    }


def flat(value: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Settings by their dotted keys."""
    found: dict[str, str] = {}
    for key, inner in value.items():
        found.update(flat(inner, f"{above}{key}.") if isinstance(inner, Mapping) else {f"{above}{key}": str(inner)})
    return found


def difference(one: Mapping[str, Any], two: Mapping[str, Any]) -> str:
    """In what two differ, in words."""
    a, b = flat(one), flat(two)
    keys: Iterable[str] = sorted(key for key in {*a, *b} if a.get(key) != b.get(key))
    return ", ".join(f"{key} {a.get(key, 'missing')} and {b.get(key, 'missing')}" for key in keys)


def canonical(value: Any) -> str:
    """A text that only equal values share."""
    return json.dumps(value, sort_keys=True, default=str)
