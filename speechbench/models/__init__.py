"""How a speech-aware language model is prompted, sampled and scored."""

from typing import TYPE_CHECKING, Any

from speechbench.registry import MODELS

if TYPE_CHECKING:
    from speechbench.models.describing import show

list = MODELS.places  # what `speechbench models list` prints

__all__ = ["list", "show"]


def __getattr__(name: str) -> Any:
    if name == "show":  # on first use: it loads torch
        from speechbench.models.describing import show

        return show
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
