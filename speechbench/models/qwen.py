"""What Qwen's models that hear have in common: how they are asked, and how an answer ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from jinja2 import TemplateError

from speechbench.benchmarks.base import AUDIO_PLACEHOLDER
from speechbench.errors import SpeechbenchError
from speechbench.models.checkpoint import MEND, read_json
from speechbench.models.whisper_model import WhisperModel

_END = "<|im_end|>"
_LEGACY_TEMPLATE = "chat_template.json"  # of the processor; no tokenizer reads it


class QwenSpeechModel(WhisperModel):
    """A model of Qwen's, asked by its processor's chat template and with its checkpoint's Whisper features.

    Args:
        checkpoint: Hub name or folder.
        revision: Of the hub's repository.
        **options: As `PretrainedSpeechModel` takes them.

    Raises:
        SpeechbenchError: If the folder has no feature extractor, or no chat template that takes audio.
    """

    default_chat_template: ClassVar[str | None] = None
    """Of the model's processor, for checkpoints that come without a file of one."""

    def __init__(self, checkpoint: str, revision: str | None = None, **options: Any) -> None:
        super().__init__(checkpoint, revision, **options)
        self.longest = self.extractor.n_samples / self.rate
        if self.prompt_ids(AUDIO_PLACEHOLDER).count(self.audio_token) != 1:
            raise SpeechbenchError(
                f"{self.folder}: its chat template does not put the audio into the prompt as the token that its "
                f"config names, {self.audio_token}; {MEND}"
            )

    @property
    def end_token(self) -> int:
        """The end of a turn: what the tokenizer calls its end may be that of a text."""
        end = self.tokenizer.convert_tokens_to_ids(_END)
        if end is None or end == self.tokenizer.unk_token_id:
            raise SpeechbenchError(f"{self.folder}: its tokenizer lacks {_END}, which ends an answer; {MEND}")
        return int(end)

    def render(self, instruction: str) -> str:
        """The whole prompt as text; the audio is a piece of the message of its own, at its place in the instruction."""
        content: list[dict[str, str]] = []
        for number, text in enumerate(instruction.split(AUDIO_PLACEHOLDER)):
            content += [{"type": "audio", "audio": ""}] if number else []
            content += [{"type": "text", "text": text}] if text else []
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if self.system_prompt is not None:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": self.system_prompt}]})
        try:
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        except (TypeError, TemplateError) as error:  # one for text alone joins strings
            raise SpeechbenchError(f"{self.folder}: its chat template takes no audio: {error}; {MEND}") from error

    def _chat_template(self, folder: Path) -> str | None:
        """The processor's, found as transformers finds it: what a tokenizer's config holds is for text alone."""
        if (folder / "chat_template.jinja").is_file():
            return None  # which the tokenizer reads
        path = folder / _LEGACY_TEMPLATE
        if not path.is_file():
            return self.default_chat_template
        template = read_json(path).get("chat_template")
        if not isinstance(template, str):
            raise SpeechbenchError(f"{path}: its 'chat_template' is no text; {MEND}")
        return template
