"""What the base model is given instead of speech, to see what it owes to hearing.

`no-audio` puts silence in the place of the speech, `question-only` puts nothing there, and `gold-transcript`
the text that was spoken. The first two must not come near the base; the third is what a perfect recogniser
in front of the same language model would reach.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import AUDIO_PLACEHOLDER, Example

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Silence(Audio):
    """Silence as long as the file's speech."""

    def samples(self, rate: int) -> npt.NDArray[np.float32]:
        """Zeros, as many as the file has samples at this rate."""
        import numpy as np

        return np.zeros_like(super().samples(rate))


def no_audio(example: Example) -> Example:
    """Silence where the speech was."""
    return dataclasses.replace(example, audio=None if example.audio is None else Silence(example.audio.path))


def question_only(example: Example) -> Example:
    """The instruction alone."""
    return dataclasses.replace(example, audio=None)


def gold_transcript(example: Example) -> Example | None:
    """The transcript in the audio's place; `None` where there is no transcript."""
    if example.source is None:
        return None
    instruction = example.instruction.replace(AUDIO_PLACEHOLDER, example.source)
    return dataclasses.replace(example, audio=None, instruction=instruction)


INPUTS: Mapping[str, Callable[[Example], Example | None]] = {
    "no-audio": no_audio,
    "question-only": question_only,
    "gold-transcript": gold_transcript,
}
"""Controls of the input by name, in the order of their rows."""


def controlled(name: str, examples: Sequence[Example]) -> list[Example] | None:
    """The examples under a control of `INPUTS`; `None` if some example lacks what the control needs."""
    changed = [INPUTS[name](example) for example in examples]
    whole = [example for example in changed if example is not None]
    return whole if len(whole) == len(changed) else None
