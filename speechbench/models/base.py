"""What a trainer knows of a model: three operations on prompts and completions.

A `SpeechModel` is the module that the training loop wraps; its `forward` embeds the examples and scores
completions, so that data-parallel wrappers see everything that is differentiated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from speechbench.benchmarks.base import Example
from speechbench.models.packing import completion_logits
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
        temperature: 0 is greedy; otherwise the logits are divided by it. No top-k, no top-p, no penalties.
        max_tokens: Longest completion, the end token included.
        seed: Of the run.
        step: Of the training; with the seed, the example and the member it fixes a row's randomness.
    """

    temperature: float = 1.0
    max_tokens: int = 200
    seed: int = 0
    step: int = 0


class SpeechModel(nn.Module, ABC):
    """An audio encoder, a projector and a language model behind `embed`, `sample` and `logprobs`.

    Subclasses give `embed`, `save`, `frozen_copy` and the attributes; sampling and scoring are the same for
    all models whose language model is a transformers causal LM that takes `inputs_embeds`.

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
        encode, end = self.tokenizer.encode, self.end_token
        rows = [[[*encode(text, add_special_tokens=False), end] for text in group] for group in texts]
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
            self.language_model, prompts.embeddings, prompts.mask, prompts.ids, group_size,
            self.suppressed, self.end_token, sampling.temperature, sampling.max_tokens, (sampling.seed, sampling.step),
        )  # fmt: skip
        finished = ((tokens == self.end_token) & mask).any(-1)
        return Completions(tokens, mask, finished)

    def log_distribution(self, prompts: Prompts, completions: Completions, temperature: float = 1.0) -> torch.Tensor:
        """What the model expects at each token, normalised over the tokens that it may write.

        Returns:
            Log-probabilities, shape [prompt, completion, token, vocabulary]; −inf where suppressed.
        """
        raw = completion_logits(
            self.language_model, prompts.embeddings, prompts.mask, completions.tokens, completions.mask
        )
        raw = raw.float() / temperature
        return raw.masked_fill(self.suppressed, -torch.inf).log_softmax(-1)

    def logprobs(self, prompts: Prompts, completions: Completions, temperature: float = 1.0) -> torch.Tensor:
        """Log-probability of each token of each completion; shape [prompt, completion, token], 0 at padding."""
        expected = self.log_distribution(prompts, completions, temperature)
        return _gather(expected, completions)

    def forward(
        self, examples: Sequence[Example], completions: Completions, temperature: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`embed` and `logprobs` in one, for the training loop.

        Returns:
            Log-probabilities and, without gradient, the entropy of the model's expectation in nats; both of
            shape [prompt, completion, token], 0 at padding.
        """
        expected = self.log_distribution(self.embed(examples), completions, temperature)
        with torch.no_grad():
            entropy = -(expected.exp() * expected.masked_fill(self.suppressed, 0.0)).sum(-1) * completions.mask
        return _gather(expected, completions), entropy


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
    special[tokenizer.all_special_ids] = True
    special[[id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special]] = True
    special[end_token] = False
    return special


def _gather(expected: torch.Tensor, completions: Completions) -> torch.Tensor:
    chosen = expected.gather(-1, completions.tokens[..., None]).squeeze(-1)
    return chosen.masked_fill(~completions.mask, 0.0)
