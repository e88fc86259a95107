"""What a trainer knows of a model: three operations on prompts and completions.

A `SpeechModel` is the module that the training loop wraps; its `forward` embeds the examples and scores
completions, so that data-parallel wrappers see everything that is differentiated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from speechbench.benchmarks.base import Example
from speechbench.models.attention import forward_for
from speechbench.models.expectation import log_softmax, token_logprobs
from speechbench.models.sampling import decode

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Prompts:
    """Examples as the model sees them.

    Attributes:
        embeddings: Instruction with the audio's embeddings in place, padded on the left;
            shape [prompt, position, hidden].
        mask: Which positions are not padding, bool, shape [prompt, position].
        ids: The examples' ids, for the rows' randomness.
    """

    embeddings: torch.Tensor
    mask: torch.Tensor
    ids: tuple[str, ...]

    @classmethod
    def of(cls, rows: Sequence[torch.Tensor], examples: Sequence[Example]) -> Prompts:
        """Pads the embeddings of each example, shape [position, hidden], to one length."""
        width = max(len(row) for row in rows)
        embeddings = torch.stack([nn.functional.pad(row, (0, 0, width - len(row), 0)) for row in rows])
        lengths = torch.tensor([len(row) for row in rows], device=embeddings.device)
        mask = torch.arange(width, device=embeddings.device) >= (width - lengths)[:, None]
        return cls(embeddings, mask, tuple(example.id for example in examples))


@dataclass(frozen=True)
class Completions:
    """What follows each prompt: G completions of up to T tokens, padded on the right.

    Attributes:
        tokens: Token ids, shape [prompt, completion, token].
        mask: Which tokens were written, the end token included; bool, same shape.
        finished: Which completions end with the end token and were not cut; bool, shape [prompt, completion].
    """

    tokens: torch.Tensor
    mask: torch.Tensor
    finished: torch.Tensor


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    Attributes:
        temperature: 0 is greedy; otherwise the logits are divided by it. No top-k, no penalties.
        max_tokens: Longest completion, the end token included.
        seed: Of the run.
        step: Of the training; with the seed, the example and the member it fixes a row's randomness.
        top_p: Draws among the likeliest tokens whose probabilities sum to it; 1 for all, as training needs it.
    """

    temperature: float = 1.0
    max_tokens: int = 200
    seed: int = 0
    step: int = 0
    top_p: float = 1.0


