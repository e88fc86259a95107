"""What a frozen encoder made of each audio file, kept across epochs and across runs of one process."""

from __future__ import annotations

from typing import Any

import torch

from speechbench.benchmarks.audio import Audio

BYTES = 2 << 30  # of all outputs of one encoder; what comes when it is full is encoded each time


class EncoderCache(dict[Audio, torch.Tensor]):
    """Encoder outputs by audio: silence in the place of a file is not the file."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0

    def __deepcopy__(self, _: Any) -> EncoderCache:
        """Empty: the encoder of a model's copy may be frozen where the model's is not, or the other way round."""
        return EncoderCache()

    def keep(self, audio: Audio, hidden: torch.Tensor) -> None:
        """Keeps one output if there is room."""
        size = hidden.numel() * hidden.element_size()
        if self._bytes + size <= BYTES:
            self._bytes += size
            self[audio] = hidden


_CACHES: dict[str, EncoderCache] = {}


def encoder_cache(fingerprint: str) -> EncoderCache:
    """The cache of models with this fingerprint; only the last asked-for model's is kept."""
    if fingerprint not in _CACHES:
        _CACHES.clear()
        _CACHES[fingerprint] = EncoderCache()
    return _CACHES[fingerprint]
