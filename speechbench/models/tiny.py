"""The embedded model: Granite Speech's architecture in small, shipped with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from speechbench.models.granite_speech import GraniteSpeech

FOLDER = Path(__file__).parent / "tiny_weights"


class Tiny(GraniteSpeech):
    """A base model that knows both mini tasks imperfectly, so that training can move it.

    Args:
        **options: As `PretrainedSpeechModel` takes them.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(str(FOLDER), **options)
        self.name = "tiny"
