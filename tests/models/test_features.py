"""Our features against transformers' own filter bank and spectrogram."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from speechbench.models.features import log_mel


def reference(samples: np.ndarray) -> np.ndarray:
    """Granite's recipe (FACTS of its feature extractor) with transformers' numpy tools."""
    filters = mel_filter_bank(257, 80, 0.0, 8000.0, 16000, norm=None, mel_scale="htk")
    log = spectrogram(
        samples, window_function(400, "hann"), 400, 160, fft_length=512, power=2.0, center=True, pad_mode="reflect",
        mel_filters=filters, mel_floor=1e-10, log_mel="log10",
    ).T  # fmt: skip
    log = np.maximum(log, log.max() - 8.0) / 4 + 1
    return log[: len(log) // 2 * 2].reshape(-1, 160)


@pytest.mark.parametrize("length", [16000, 16001, 8159, 400])
def test_equals_an_independent_computation(length: int) -> None:
    samples = np.random.default_rng(length).standard_normal(length) * np.linspace(0.01, 0.5, length)
    ours = log_mel(torch.from_numpy(samples).float()).numpy()
    # The window of 400 stands in the middle of the 512-point frame in torch, at its start in transformers.
    shifted = np.pad(samples, (0, 0))
    expected = reference(shifted)
    assert ours.shape == expected.shape == ((length // 160 + 1) // 2, 160)
    assert np.abs(ours - expected).max() < 2e-4


def test_silence_and_very_short_audio_are_finite() -> None:
    for samples in (torch.zeros(16000), *(torch.ones(length) for length in range(1, 401, 7))):
        assert torch.isfinite(log_mel(samples)).all() and len(log_mel(samples)) >= 1
