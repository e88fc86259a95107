"""Data inside an HTML file: as JSON to be read at once, and compressed to be read when it is asked for."""

from __future__ import annotations

import base64
import gzip
import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_MISSING = 65535  # of 16 bits: where a metric does not apply


def script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in, whatever its texts say; NaN and infinities are null."""
    text = _json(value)
    return "".join(_ESCAPED.get(c, c) for c in text) if any(c in text for c in _ESCAPED) else text


def finite(value: Any) -> Any:
    """The same data with `None` for what JSON has no number for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return value


def packed(content: bytes) -> str:
    """gzip in base64; the same content gives the same text."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode("ascii")


def packed_json(value: Any) -> str:
    """Data as JSON, packed."""
    return packed(_json(value).encode("utf-8", "replace"))


def _json(value: Any) -> str:
    dump = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str).encode
    try:
        return dump(value)
    except ValueError:  # rare, and to look for it beforehand takes longer than all the rest
        return dump(finite(value))


def element(name: str, text: str) -> str:
    """A script element that no browser runs, with text in base64.

    Args:
        name: Its id; ours, so without anything to escape.
        text: In base64, which cannot end the element.
    """
    return f'<script type="text/plain" id="{name}">{text}</script>\n'


def step_of(scores: list[Array], scale: float) -> tuple[float, float]:
    """Lowest score and width of a step, so that 16 bits hold all scores of a metric.

    A step is a hundredth of a point where the field counts in per cent. Metrics without an upper end, as word error
    rate, may need wider ones.
    """
    known = np.concatenate([np.asarray(s, np.float64)[np.isfinite(s)] for s in scores]) if scores else np.empty(0)
    if not known.size:
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    return low, max(abs(scale) / 10_000, (high - low) / (_MISSING - 1))


def quantised(scores: Array, low: float, step: float) -> bytes:
    """Scores in 16 bits each, least significant byte first.

    Args:
        scores: NaN where the metric does not apply.
        low: As `step_of` says.
        step: As `step_of` says.
    """
    known = np.isfinite(scores)
    places = np.full(len(scores), _MISSING, np.uint16)
    places[known] = np.rint((scores[known] - low) / step).astype(np.uint16)
    return places.astype("<u2").tobytes()
