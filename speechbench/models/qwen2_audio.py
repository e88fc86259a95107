"""Qwen2-Audio behind the three operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import Qwen2AudioProcessor

from speechbench.models.qwen import QwenSpeechModel
from speechbench.models.whisper_features import unpadded

# Frames behind the last of an utterance that its last position hears, through two convolutions of three.
_BEHIND = 2


class Qwen2Audio(QwenSpeechModel):
    """A Qwen2AudioForConditionalGeneration with the features of its checkpoint's Whisper feature extractor.

    Audio of more than 30 s is refused. Padding is cut off behind the convolutions, where the model's own forward goes
    on with it and masks it: the same result, for a third of the work at 10 s.

    Args:
        checkpoint: Hub name or folder.
        revision: Of the hub's repository; pin it for anything that is to be reported.
        **options: As `PretrainedSpeechModel` takes them.

    Raises:
        MissingError: If the checkpoint is not there and the hub cannot be reached.
        SpeechbenchError: If the folder holds no Qwen2-Audio, not all of its weights, no feature extractor, or a chat
            template that takes no audio.
    """

    architecture = "Qwen2AudioForConditionalGeneration"
    model_types = ("qwen2_audio",)
    longest = 30.0
    default_system_prompt = "You are a helpful assistant."
    default_chat_template = Qwen2AudioProcessor.default_chat_template.fget(None)

    def __init__(
        self,
        checkpoint: str = "Qwen/Qwen2-Audio-7B-Instruct",
        revision: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(checkpoint, revision, **options)

    def features(self, samples: torch.Tensor) -> torch.Tensor:
        """Log-mel features and those of the 20 ms behind, shape [mel, frame + 2]."""
        return unpadded(self.extractor, samples, _BEHIND)

    def encode(self, features: torch.Tensor) -> torch.Tensor:
        """The encoder's output, 40 ms a frame."""
        encoder = self.core.audio_tower
        positions = (features.shape[1] - _BEHIND + 1) // 2
        window = nn.functional.pad(features, (0, self.extractor.nb_max_frames - features.shape[1]))
        cut = encoder.layers[0].register_forward_pre_hook(lambda _, given: (given[0][:, :positions], *given[1:]))
        try:
            hidden: torch.Tensor = encoder(window[None]).last_hidden_state
        finally:
            cut.remove()
        return hidden[0]

    def project(self, encoded: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """An audio token of each frame."""
        projected: torch.Tensor = self.core.multi_modal_projector(torch.cat(list(encoded)))
        return list(torch.split(projected, [len(hidden) for hidden in encoded]))

    def _freeze_all_but(self, learning: Sequence[str]) -> None:
        """The encoder's positions are sines, which transformers holds fixed."""
        super()._freeze_all_but(learning)
        self.core.audio_tower.embed_positions.requires_grad_(False)
