"""How examples become embeddings: a prompt rendered and tokenised, its audio encoded and put in place."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel

from speechbench.benchmarks import decoding
from speechbench.benchmarks.base import AUDIO_PLACEHOLDER, Example
from speechbench.errors import SpeechbenchError
from speechbench.models.base import Completions, Prompts, Sampling, SpeechModel
from speechbench.models.encoder_cache import EncoderCache

M = TypeVar("M", bound="HearingModel")


class HearingModel(SpeechModel):
    """`embed` of a network of transformers that has an audio encoder, a projector and a causal language model.

    Attributes:
        network: The model of transformers.
        system_prompt: Begins every conversation; `None` for none.
    """

    rate: ClassVar[int] = 16_000
    """Of the samples that `features` takes, in Hz."""
    ears: ClassVar[tuple[str, str]] = ("audio_tower", "multi_modal_projector")
    """What transformers calls encoder and projector."""
    longest: float | None = None
    """Seconds of audio that the encoder takes; `None` for no limit but memory's."""

    network: PreTrainedModel
    system_prompt: str | None
    _encoded: EncoderCache

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """The modules called "encoder", "projector" and "language_model"."""
        encoder, projector = (getattr(self.core, name) for name in self.ears)
        return {"encoder": encoder, "projector": projector, "language_model": self.language_part}

    @abstractmethod
    def features(self, samples: torch.Tensor) -> torch.Tensor:
        """What the encoder is given for one utterance.

        Args:
            samples: Mono at `rate`, in [-1, 1], float32, shape [sample].
        """

    @abstractmethod
    def encode(self, features: torch.Tensor) -> torch.Tensor:
        """The encoder's output for the features of one utterance, shape [frame, hidden], without its padding."""

    def encoded_shape(self, features: torch.Tensor) -> tuple[int, int]:
        """[frame, hidden] of what `encode` makes of features, which may have a shape and no content."""
        with torch.no_grad():
            frames, hidden = self.encode(features).shape
        return frames, hidden

    @abstractmethod
    def project(self, encoded: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Embeddings of each utterance from the encoder's outputs, shape [audio token, hidden]."""

    def projected(self, encoded: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """`project`, of what an encoder in another precision may have made."""
        dtype = self.dtype_of("projector")
        return self.project([hidden.to(dtype) for hidden in encoded])

    def dtype_of(self, part: str) -> torch.dtype:
        """What the weights of a part are held in; one that learns beside an adapter may be in float32 alone."""
        return next((weight.dtype for weight in self.parts[part].parameters()), self.network.dtype)

    @property
    def core(self) -> Any:
        """What holds encoder, projector and language model: the network, or what transformers 5 puts the head on."""
        return getattr(self.network, "model", self.network)

    @property
    def language_model(self) -> PreTrainedModel:
        """The causal language model, in transformers 5 without its head."""
        model: PreTrainedModel = self.core.language_model
        return model

    @property
    def output_embeddings(self) -> nn.Module:
        """From hidden states to logits: in transformers 5 beside the language model."""
        matrix: nn.Module = self.network.get_output_embeddings()
        return matrix

    @property
    def language_part(self) -> nn.Module:
        """The language model with its head, wherever transformers holds that."""
        return nn.ModuleList([self.language_model, self.output_embeddings])

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

    @cached_property
    def _special(self) -> re.Pattern[str]:
        """Finds what the tokenizer takes for a special token wherever it stands."""
        words = {token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special}
        words |= {word for word in self.tokenizer.all_special_tokens if word}
        return re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True))))

    def _check_instruction(self, example: Example) -> None:
        """Text that reads as a special token would end the turn, or stand for audio that there is none of."""
        found = self._special.search(example.instruction.replace(AUDIO_PLACEHOLDER, " "))
        if found and found[0]:
            raise SpeechbenchError(
                f"example {example.id!r}: its instruction holds {found[0]!r}, which is a special token of {self.name}: "
                "leave the example out, or spell it in another way"
            )

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
            return self._encoded[example.audio].to(self.device)  # the model may have been moved since
        try:
            samples = decoding.samples(example.audio, self.rate)
        except SpeechbenchError as error:
            raise SpeechbenchError(f"example {example.id!r}: {error}") from error
        if self.longest is not None and len(samples) > self.longest * self.rate:
            seconds = math.ceil(100 * len(samples) / self.rate) / 100  # never rounded down to what it takes
            raise SpeechbenchError(
                f"example {example.id!r}: its audio {example.audio.path} lasts {seconds:g} s, but "
                f"{self.name} takes {self.longest:g} s at most: leave the example out, or take another model"
            )
        with torch.autocast("cpu", enabled=False):
            features = self.features(torch.from_numpy(samples)).to(self.device, self.dtype_of("encoder"))
        if not self.encoder_is_frozen:
            return self.encode(features)
        # In the weights' own precision: what is kept must not depend on the training that heard it first.
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
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
        audio = iter(self.projected(heard) if heard else [])
        table = self.language_model.get_input_embeddings()
        rows = []
        for example, hidden in zip(examples, encoded, strict=True):
            self._check_instruction(example)
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
        limit = self.positions
        for row, example in zip(rows, examples, strict=True):
            if limit is not None and len(row) >= limit:
                raise SpeechbenchError(
                    f"example {example.id!r}: its prompt takes {len(row)} positions of the {limit} of "
                    f"{self.name}: leave the example out, or shorten its instruction or its audio"
                )

    def _check_room(self, prompts: Prompts, tokens: torch.Tensor) -> None:
        """Refuses completions that do not fit behind their prompts.

        Args:
            prompts: Of the completions.
            tokens: In the longest completion of each prompt, shape [prompt] or [].
        """
        limit = self.positions
        if limit is None:
            return
        lengths = prompts.mask.sum(-1)
        over = (lengths + tokens > limit).nonzero()
        if len(over):
            place = int(over[0])
            raise SpeechbenchError(
                f"example {prompts.ids[place]!r}: its prompt takes {int(lengths[place])} positions and a completion "
                f"up to {int(tokens.expand_as(lengths)[place])} more, of the {limit} of {self.name}: allow shorter "
                "completions, leave the example out, or shorten its instruction or its audio"
            )

    @property
    def positions(self) -> int | None:
        """Tokens of prompt and completion that the language model takes; `None` if its config names no limit."""
        limit: int | None = getattr(self.language_model.config, "max_position_embeddings", None)
        return limit

    def sample(self, prompts: Prompts, group_size: int, sampling: Sampling) -> Completions:
        """Writes `group_size` completions after each prompt, as `SpeechModel.sample` says.

        Raises:
            SpeechbenchError: If the language model has no positions for as many tokens.
        """
        self._check_room(prompts, torch.tensor(sampling.max_tokens, device=prompts.mask.device))
        return super().sample(prompts, group_size, sampling)

    def _hidden(self, prompts: Prompts, completions: Completions) -> torch.Tensor:
        self._check_room(prompts, completions.mask.sum(-1).amax(-1))
        return super()._hidden(prompts, completions)
