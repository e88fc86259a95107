"""Builds the embedded base model from the pretraining split: `python -m speechbench.models.tiny_build`."""
