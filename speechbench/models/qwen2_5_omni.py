"""The thinker of Qwen2.5-Omni behind the three operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from speechbench.models.qwen import QwenSpeechModel
from speechbench.models.whisper_features import unpadded


class Qwen25OmniThinker(QwenSpeechModel):
    """A Qwen2_5OmniThinkerForConditionalGeneration: what hears and writes, without what speaks.

    Of a whole checkpoint the thinker alone is read; a thinker is what is saved. The part that sees stays frozen. Audio
    beyond what the checkpoint's feature extractor takes, 300 s on the hub, is refused. With audio alone, the model's
    three-dimensional positions (arXiv 2503.20215, TMRoPE) are the plain ones three times.

    Args:
        checkpoint: Hub name or folder.
        revision: Of the hub's repository; pin it for anything that is to be reported.
        **options: As `PretrainedSpeechModel` takes them.

    Raises:
        MissingError: If the checkpoint is not there and the hub cannot be reached.
        SpeechbenchError: If the folder holds no Qwen2.5-Omni, not all of its thinker's weights, no feature extractor,
            or a chat template that takes no audio.
    """

    architecture = "Qwen2_5OmniThinkerForConditionalGeneration"
    model_types = ("qwen2_5_omni", "qwen2_5_omni_thinker")
    longest = 300.0
    default_system_prompt = (
        "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving auditory and "
        "visual inputs, as well as generating text and speech."
    )

    def __init__(
        self,
        checkpoint: str = "Qwen/Qwen2.5-Omni-3B",
        revision: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(checkpoint, revision, **options)

    @property
    def window(self) -> int | None:
        """It takes any number of frames."""
        return None

    @property
    def core(self) -> Any:
        """What holds the audio tower: in transformers 4 the network, whose `model` is the language model there."""
        return self.network if hasattr(self.network, "audio_tower") else self.network.model

    @property
    def language_model(self) -> PreTrainedModel:
        """The causal language model without its head."""
        model: PreTrainedModel = getattr(self.network.model, "language_model", self.network.model)
        return model

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """Whisper's encoder in windows, the linear layer that transformers counts to it, and Qwen2.5."""
        tower = self.core.audio_tower
        names = ("conv1", "conv2", "layers", "ln_post")
        return {
            "encoder": nn.ModuleDict({name: getattr(tower, name) for name in names}),
            "projector": tower.proj,
            "language_model": self.language_part,
        }

    def features(self, samples: torch.Tensor) -> torch.Tensor:
        """Log-mel features, shape [mel, frame]."""
        return unpadded(self.extractor, samples)

    def encode(self, features: torch.Tensor) -> torch.Tensor:
        """What the encoder hands to its last linear layer, 40 ms a frame."""
        tower = self.core.audio_tower
        given: list[torch.Tensor] = []

        def hear(_: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            given.append(inputs[0])
            return (inputs[0].to(tower.proj.weight.dtype),)  # which may be in another precision than the encoder

        frames = torch.tensor([features.shape[1]], device=features.device)
        tap = tower.proj.register_forward_pre_hook(hear)
        try:
            tower(features, feature_lens=frames, aftercnn_lens=(frames + 1) // 2)
        finally:
            tap.remove()
        return torch.cat(given)

    def encoded_shape(self, features: torch.Tensor) -> tuple[int, int]:
        """By the tower's own count: it cannot be run on what has no content."""
        tower = self.core.audio_tower
        _, frames = tower._get_feat_extract_output_lengths(features.shape[1])
        return frames, tower.config.d_model

    def project(self, encoded: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """An audio token of each frame."""
        projected: torch.Tensor = self.core.audio_tower.proj(torch.cat(list(encoded)))
        return list(torch.split(projected, [len(hidden) for hidden in encoded]))

    def _freeze_all_but(self, learning: Sequence[str]) -> None:
        """What audio does not reach learns nothing."""
        super()._freeze_all_but(learning)
        self.core.visual.requires_grad_(False)
        self.core.audio_tower.audio_bos_eos_token.requires_grad_(False)
