"""Granite Speech (3.x) behind the three operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from speechbench.benchmarks.base import AUDIO_PLACEHOLDER
from speechbench.errors import SpeechbenchError
from speechbench.models.checkpoint import MEND
from speechbench.models.features import log_mel
from speechbench.models.pretrained import PretrainedSpeechModel

# Fixed: without a system prompt Granite's chat template inserts today's date.
SYSTEM_PROMPT = "Knowledge Cutoff Date: April 2024.\nYou are Granite, developed by IBM. You are a helpful AI assistant"


class GraniteSpeech(PretrainedSpeechModel):
    """A GraniteSpeechForConditionalGeneration with its own feature extraction.

    Args:
        checkpoint: Hub name or folder.
        revision: Of the hub's repository; pin it for anything that is to be reported.
        **options: As `PretrainedSpeechModel` takes them.

    Raises:
        MissingError: If the checkpoint is not there and the hub cannot be reached.
        SpeechbenchError: If the folder holds no Granite Speech model, or not all of its weights.
    """

    architecture = "GraniteSpeechForConditionalGeneration"
    model_types = ("granite_speech",)
    ears = ("encoder", "projector")
    default_system_prompt = SYSTEM_PROMPT

    def __init__(
        self,
        checkpoint: str = "ibm-granite/granite-speech-3.3-2b",
        revision: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(checkpoint, revision, **options)
        if self.tokenizer.convert_tokens_to_ids(AUDIO_PLACEHOLDER) != self.audio_token:
            raise SpeechbenchError(
                f"{self.folder}: tokenizer and config disagree on the id of {AUDIO_PLACEHOLDER}; {MEND}"
            )

    def features(self, samples: torch.Tensor) -> torch.Tensor:
        """Stacked log-mel features, shape [frame, 160]."""
        return log_mel(samples)

    def encode(self, features: torch.Tensor) -> torch.Tensor:
        """The conformer's output; it takes no mask, so utterances go in alone."""
        hidden: torch.Tensor = self.core.encoder(features[None])
        return (hidden if isinstance(hidden, torch.Tensor) else hidden.last_hidden_state)[0]

    def project(self, encoded: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Windows of all utterances go through the Q-Former together."""
        window = self.network.config.window_size
        blocks = [nn.functional.pad(x, (0, 0, 0, -len(x) % window)).view(-1, window, x.shape[-1]) for x in encoded]
        projected = self.core.projector(torch.cat(blocks))  # [window, query, hidden]
        return [x.flatten(0, 1) for x in projected.split([len(b) for b in blocks])]