class SpeechModel(nn.Module, ABC):
    """An audio encoder, a projector and a language model behind `embed`, `sample` and `logprobs`.

    Subclasses give `embed`, `save`, `frozen_copy` and the attributes; sampling and scoring are the same for
    all models whose language model is a transformers causal LM that takes `inputs_embeds`. Models of transformers'
    own classes extend `speechbench.models.pretrained.PretrainedSpeechModel`, which leaves less to give.

    Attributes:
        name: Spec it was loaded by.
        tokenizer: Of the language model.
        fingerprint: Hash of the weights and the prompt template it was loaded with.
    """

    name: str
    tokenizer: PreTrainedTokenizerBase
    fingerprint: str

    @property
    @abstractmethod
    def language_model(self) -> PreTrainedModel:
        """The causal language model."""

    @property
    def decoder(self) -> nn.Module:
        """The language model without its head: from `inputs_embeds` to `last_hidden_state`."""
        decoder: nn.Module = self.language_model.get_decoder()
        return decoder

    @property
    def output_embeddings(self) -> nn.Module:
        """From hidden states to logits."""
        matrix: nn.Module = self.language_model.get_output_embeddings()
        return matrix

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits over the vocabulary from the decoder's last hidden states, any shape before the last axis.

        With the constants that Granite, Cohere and Gemma put behind the matrix; whose head does more overrides this.
        """
        config = self.language_model.config
        logits: torch.Tensor = self.output_embeddings(hidden)
        if getattr(config, "logits_scaling", None):
            logits = logits / config.logits_scaling
        if getattr(config, "logit_scale", None):
            logits = logits * config.logit_scale
        cap = getattr(config, "final_logit_softcapping", None)
        return logits if not cap else cap * torch.tanh(logits / cap)

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """Computes the language model's activations again in the backward pass instead of keeping them.

        Args:
            gradient_checkpointing_kwargs: Of `torch.utils.checkpoint`; not reentrant unless it says so.
        """
        model, kwargs = self.language_model, gradient_checkpointing_kwargs or {"use_reentrant": False}
        enable = getattr(model, "activation_checkpointing_enable", None)  # what transformers 5 calls it
        (enable or model.gradient_checkpointing_enable)(kwargs)

    def gradient_checkpointing_disable(self) -> None:
        """Keeps all activations again."""
        model = self.language_model
        (getattr(model, "activation_checkpointing_disable", None) or model.gradient_checkpointing_disable)()

    def provenance(self) -> Mapping[str, Any]:
        """What a run's folder should say of where the model comes from and how it is asked, as JSON can write it."""
        return {}

    @property
    def end_token(self) -> int:
        """Id of the token that ends an answer; the tokenizer's own unless a subclass knows better."""
        return int(self.tokenizer.eos_token_id)

    @property
    @abstractmethod
    def suppressed(self) -> torch.Tensor:
        """Tokens that are never written, as `special_tokens` gives them; bool, shape [vocabulary]."""

    @abstractmethod
    def embed(self, examples: Sequence[Example]) -> Prompts:
        """Instruction embeddings with the audio's merged in; the audio encoder runs once per distinct audio."""

    def expect(self, examples: Sequence[Example]) -> None:
        """Told which examples `embed` will be given next, so that their audio can be decoded ahead; may do nothing."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes a folder from which `load_model` makes the same model again.

        What fails in writing may be raised as it comes: the training loop saves within `speechbench.errors.writing`.
        """

    @abstractmethod
    def load_weights(self, folder: Path) -> None:
        """Takes over the weights of a folder that `save` wrote, strictly."""

    @abstractmethod
    def frozen_copy(self) -> SpeechModel:
        """The model as it is now, without gradients: the reference that KL is measured against."""

    def completions_of(self, texts: Sequence[Sequence[str]]) -> Completions:
        """Texts as completions, each ended with the model's own end token.

        Args:
            texts: For each prompt its texts, equally many.
        """
        end = self.end_token
        encode = partial(self.tokenizer.encode, add_special_tokens=False, split_special_tokens=True)
        rows = [[[*encode(text), end] for text in group] for group in texts]  # what looks special is text there
        longest = max(len(row) for group in rows for row in group)
        tokens = torch.full((len(rows), len(rows[0]), longest), end)
        mask = torch.zeros_like(tokens, dtype=torch.bool)
        for p, group in enumerate(rows):
            for c, row in enumerate(group):
                tokens[p, c, : len(row)] = torch.tensor(row)
                mask[p, c, : len(row)] = True
        device = self.suppressed.device
        finished = torch.ones(tokens.shape[:2], dtype=torch.bool, device=device)
        return Completions(tokens.to(device), mask.to(device), finished)

    def texts_of(self, completions: Completions) -> list[list[str]]:
        """The hypotheses, without special tokens and outer white space."""
        return [
            [
                self.tokenizer.decode(tokens[mask].tolist(), skip_special_tokens=True).strip()
                for tokens, mask in zip(group, masks, strict=True)
            ]
            for group, masks in zip(completions.tokens, completions.mask, strict=True)
        ]

    @torch.no_grad()
    def sample(self, prompts: Prompts, group_size: int, sampling: Sampling) -> Completions:
        """Writes `group_size` completions after each prompt.

        The prompt runs once and its cache branches. A row stops at the end token or at `max_tokens`.
        """
        tokens, mask = decode(
            self, prompts.embeddings, prompts.mask, prompts.ids, group_size, self.suppressed, self.end_token,
            sampling.temperature, sampling.top_p, sampling.max_tokens, (sampling.seed, sampling.step),
        )  # fmt: skip
        finished = ((tokens == self.end_token) & mask).any(-1)
        return Completions(tokens, mask, finished)

    def log_distribution(self, prompts: Prompts, completions: Completions, temperature: float = 1.0) -> torch.Tensor:
        """What the model expects at each token, normalised over the tokens that it may write.

        Holds a number for every token of the vocabulary: for `logprobs` and `forward` that is never done.

        Returns:
            Log-probabilities, shape [prompt, completion, token, vocabulary]; −inf where suppressed.
        """
        return log_softmax(self.head(self._hidden(prompts, completions)), self.suppressed, temperature)

    def logprobs(self, prompts: Prompts, completions: Completions, temperature: float = 1.0) -> torch.Tensor:
        """Log-probability of each token of each completion; shape [prompt, completion, token], 0 at padding."""
        return self._score(prompts, completions, temperature)[0]

    def forward(
        self, examples: Sequence[Example], completions: Completions, temperature: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`embed` and `logprobs` in one, for the training loop.

        Returns:
            Log-probabilities and, without gradient, the entropy of the model's expectation in nats; both of
            shape [prompt, completion, token], 0 at padding.
        """
        return self._score(self.embed(examples), completions, temperature)

    def _hidden(self, prompts: Prompts, completions: Completions) -> torch.Tensor:
        forward = forward_for(getattr(self.language_model.config, "_attn_implementation", "sdpa"))
        return forward(
            self.decoder, self.language_model.get_input_embeddings(), prompts.embeddings, prompts.mask,
            completions.tokens, completions.mask,
        )  # fmt: skip

    def _score(
        self, prompts: Prompts, completions: Completions, temperature: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return token_logprobs(
            self.head, self._hidden(prompts, completions), completions.tokens, completions.mask, self.suppressed,
            temperature,
        )  # fmt: skip


def special_tokens(tokenizer: PreTrainedTokenizerBase, vocabulary: int, end_token: int) -> torch.Tensor:
    """Tokens that are no text: the special ones, but for the end of an answer, and ids beyond the tokenizer.

    Args:
        tokenizer: Of the language model.
        vocabulary: Size of the language model's output.
        end_token: Id of the token that ends an answer.

    Returns:
        Bool, shape [vocabulary].
    """
    special = torch.ones(vocabulary, dtype=torch.bool)
    special[: len(tokenizer)] = False
    added = [id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special]
    # transformers 5 gives some tokenizers special tokens that their model knows nothing of
    special[[id_ for id_ in (*tokenizer.all_special_ids, *added) if id_ < vocabulary]] = True
    special[end_token] = False
    return special
