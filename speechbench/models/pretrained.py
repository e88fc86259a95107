"""Speech-aware models of transformers: asked, encoded, saved; each architecture adds what it does its own way."""

from __future__ import annotations

import copy
import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel

from speechbench.benchmarks import decoding
from speechbench.benchmarks.base import AUDIO_PLACEHOLDER, Example
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.hub import resolve
from speechbench.models.base import Prompts, SpeechModel, special_tokens
from speechbench.models.checkpoint import fingerprint_of
from speechbench.models.encoder_cache import EncoderCache, encoder_cache
from speechbench.models.reading import PROMPTING, load_network, load_tokenizer, system_prompt

PARTS = ("encoder", "projector", "language_model")
_DTYPES = ("float32", "bfloat16", "float16")

M = TypeVar("M", bound="PretrainedSpeechModel")


class PretrainedSpeechModel(SpeechModel):
    """A model of transformers that hears: an audio encoder, a projector and a causal language model.

    A subclass names the class of transformers and gives `parts`, `features`, `encode` and `project`; where its chat
    template or its head differ from the usual, `render` and `head` too.

    Args:
        checkpoint: Hub name or folder.
        revision: Of the hub's repository; pin it for anything that is to be reported.
        train: Which parts learn, joined by "+"; the others are frozen and the output of a frozen encoder is kept.
        dtype: Name of the torch dtype that the weights are held in.

    Attributes:
        network: The model of transformers.
        system_prompt: Begins every conversation; `None` for none.

    Raises:
        MissingError: If the checkpoint is not there and the hub cannot be reached, or transformers is too old for it.
        SpeechbenchError: If the folder holds no such model, or not all of its weights.
        UsageError: If a value makes no sense.
    """

    architecture: ClassVar[str]
    """Name of the class of transformers."""
    model_types: ClassVar[tuple[str, ...]]
    """What config.json may say that it is."""
    rate: ClassVar[int] = 16_000
    """Of the samples that `features` takes, in Hz."""
    longest: ClassVar[float | None] = None
    """Seconds of audio that the encoder takes; `None` for no limit but memory's."""
    default_system_prompt: ClassVar[str | None] = None
    """For checkpoints that do not say how they are prompted."""

    network: PreTrainedModel

    def __init__(
        self,
        checkpoint: str,
        revision: str | None = None,
        train: str = "projector+language_model",
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        learning = train.split("+")
        if not set(learning) <= set(PARTS):
            raise UsageError(f"train={train!r}: the parts of a model are {', '.join(PARTS)}, joined by '+'")
        if dtype not in _DTYPES:
            raise UsageError(f"dtype={dtype!r}: choose one of {', '.join(_DTYPES)}")
        folder = resolve(checkpoint, revision)
        self.name = f"{self.model_types[0].replace('_', '-')}(checkpoint={checkpoint})"
        self.folder = folder
        self.network = self._load(folder, getattr(torch, dtype))
        self.tokenizer = load_tokenizer(folder)
        self.system_prompt = system_prompt(folder, self.default_system_prompt)
        self._no_dropout()
        for name, part in self.parts.items():
            part.requires_grad_(name in learning)
        self.fingerprint = fingerprint_of(folder, self.render(f"{AUDIO_PLACEHOLDER} ?"))
        self._encoded = encoder_cache(f"{self.fingerprint} {dtype}")
        suppressed = special_tokens(self.tokenizer, self.language_model.config.vocab_size, self.end_token)
        self.register_buffer("_suppressed", suppressed, persistent=False)

    @property
    @abstractmethod
    def parts(self) -> Mapping[str, nn.Module]:
        """The modules called "encoder", "projector" and "language_model"."""

    @abstractmethod
    def features(self, samples: torch.Tensor) -> torch.Tensor:
        """What the encoder is given for one utterance.

        Args:
            samples: Mono at `rate`, in [-1, 1], float32, shape [sample].
        """

    @abstractmethod
    def encode(self, features: torch.Tensor) -> torch.Tensor:
        """The encoder's output for the features of one utterance, shape [frame, hidden], without its padding."""

    @abstractmethod
    def project(self, encoded: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Embeddings of each utterance from the encoder's outputs, shape [audio token, hidden]."""

    @property
    def language_model(self) -> PreTrainedModel:
        """The causal language model."""
        model: PreTrainedModel = self.network.language_model
        return model

    @property
    def audio_token(self) -> int:
        """Id of the token that stands for the audio in a rendered prompt."""
        return int(self.network.config.audio_token_id)

    @property
    def suppressed(self) -> torch.Tensor:
        """All special tokens but the end, and ids beyond the tokenizer."""
        suppressed: torch.Tensor = self.get_buffer("_suppressed")
        return suppressed

    @property
    def encoder_is_frozen(self) -> bool:
        """Whether no weight of the audio encoder learns."""
        return not any(p.requires_grad for p in self.parts["encoder"].parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.suppressed.device

    def render(self, instruction: str) -> str:
        """The whole prompt as text, with the instruction's placeholder of the audio as the tokenizer knows it."""
        messages = [{"role": "user", "content": instruction}]
        if self.system_prompt is not None:
            messages.insert(0, {"role": "system", "content": self.system_prompt})
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def prompt_ids(self, instruction: str) -> list[int]:
        """Tokens of the whole prompt, `audio_token` once where the audio belongs, or nowhere."""
        ids: list[int] = self.tokenizer.encode(self.render(instruction), add_special_tokens=False)
        return ids

    def provenance(self) -> Mapping[str, Any]:
        """Checkpoint, revision (a commit of the hub's), dtype, device, attention, and a hash of a rendered prompt."""
        is_snapshot = self.folder.parent.name == "snapshots"
        return {
            "checkpoint": self.folder.name if not is_snapshot else self.folder.parent.parent.name,
            "revision": self.folder.name if is_snapshot else None,
            "prompt_sha256": hashlib.sha256(self.render(f"{AUDIO_PLACEHOLDER} ?").encode()).hexdigest(),
            "dtype": str(self.network.dtype).removeprefix("torch."),
            "device": str(self.device),
            "attention": self.language_model.config._attn_implementation,
        }

    def train(self: M, mode: bool = True) -> M:
        """Train mode for the language model alone: BatchNorm and dropout elsewhere would move the log-probabilities."""
        super().train(mode)
        self.parts["encoder"].eval()
        self.parts["projector"].eval()
        return self

    def _no_dropout(self) -> None:
        """Policy and reference must see the same network."""
        for module in self.language_model.modules():
            if hasattr(module, "attention_dropout"):
                module.attention_dropout = 0.0
            if isinstance(module, nn.Dropout):
                module.p = 0.0

    def _encode(self, example: Example) -> torch.Tensor:
        """The encoder's output for one example's audio, shape [frame, hidden].

        One utterance at a time: padding would change the output of an encoder that takes no mask.
        """
        assert example.audio is not None
        if self._is_encoded(example):
            return self._encoded[example.audio]
        try:
            samples = decoding.samples(example.audio, self.rate)
        except SpeechbenchError as error:
            raise SpeechbenchError(f"example {example.id!r}: {error}") from error
        if self.longest is not None and len(samples) > self.longest * self.rate:
            raise SpeechbenchError(
                f"example {example.id!r}: its audio {example.audio.path} lasts {len(samples) / self.rate:.1f} s, but "
                f"{self.name} takes {self.longest:g} s at most: leave the example out, or take another model"
            )
        features = self.features(torch.from_numpy(samples)).to(self.device, self.network.dtype)
        if not self.encoder_is_frozen:
            return self.encode(features)
        with torch.no_grad():
            hidden = self.encode(features)
        self._encoded.keep(example.audio, hidden)
        return hidden

    def _is_encoded(self, example: Example) -> bool:
        return self.encoder_is_frozen and example.audio in self._encoded

    def expect(self, examples: Sequence[Example]) -> None:
        """Begins to decode what `embed` will be given next, but for audio whose encoder output is kept."""
        decoding.begin([e.audio for e in examples if e.audio is not None and not self._is_encoded(e)], self.rate)

    def embed(self, examples: Sequence[Example]) -> Prompts:
        """Instruction embeddings with the audio's merged in at the placeholder, left out where there is none."""
        encoded: dict[Any, torch.Tensor] = {}
        for example in examples:
            if example.audio is not None and example.audio not in encoded:
                encoded[example.audio] = self._encode(example)
        return self.embed_encoded(examples, [None if e.audio is None else encoded[e.audio] for e in examples])

    def embed_encoded(self, examples: Sequence[Example], encoded: Sequence[torch.Tensor | None]) -> Prompts:
        """`embed` with the encoder's outputs given, each of shape [frame, hidden], or `None` for no audio."""
        heard = [hidden for hidden in encoded if hidden is not None]
        audio = iter(self.project(heard) if heard else [])
        table = self.language_model.get_input_embeddings()
        rows = []
        for example, hidden in zip(examples, encoded, strict=True):
            ids = self.prompt_ids(example.instruction)
            places = [i for i, token in enumerate(ids) if token == self.audio_token]
            if len(places) != 1 and (hidden is not None or places):
                raise SpeechbenchError(
                    f"example {example.id!r}: its instruction must hold {AUDIO_PLACEHOLDER} once, "
                    f"not {len(places)} times"
                )
            place = places[0] if places else len(ids)
            tokens = torch.tensor(ids, device=self.device)
            before, after = table(tokens[:place]), table(tokens[place + 1 :])
            rows.append(torch.cat([before, *([] if hidden is None else [next(audio).to(before.dtype)]), after]))
        self._check_lengths(rows, examples)
        return Prompts.of(rows, examples)

    def _check_lengths(self, rows: Sequence[torch.Tensor], examples: Sequence[Example]) -> None:
        limit = getattr(self.language_model.config, "max_position_embeddings", None)
        for row, example in zip(rows, examples, strict=True):
            if limit is not None and len(row) >= limit:
                raise SpeechbenchError(
                    f"example {example.id!r}: its prompt takes {len(row)} positions of the {limit} of "
                    f"{self.name}: leave the example out, or shorten its instruction or its audio"
                )

    def save(self, folder: Path) -> None:
        """Writes config, weights and tokenizer as transformers does, and how the model is prompted."""
        self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / PROMPTING).write_text(json.dumps({"system_prompt": self.system_prompt}) + "\n")

    def load_weights(self, folder: Path) -> None:
        """Takes over the weights of a saved folder, strictly."""
        saved = self._load(folder, self.network.dtype).state_dict()
        ours = self.network.state_dict()
        encoder = {id(tensor) for tensor in self.parts["encoder"].state_dict(keep_vars=True).values()}
        heard = [name for name, tensor in self.network.state_dict(keep_vars=True).items() if id(tensor) in encoder]
        if not all(torch.equal(ours[name].cpu(), saved[name]) for name in heard):
            self._encoded = EncoderCache()  # what the other encoder heard is no longer what this one hears
        self.network.load_state_dict(saved)

    def frozen_copy(self: M) -> M:
        """A copy without gradients; it shares what is frozen here."""
        shared: dict[int, Any] = {id(self.tokenizer): self.tokenizer, id(self._encoded): self._encoded}
        shared.update({id(p): p for p in self.parameters() if not p.requires_grad})
        twin = copy.deepcopy(self, shared).requires_grad_(False)
        twin._encoded = EncoderCache()  # its encoder is frozen from here on, ours may not be
        if self.encoder_is_frozen:
            twin._encoded = self._encoded
        return twin

    def _load(self, folder: Path, dtype: torch.dtype) -> PreTrainedModel:
        return load_network(folder, self.architecture, self.model_types, dtype)
