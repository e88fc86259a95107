"""How a speech-aware language model is prompted, sampled and scored."""

from speechbench.registry import MODELS

list = MODELS.places  # what `speechbench models list` prints

__all__ = ["list"]
