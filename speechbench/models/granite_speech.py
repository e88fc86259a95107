"""Granite Speech (3.x) behind the three operations."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoTokenizer,
    GraniteSpeechForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from speechbench.benchmarks import decoding
from speechbench.benchmarks.base import AUDIO_PLACEHOLDER, Example
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.hub import resolve
from speechbench.models.base import Prompts, SpeechModel, special_tokens
from speechbench.models.checkpoint import MEND, check_checkpoint, check_weights, read_json
from speechbench.models.encoder_cache import EncoderCache, encoder_cache
from speechbench.models.features import RATE, log_mel

PARTS = ("encoder", "projector", "language_model")
# Files of a checkpoint that decide its outputs. Features, decoding and the rest of the prompting are our own.
_DECISIVE = (
    "config.json", "adapter_config.json", "*.safetensors", "*.safetensors.index.json", "chat_template*",
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges*",
)  # fmt: skip
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
        self.granite = _load(folder, getattr(torch, dtype))
        self.tokenizer = _load_tokenizer(folder)
        self.system_prompt = _system_prompt(folder)
        for module in self.granite.language_model.modules():
            if hasattr(module, "attention_dropout"):  # policy and reference must see the same network
                module.attention_dropout = 0.0
        for part in PARTS:
            getattr(self.granite, part).requires_grad_(part in parts)
        self.fingerprint = _fingerprint(folder, self._prompt(f"{AUDIO_PLACEHOLDER} ?"))
        self._encoded = encoder_cache(f"{self.fingerprint} {dtype}")
        audio_id = self.tokenizer.convert_tokens_to_ids(AUDIO_PLACEHOLDER)
        if audio_id != self.granite.config.audio_token_id:
            raise SpeechbenchError(f"{folder}: tokenizer and config disagree on the id of {AUDIO_PLACEHOLDER}; {MEND}")
        suppressed = special_tokens(self.tokenizer, self.language_model.config.vocab_size, self.end_token)
        self.register_buffer("_suppressed", suppressed, persistent=False)

    @property
    def language_model(self) -> PreTrainedModel:
        """The Granite language model."""
        model: PreTrainedModel = self.granite.language_model
        return model

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
        if self._is_encoded(example):
            return self._encoded[example.audio]
        device, dtype = self.granite.device, self.granite.dtype
        try:
            samples = decoding.samples(example.audio, RATE)
        except SpeechbenchError as error:
            raise SpeechbenchError(f"example {example.id!r}: {error}") from error
        features = log_mel(torch.from_numpy(samples))[None].to(device, dtype)
        if not self.encoder_is_frozen:
            return self.granite.encoder(features)[0]  # type: ignore[no-any-return]
        with torch.no_grad():
            hidden: torch.Tensor = self.granite.encoder(features)[0]
        self._encoded.keep(example.audio, hidden)
        return hidden

    def _project(self, encoded: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Embeddings of each utterance, shape [audio token, hidden]; windows of all utterances go in together."""
        window = self.granite.config.window_size
        blocks = [nn.functional.pad(x, (0, 0, 0, -len(x) % window)).view(-1, window, x.shape[-1]) for x in encoded]
        projected = self.granite.projector(torch.cat(blocks))  # [window, query, hidden]
        return [x.flatten(0, 1) for x in projected.split([len(b) for b in blocks])]

    def _is_encoded(self, example: Example) -> bool:
        return self.encoder_is_frozen and example.audio in self._encoded

    def expect(self, examples: Sequence[Example]) -> None:
        """Begins to decode what `embed` will be given next, but for audio whose encoder output is kept."""
        decoding.begin([e.audio for e in examples if e.audio is not None and not self._is_encoded(e)], RATE)

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
        return Prompts.of(rows, examples)

    def save(self, folder: Path) -> None:
        """Writes config, weights and tokenizer as transformers does, and how the model is prompted."""
        self.granite.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / PROMPTING).write_text(json.dumps({"system_prompt": self.system_prompt}) + "\n")

    def load_weights(self, folder: Path) -> None:
        """Takes over the weights of a saved folder, strictly."""
        saved = _load(folder, self.granite.dtype)
        ours = self.granite.encoder.state_dict()
        same = all(torch.equal(ours[name].cpu(), tensor) for name, tensor in saved.encoder.state_dict().items())
        if not same:  # what the other encoder heard is no longer what this one hears
            self._encoded = EncoderCache()
        self.granite.load_state_dict(saved.state_dict())

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
    check_checkpoint(folder, "granite_speech")
    try:
        model, report = GraniteSpeechForConditionalGeneration.from_pretrained(
            folder,
            dtype=dtype,
            output_loading_info=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # they stand in the report, and are refused below
        )
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0].rstrip(".")
        raise SpeechbenchError(f"{folder} holds no Granite Speech model: {said}; {MEND}") from error
    check_weights(folder, report)
    return model


def _system_prompt(folder: Path) -> str | None:
    path = folder / PROMPTING
    content = read_json(path) if path.is_file() else {"system_prompt": SYSTEM_PROMPT}
    prompt = content.get("system_prompt", ...)
    if not isinstance(prompt, (str, NoneType)):
        raise SpeechbenchError(f"{path}: its 'system_prompt' must be a text, or null for none; {MEND}")
    return prompt


def _load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # which one depends on the file that is missing or broken: there are half a dozen
        raise SpeechbenchError(
            f"{folder} lacks its tokenizer, or it is broken ({type(error).__name__}); {MEND}"
        ) from error
    if tokenizer.chat_template is None:
        raise SpeechbenchError(f"{folder}: its tokenizer has no chat template, by which the model is asked; {MEND}")
    return tokenizer


def _fingerprint(folder: Path, rendered_prompt: str) -> str:
    """Hash of everything that the model's outputs depend on: config, weights, tokenizer, rendered prompt."""
    digest = hashlib.sha256(rendered_prompt.encode())
    for file in sorted({file for pattern in _DECISIVE for file in folder.glob(pattern) if file.is_file()}):
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
