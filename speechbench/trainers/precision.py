"""The precision of the loop, where a launcher says it and where transformers looks for it: in the environment.

A run records its own, so that it is the same run whatever started it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_VARIABLE = "ACCELERATE_MIXED_PRECISION"


def launched() -> str:
    """The `mixed_precision` that `accelerate launch` was given: "no", "bf16", "fp16" or "fp8"."""
    return os.environ.get(_VARIABLE, "no")


@contextmanager
def told(bf16: bool) -> Iterator[None]:
    """While it lasts, transformers finds a training's own precision, not a launcher's or that of one before it."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "bf16" if bf16 else "no"
    try:
        yield
    finally:
        del os.environ[_VARIABLE]
        if before is not None:
            os.environ[_VARIABLE] = before
