"""Granite Speech (3.x) behind the three operations."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoTokenizer, GraniteSpeechForConditionalGeneration, PreTrainedModel

from speechbench.benchmarks.base import AUDIO_PLACEHOLDER, Example
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.hub import resolve
from speechbench.models.base import Prompts, SpeechModel
from speechbench.models.encoder_cache import EncoderCache, encoder_cache
from speechbench.models.features import RATE, log_mel

PARTS = ("encoder", "projector", "language_model")
_DTYPES = ("float32", "bfloat16", "float16")
# Fixed: without a system prompt Granite's chat template inserts today's date.
SYSTEM_PROMPT = "Knowledge Cutoff Date: April 2024.\nYou are Granite, developed by IBM. You are a helpful AI assistant"
PROMPTING = "speechbench.json"
"""File of a checkpoint that says how the model is prompted; the hub's checkpoints have none and get `SYSTEM_PROMPT`."""


class GraniteSpeech(SpeechModel):
    """A GraniteSpeechForConditionalGeneration with its own feature extraction.

    Args:
        checkpoint: Hub name or folder.
        revision: Of the hub's repository; pin it for anything that is to be reported.
        train: Which parts learn, joined by "+"; the others are frozen and their output is cached.
        dtype: Name of the torch dtype that the weights are held in.

    Raises:
        MissingError: If the checkpoint is not there and the hub cannot be reached.
        SpeechbenchError: If the folder holds no Granite Speech model, or not all of its weights.
    """

    def __init__(
        self,
        checkpoint: str = "ibm-granite/granite-speech-3.3-2b",
        revision: str | None = None,
        train: str = "projector+language_model",
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        parts = train.split("+")
        if not set(parts) <= set(PARTS):
            raise UsageError(f"train={train!r}: the parts of a model are {', '.join(PARTS)}, joined by '+'")
        if dtype not in _DTYPES:
            raise UsageError(f"dtype={dtype!r}: choose one of {', '.join(_DTYPES)}")
        folder = resolve(checkpoint, revision)
        self.name = f"granite-speech(checkpoint={checkpoint})"
        prompting = folder / PROMPTING
        self.system_prompt: str | None = (
            json.loads(prompting.read_text())["system_prompt"] if prompting.is_file() else SYSTEM_PROMPT
        )
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.granite = _load(folder, getattr(torch, dtype))
        for module in self.granite.language_model.modules():
            if hasattr(module, "attention_dropout"):  # policy and reference must see the same network
                module.attention_dropout = 0.0
        for part in PARTS:
            getattr(self.granite, part).requires_grad_(part in parts)
        self.fingerprint = _fingerprint(folder, self._prompt(f"{AUDIO_PLACEHOLDER} ?"))
        self._encoded = encoder_cache(self.fingerprint)
        audio_id = self.tokenizer.convert_tokens_to_ids(AUDIO_PLACEHOLDER)
        if audio_id != self.granite.config.audio_token_id:
            raise SpeechbenchError(f"{folder}: tokenizer and config disagree on the id of {AUDIO_PLACEHOLDER}")
        allowed = torch.zeros(self.language_model.config.vocab_size, dtype=torch.bool)
        allowed[: len(self.tokenizer)] = True
        allowed[self.tokenizer.all_special_ids] = False
        added = [i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special]
        allowed[added] = False
        allowed[self.end_token] = True
        self.register_buffer("_suppressed", ~allowed, persistent=False)

    @property
    def language_model(self) -> PreTrainedModel:
        """The Granite language model."""
        model: PreTrainedModel = self.granite.language_model
        return model

    @property
    def end_token(self) -> int:
        """Id of <|end_of_text|>."""
        return int(self.tokenizer.eos_token_id)

    @property
    def suppressed(self) -> torch.Tensor:
        """All special tokens but the end, and ids beyond the tokenizer."""
        suppressed: torch.Tensor = self.get_buffer("_suppressed")
        return suppressed

    @property
    def encoder_is_frozen(self) -> bool:
        """Whether no weight of the audio encoder learns."""
        return not any(p.requires_grad for p in self.granite.encoder.parameters())

    def train(self, mode: bool = True) -> GraniteSpeech:
        """Train mode for the language model alone: BatchNorm and dropout elsewhere would move the log-probabilities."""
        super().train(mode)
        self.granite.encoder.eval()
        self.granite.projector.eval()
        return self

    def _prompt(self, instruction: str) -> str:
        messages = [{"role": "user", "content": instruction}]
        if self.system_prompt is not None:
            messages.insert(0, {"role": "system", "content": self.system_prompt})
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def _encode(self, example: Example) -> torch.Tensor:
        """The encoder's output for one example's audio, shape [frame, hidden].

        One utterance at a time: the encoder takes no mask, so padding would change its output.
        """
        assert example.audio is not None
        if self.encoder_is_frozen and example.audio.path in self._encoded:
            return self._encoded[example.audio.path]
        device, dtype = self.granite.device, self.granite.dtype
        features = log_mel(torch.from_numpy(example.audio.samples(RATE)))[None].to(device, dtype)
        if not self.encoder_is_frozen:
            return self.granite.encoder(features)[0]  # type: ignore[no-any-return]
        with torch.no_grad():
            hidden: torch.Tensor = self.granite.encoder(features)[0]
        self._encoded.keep(example.audio.path, hidden)
        return hidden

    def _project(self, encoded: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Embeddings of each utterance, shape [audio token, hidden]; windows of all utterances go in together."""
        window = self.granite.config.window_size
        blocks = [nn.functional.pad(x, (0, 0, 0, -len(x) % window)).view(-1, window, x.shape[-1]) for x in encoded]
        projected = self.granite.projector(torch.cat(blocks))  # [window, query, hidden]
        return [x.flatten(0, 1) for x in projected.split([len(b) for b in blocks])]

    def embed(self, examples: Sequence[Example]) -> Prompts:
        """Instruction embeddings with the audio's merged in at the placeholder, left out where there is none."""
        return self.embed_encoded(examples, [None if e.audio is None else self._encode(e) for e in examples])

    def embed_encoded(self, examples: Sequence[Example], encoded: Sequence[torch.Tensor | None]) -> Prompts:
        """`embed` with the encoder's outputs given, each of shape [frame, hidden], or `None` for no audio."""
        heard = [hidden for hidden in encoded if hidden is not None]
        audio = iter(self._project(heard) if heard else [])
        rows = []
        for example, hidden in zip(examples, encoded, strict=True):
            ids = self.tokenizer.encode(self._prompt(example.instruction), add_special_tokens=False)
            places = [i for i, token in enumerate(ids) if token == self.granite.config.audio_token_id]
            if len(places) != 1 and (hidden is not None or places):
                raise SpeechbenchError(
                    f"example {example.id!r}: its instruction must hold {AUDIO_PLACEHOLDER} once, "
                    f"not {len(places)} times"
                )
            place = places[0] if places else len(ids)
            tokens = torch.tensor(ids, device=self.granite.device)
            table = self.language_model.get_input_embeddings()
            before, after = table(tokens[:place]), table(tokens[place + 1 :])
            rows.append(torch.cat([before, *([] if hidden is None else [next(audio)]), after]))
        width = max(len(row) for row in rows)
        embeddings = torch.stack([nn.functional.pad(row, (0, 0, width - len(row), 0)) for row in rows])
        lengths = torch.tensor([len(row) for row in rows], device=embeddings.device)
        mask = torch.arange(width, device=embeddings.device)[None] >= (width - lengths)[:, None]
        return Prompts(embeddings, mask, tuple(e.id for e in examples))

    def save(self, folder: Path) -> None:
        """Writes config, weights and tokenizer as transformers does, and how the model is prompted."""
        self.granite.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / PROMPTING).write_text(json.dumps({"system_prompt": self.system_prompt}) + "\n")

    def load_weights(self, folder: Path) -> None:
        """Takes over the weights of a saved folder, strictly."""
        self.granite.load_state_dict(_load(folder, self.granite.dtype).state_dict())

    def frozen_copy(self) -> GraniteSpeech:
        """A copy without gradients; it shares what is frozen here."""
        shared: dict[int, Any] = {id(self.tokenizer): self.tokenizer, id(self._encoded): self._encoded}
        shared.update({id(p): p for p in self.parameters() if not p.requires_grad})
        twin = copy.deepcopy(self, shared).requires_grad_(False)
        twin._encoded = EncoderCache()  # its encoder is frozen from here on, ours may not be
        if self.encoder_is_frozen:
            twin._encoded = self._encoded
        return twin


def _load(folder: Path, dtype: torch.dtype) -> GraniteSpeechForConditionalGeneration:
    try:
        model, report = GraniteSpeechForConditionalGeneration.from_pretrained(
            folder, dtype=dtype, output_loading_info=True, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise SpeechbenchError(f"{folder} holds no Granite Speech model: {str(error).splitlines()[0]}") from error
    lacking = [*report["missing_keys"], *report["mismatched_keys"]]
    if lacking:
        raise SpeechbenchError(f"{folder} lacks weights of the model: {', '.join(map(str, lacking[:3]))}")
    return model


def _fingerprint(folder: Path, rendered_prompt: str) -> str:
    """Hash of everything that the model's outputs depend on: weights, tokenizer, rendered prompt."""
    digest = hashlib.sha256(rendered_prompt.encode())
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("tokenizer.json")])
    if not files:
        raise MissingError(f"{folder} holds no *.safetensors weights")
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
