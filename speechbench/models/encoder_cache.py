"""What a frozen encoder made of each audio file, kept across epochs and across runs of one process."""

from __future__ import annotations

from pathlib import Path

import torch

BYTES = 2 << 30  # of all outputs of one encoder; what comes when it is full is encoded each time


class EncoderCache(dict[Path, torch.Tensor]):
    """Encoder outputs by audio file."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0

    def keep(self, path: Path, hidden: torch.Tensor) -> None:
        """Keeps one output if there is room."""
        size = hidden.numel() * hidden.element_size()
        if self._bytes + size <= BYTES:
            self._bytes += size
            self[path] = hidden


_CACHES: dict[str, EncoderCache] = {}


def encoder_cache(fingerprint: str) -> EncoderCache:
    """The cache of models with this fingerprint; only the last asked-for model's is kept."""
    if fingerprint not in _CACHES:
        _CACHES.clear()
        _CACHES[fingerprint] = EncoderCache()
    return _CACHES[fingerprint]
