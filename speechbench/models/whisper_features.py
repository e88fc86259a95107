"""Whisper's feature extractor as a checkpoint sets it up: what Voxtral and Qwen's audio models hear with."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import WhisperFeatureExtractor

from speechbench.errors import SpeechbenchError
from speechbench.models.checkpoint import MEND

RATE = 16_000  # Hz
_FILES = ("preprocessor_config.json", "processor_config.json")  # the second where a whole processor was saved


def load_whisper_features(folder: Path, mels: int, frames: int | None) -> WhisperFeatureExtractor:
    """The feature extractor of a checkpoint.

    Args:
        folder: Of the checkpoint.
        mels: Filters that the audio encoder was made for.
        frames: Of 10 ms, of one window of the audio encoder; `None` if any number will do.

    Raises:
        SpeechbenchError: If the folder has none, or it gives something else than the encoder takes.
    """
    path = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if path is None:
        raise SpeechbenchError(
            f"{folder} lacks its processor: it holds no {_FILES[0]}, by which audio is heard; {MEND}"
        )
    try:
        extractor: WhisperFeatureExtractor = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        said = str(error).splitlines()[0].rstrip(".")
        raise SpeechbenchError(f"{path} is no feature extractor: {said}; {MEND}") from error
    for name, found, wanted in (
        ("sampling_rate", extractor.sampling_rate, RATE),
        ("feature_size", extractor.feature_size, mels),
        ("chunk_length in frames", extractor.nb_max_frames, frames or extractor.nb_max_frames),
    ):
        if found != wanted:
            raise SpeechbenchError(
                f"{path}: its {name} is {found}, but the checkpoint's encoder takes {wanted}; {MEND}"
            )
    return extractor


def unpadded(extractor: WhisperFeatureExtractor, samples: torch.Tensor, behind: int = 0) -> torch.Tensor:
    """Log-mel features of one utterance as they begin those of the whole window, which need not be computed.

    Args:
        extractor: Of the checkpoint.
        samples: Mono at `RATE`, no more than the extractor's window takes, shape [sample].
        behind: Frames of the silence behind the utterance that come along; 0 where the window ends before them.

    Returns:
        Shape [mel, frame + behind]; a frame for each 10 ms, the last for what remains.
    """
    frames = -(-len(samples) // extractor.hop_length) + behind
    # Two more, so that what reflects at the end of the padded audio is silence.
    length = min((frames + 2) * extractor.hop_length, extractor.n_samples)
    made = extractor(samples.numpy(), sampling_rate=RATE, max_length=length, return_tensors="pt")
    features: torch.Tensor = made["input_features"][0, :, :frames]
    return torch.nn.functional.pad(features, (0, frames - features.shape[1]))
