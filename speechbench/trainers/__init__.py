"""How a speech-aware language model learns."""

from speechbench.registry import TRAINERS

list = TRAINERS.places  # what `speechbench trainers list` prints

__all__ = ["list"]
