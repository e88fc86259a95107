"""What models that hear with Whisper's features have in common: the extractor of their checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import WhisperFeatureExtractor

from speechbench.models.pretrained import PretrainedSpeechModel
from speechbench.models.whisper_features import load_whisper_features


class WhisperModel(PretrainedSpeechModel):
    """A model of transformers whose checkpoint brings a Whisper feature extractor.

    Args:
        checkpoint: Hub name or folder.
        revision: Of the hub's repository.
        **options: As `PretrainedSpeechModel` takes them.

    Attributes:
        extractor: The checkpoint's own.

    Raises:
        SpeechbenchError: If the folder has no feature extractor, or one of another encoder.
    """

    extractor: WhisperFeatureExtractor

    def __init__(self, checkpoint: str, revision: str | None = None, **options: Any) -> None:
        super().__init__(checkpoint, revision, **options)
        mels = self.network.config.audio_config.num_mel_bins
        self.extractor = load_whisper_features(self.folder, mels, self.window)

    @property
    def window(self) -> int | None:
        """Frames that the audio encoder demands; `None` if it takes any number."""
        return 2 * int(self.network.config.audio_config.max_source_positions)

    def save(self, folder: Path) -> None:
        """Writes config, weights, tokenizer and feature extractor as transformers does, and how it is prompted."""
        super().save(folder)
        self.extractor.save_pretrained(folder)
