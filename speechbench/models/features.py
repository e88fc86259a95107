"""Granite Speech's audio features, computed directly.

transformers' GraniteSpeechFeatureExtractor needs torchaudio; what it computes is a plain HTK mel filter
bank, and this module computes the same from torch alone.
"""

from __future__ import annotations

from functools import cache

import torch

RATE = 16_000  # Hz
MELS = 80
_FFT, _WINDOW, _HOP = 512, 400, 160


@cache
def _mel_filters() -> torch.Tensor:
    """Triangular filters on the HTK mel scale (2595 log10(1 + f/700)), not normalised; shape [bin, mel]."""
    frequencies = torch.linspace(0, RATE / 2, _FFT // 2 + 1)
    top = 2595.0 * torch.log10(torch.tensor(1.0 + RATE / 2 / 700.0))
    edges = 700.0 * (10.0 ** (torch.linspace(0.0, float(top), MELS + 2) / 2595.0) - 1.0)
    width = edges[1:] - edges[:-1]
    slopes = edges[None, :] - frequencies[:, None]
    rising, falling = -slopes[:, :-2] / width[:-1], slopes[:, 2:] / width[1:]
    return torch.minimum(rising, falling).clamp(min=0.0)


def log_mel(samples: torch.Tensor) -> torch.Tensor:
    """Stacked log-mel features of one utterance.

    Args:
        samples: Mono at `RATE`, in [-1, 1], shape [sample].

    Returns:
        Shape [frame, 160]: 20 ms a frame, two 10 ms frames of 80 mels stacked.
    """
    if samples.numel() <= _FFT // 2:  # the reflecting pad needs more samples than it adds
        samples = torch.nn.functional.pad(samples, (0, _FFT // 2 + 1 - samples.numel()))
    spectrum = torch.stft(
        samples, _FFT, _HOP, _WINDOW, torch.hann_window(_WINDOW), center=True, pad_mode="reflect", return_complex=True
    )
    mel = spectrum.abs().square().T @ _mel_filters()  # [frame, mel]
    log = mel.clamp(min=1e-10).log10()
    log = torch.maximum(log, log.max() - 8.0) / 4.0 + 1.0
    return log[: len(log) // 2 * 2].reshape(-1, 2 * MELS)
