"""What is computed of an utterance alone, against the feature extractor's own features of the whole window."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import WhisperFeatureExtractor

from speechbench.models.whisper_features import unpadded

EXTRACTOR = WhisperFeatureExtractor(feature_size=80, chunk_length=2)


@example(400, 0)
@example(16_000, 0)
@example(16_001, 2)
@example(32_000, 0)
@settings(deadline=None, max_examples=30)
@given(st.integers(400, 32_000), st.integers(0, 2))
def test_an_utterances_features_begin_those_of_its_window(length: int, behind: int) -> None:
    samples = np.random.default_rng(length).standard_normal(length).astype(np.float32) * 0.1
    made = EXTRACTOR(samples, sampling_rate=16000, return_attention_mask=True, return_tensors="pt")
    frames = int(made["attention_mask"].sum())
    whole = torch.nn.functional.pad(made["input_features"][0], (0, behind))  # in the window no frame follows the last
    torch.testing.assert_close(unpadded(EXTRACTOR, torch.from_numpy(samples), behind), whole[:, : frames + behind])
