"""Granite Speech Plus behind the three operations; transformers knows it from version 5 on."""

from __future__ import annotations

from typing import Any

from speechbench.models.granite_speech import GraniteSpeech


class GraniteSpeechPlus(GraniteSpeech):
    """A GraniteSpeechPlusForConditionalGeneration: its projector hears inner layers of the conformer too.

    Args:
        checkpoint: Hub name or folder.
        revision: Of the hub's repository; pin it for anything that is to be reported.
        **options: As `PretrainedSpeechModel` takes them.

    Raises:
        MissingError: If the checkpoint is not there and the hub cannot be reached, or transformers is older than 5.
        SpeechbenchError: If the folder holds no Granite Speech Plus model, or not all of its weights.
    """

    architecture = "GraniteSpeechPlusForConditionalGeneration"
    model_types = ("granite_speech_plus",)

    def __init__(
        self,
        checkpoint: str = "ibm-granite/granite-speech-4.1-2b-plus",
        revision: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(checkpoint, revision, **options)
