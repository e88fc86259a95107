"""Voxtral behind the three operations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

from speechbench.benchmarks.base import AUDIO_PLACEHOLDER
from speechbench.errors import SpeechbenchError
from speechbench.models.checkpoint import MEND
from speechbench.models.whisper_model import WhisperModel

_AUDIO = "[AUDIO]"


class Voxtral(WhisperModel):
    """A VoxtralForConditionalGeneration with the features of its checkpoint's Whisper feature extractor.

    Args:
        checkpoint: Hub name or folder.
        revision: Of the hub's repository; pin it for anything that is to be reported.
        **options: As `PretrainedSpeechModel` takes them.

    Raises:
        MissingError: If the checkpoint is not there and the hub cannot be reached.
        SpeechbenchError: If the folder holds no Voxtral, not all of its weights, or no feature extractor.
    """

    architecture = "VoxtralForConditionalGeneration"
    model_types = ("voxtral",)
    longest = 40 * 60.0  # what the model card promises for questions about audio

    def __init__(
        self,
        checkpoint: str = "mistralai/Voxtral-Mini-3B-2507",
        revision: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(checkpoint, revision, **options)
        if self.tokenizer.convert_tokens_to_ids(_AUDIO) != self.audio_token:
            raise SpeechbenchError(f"{self.folder}: tokenizer and config disagree on the id of {_AUDIO}; {MEND}")

    def features(self, samples: torch.Tensor) -> torch.Tensor:
        """Log-mel features of whole windows of 30 s, the last filled up with silence; shape [window, mel, frame].

        Made over the whole utterance and then cut, as VoxtralProcessor does: their floor lies below its loudest frame.
        """
        made = self.extractor(
            samples.numpy(),
            sampling_rate=self.rate,
            padding=True,
            truncation=False,
            pad_to_multiple_of=self.extractor.n_samples,
            return_tensors="pt",
        )
        features: torch.Tensor = made["input_features"][0]  # [mel, frame]
        return features.reshape(len(features), -1, self.extractor.nb_max_frames).transpose(0, 1)

    def encode(self, features: torch.Tensor) -> torch.Tensor:
        """The encoder's output for all windows in a row, silence included, as the model was trained to hear it."""
        hidden: torch.Tensor = self.core.audio_tower(features.contiguous()).last_hidden_state
        return hidden.flatten(0, 1)

    def project(self, encoded: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Frames stacked, four of the hub's checkpoints, to one audio token of 80 ms."""
        width = self.network.config.audio_config.intermediate_size
        stacked = [hidden.reshape(-1, width) for hidden in encoded]
        projected: torch.Tensor = self.core.multi_modal_projector(torch.cat(stacked))
        return list(torch.split(projected, [len(hidden) for hidden in stacked]))

    def render(self, instruction: str) -> str:
        """The whole prompt as text; the audio is a piece of the message of its own, without white space around it."""
        return super().render(re.sub(rf"\s*{re.escape(AUDIO_PLACEHOLDER)}\s*", f"[BEGIN_AUDIO]{_AUDIO}", instruction))
