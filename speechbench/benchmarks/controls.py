"""What the base model is given instead of speech, to see what it owes to hearing.

`no-audio` puts silence in the place of the speech, `question-only` puts nothing there, and `gold-transcript`
the text that was spoken. The first two must not come near the base; the third is what a perfect recogniser
in front of the same language model would reach.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from speechbench.benchmarks.audio import Audio, Examined
from speechbench.benchmarks.base import AUDIO_PLACEHOLDER, Example
from speechbench.run_schema import INPUT_CONTROLS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Silence(Audio):
    """Silence as long as the speech, and not equal to it.

    Attributes:
        speech: Any recording, wherever its bytes are; all but the samples is as it says.
    """

    path: Path = field(init=False, compare=False, repr=False)
    sha256: str | None = field(init=False, compare=False, repr=False)
    speech: Audio

    def __post_init__(self) -> None:
        """Takes over what tells where the speech is."""
        object.__setattr__(self, "path", self.speech.path)
        object.__setattr__(self, "sha256", self.speech.sha256)

    def samples(self, rate: int) -> npt.NDArray[np.float32]:
        """Zeros, as many as the speech has samples at this rate.

        Raises:
            SpeechbenchError: If the speech cannot be decoded.
        """
        import numpy as np

        return np.zeros_like(self.speech.samples(rate))

    def examine(self) -> Examined:
        """That of the speech."""
        return self.speech.examine()

    def content(self) -> bytes:
        """That of the speech.

        Raises:
            SpeechbenchError: If it cannot be read.
        """
        return self.speech.content()

    def stamp(self) -> tuple[int, int]:
        """That of the speech.

        Raises:
            OSError: If it is not there.
        """
        return self.speech.stamp()

    def __str__(self) -> str:
        return str(self.speech)


def no_audio(example: Example) -> Example:
    """Silence where the speech was."""
    return dataclasses.replace(example, audio=None if example.audio is None else Silence(example.audio))


def question_only(example: Example) -> Example:
    """The instruction alone."""
    return dataclasses.replace(example, audio=None)


def gold_transcript(example: Example) -> Example | None:
    """The transcript in the audio's place; `None` where there is no transcript."""
    if example.source is None:
        return None
    instruction = example.instruction.replace(AUDIO_PLACEHOLDER, example.source)
    return dataclasses.replace(example, audio=None, instruction=instruction)


INPUTS: Mapping[str, Callable[[Example], Example | None]] = dict(
    zip(INPUT_CONTROLS, (no_audio, question_only, gold_transcript), strict=True)
)
"""Controls of the input by name, in the order of their rows."""


def controlled(name: str, examples: Sequence[Example]) -> list[Example] | None:
    """The examples under a control of `INPUTS`; `None` if some example lacks what the control needs."""
    changed = [INPUTS[name](example) for example in examples]
    whole = [example for example in changed if example is not None]
    return whole if len(whole) == len(changed) else None
