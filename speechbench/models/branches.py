"""What decoding goes on from after a prompt: G branches that share its keys and values, or G copies of them."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol

import torch
from torch import nn
from transformers import Cache
from transformers.cache_utils import DynamicLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from speechbench.models.growing_cache import GrowingLayer, grow_in_place

_NAME = "speechbench_branches"  # of the attention, among transformers' own
# Language models whose attention is softmax(q·k·scaling + mask)·v over the keys of one layer, and looked up by name.
_KINDS = {"granite", "llama", "mistral", "qwen2", "qwen2_5_omni_text", "qwen3"}


class Branches(Protocol):
    """Rows that are decoded token by token, G behind each prompt, in the prompts' order."""

    def forward(self, embeddings: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Runs one token of each row.

        Args:
            embeddings: Of the tokens, shape [row, 1, hidden].
            positions: Of the tokens, shape [row, 1].

        Returns:
            The last hidden states, shape [row, hidden].
        """

    def ended(self, going: torch.Tensor) -> torch.Tensor | None:
        """Leaves ended rows behind once they are the most.

        Args:
            going: Which rows have not ended, bool, shape [row].

        Returns:
            The rows that stay, in order, shape [kept]; `None` if all do.
        """


def branch(decoder: nn.Module, cache: Cache, prompt_mask: torch.Tensor, group_size: int) -> Branches:
    """The branches behind prompts that have run.

    Args:
        decoder: Of the language model.
        cache: Keys and values of the prompts; belongs to the branches from here on.
        prompt_mask: Bool, shape [prompt, position].
        group_size: Rows behind each prompt, G.
    """
    kind = SharedPrompt if group_size > 1 and _can_share(decoder, cache) else RepeatedPrompt
    return kind(decoder, cache, prompt_mask, group_size)


def is_shareable(config: Any) -> bool:
    """Whether the attention of a language model of this config can go to keys and values of prompts and of rows."""
    return getattr(config, "model_type", None) in _KINDS


def _can_share(decoder: nn.Module, cache: Cache) -> bool:
    config: Any = decoder.config
    return (
        is_shareable(config)
        and all(type(layer) is DynamicLayer for layer in cache.layers)  # and none that keeps a window
        and all(module.config is config for module in decoder.modules() if hasattr(module, "layer_idx"))
    )


class RepeatedPrompt:
    """Branches that each hold the keys and values of their prompt: for any attention."""

    def __init__(self, decoder: nn.Module, cache: Cache, prompt_mask: torch.Tensor, group_size: int) -> None:
        self._decoder, self._cache = decoder, cache
        cache.batch_repeat_interleave(group_size)
        grow_in_place(cache)
        self._mask = prompt_mask.long().repeat_interleave(group_size, dim=0)  # [row, position]

    def forward(self, embeddings: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """As `Branches.forward`."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._mask), 1)], dim=1)
        out = self._decoder(
            inputs_embeds=embeddings,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        hidden: torch.Tensor = out.last_hidden_state[:, -1]
        return hidden

    def ended(self, going: torch.Tensor) -> torch.Tensor | None:
        """As `Branches.ended`."""
        if 2 * int(going.sum()) >= len(going):
            return None
        keep = going.nonzero().squeeze(-1)
        self._cache.batch_select_indices(keep)
        self._mask = self._mask[keep]
        return keep


class SharedPrompt:
    """Branches that attend to their prompt's keys and values where they are, once per prompt, and to their own.

    The sums are those of bifurcated attention (arXiv 2403.08845, section 4): what is read per token from memory
    falls from G(P + t) keys and values to P + Gt, for prompts of P and completions of t tokens.
    """

    def __init__(self, decoder: nn.Module, cache: Cache, prompt_mask: torch.Tensor, group_size: int) -> None:
        self._decoder, self._cache, self._members = decoder, cache, group_size
        self._padding = ~prompt_mask[:, None, None, :]  # [prompt, 1, 1, position]
        for layer in cache.layers:
            layer.__class__ = _BranchedLayer
            layer.begin(group_size)

    def forward(self, embeddings: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """As `Branches.forward`."""
        config: Any = self._decoder.config
        before, config._attn_implementation = config._attn_implementation, _NAME
        token = _RUNNING.set(self)
        try:
            out = self._decoder(
                inputs_embeds=embeddings, position_ids=positions, past_key_values=self._cache, use_cache=True
            )
        finally:
            _RUNNING.reset(token)
            config._attn_implementation = before
        hidden: torch.Tensor = out.last_hidden_state[:, -1]
        return hidden

    def ended(self, going: torch.Tensor) -> torch.Tensor | None:
        """As `Branches.ended`. Each prompt that stays keeps as many rows: some that ended may be among them."""
        by_prompt = going.view(-1, self._members)
        counts = by_prompt.sum(-1)
        members, prompts = int(counts.max()), counts.nonzero().squeeze(-1)
        if 2 * members * len(prompts) >= len(going):
            return None
        first = by_prompt[prompts].long().argsort(dim=-1, descending=True, stable=True)[:, :members].sort(-1).values
        keep = (prompts[:, None] * self._members + first).flatten()
        for layer in self._cache.layers:
            layer.keep(keep, prompts)
        self._padding = self._padding[prompts]
        self._members = members
        return keep

    def attend(self, layer: int, query: torch.Tensor, scaling: float) -> torch.Tensor:
        """Attention of the newest token of each row to its prompt and its own tokens.

        Args:
            layer: Of the decoder.
            query: Shape [row, head, 1, size].
            scaling: Of the scores.

        Returns:
            Shape [row, 1, head, size].
        """
        states = self._cache.layers[layer]
        prompts, groups, length, size = states.prompt_keys.shape
        rows, heads = query.shape[:2]
        share = heads // groups  # heads to one head of keys
        own_query = query.reshape(rows, groups, share, size)
        prompt_query = _to_prompts(own_query, prompts)
        on_prompt = (prompt_query @ states.prompt_keys.transpose(2, 3)).masked_fill(self._padding, -torch.inf)
        on_own = own_query @ states.keys.transpose(2, 3)
        scores = torch.cat([_to_rows(on_prompt, rows), on_own], dim=-1)
        weights = (scores * scaling).softmax(-1, dtype=torch.float32).to(query.dtype)
        seen = _to_rows(_to_prompts(weights[..., :length], prompts) @ states.prompt_values, rows)
        both: torch.Tensor = seen + weights[..., length:] @ states.values
        return both.reshape(rows, 1, heads, size)


class _BranchedLayer(GrowingLayer):
    """A layer whose own keys and values are those of the rows' tokens; those of the prompts stand beside them."""

    prompt_keys: torch.Tensor  # [prompt, head, position, size]
    prompt_values: torch.Tensor

    def begin(self, group_size: int) -> None:
        """Makes of what is there the prompts', of which each has `group_size` rows without a token."""
        self.prompt_keys, self.prompt_values = self.keys, self.values
        prompts, heads, _, size = self.keys.shape
        self.keys = self.keys.new_empty(prompts * group_size, heads, 0, size)
        self.values = self.values.new_empty(prompts * group_size, heads, 0, self.values.shape[3])

    def keep(self, rows: torch.Tensor, prompts: torch.Tensor) -> None:
        """Keeps only some rows and prompts."""
        self.batch_select_indices(rows)
        self.prompt_keys, self.prompt_values = self.prompt_keys[prompts], self.prompt_values[prompts]

    def get_seq_length(self, *_: Any) -> int:
        """Positions of the prompt and of a row's tokens."""
        return int(self.prompt_keys.shape[2] + self.keys.shape[2])


def _to_prompts(of_rows: torch.Tensor, prompts: int) -> torch.Tensor:
    """[row, group, share, n] as [prompt, group, member x share, n]."""
    _, groups, share, last = of_rows.shape
    return of_rows.reshape(prompts, -1, groups, share, last).transpose(1, 2).reshape(prompts, groups, -1, last)


def _to_rows(of_prompts: torch.Tensor, rows: int) -> torch.Tensor:
    """The way back."""
    prompts, groups, queries, last = of_prompts.shape
    members = rows // prompts
    parted = of_prompts.reshape(prompts, groups, members, queries // members, last)
    return parted.transpose(1, 2).reshape(rows, groups, -1, last)


_RUNNING: ContextVar[SharedPrompt] = ContextVar("_RUNNING")


def _attention(
    module: Any,
    query: torch.Tensor,
    _key: torch.Tensor,
    _value: torch.Tensor,
    _mask: torch.Tensor | None,
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """As transformers calls an attention; keys and values are found in the branches' cache."""
    return _RUNNING.get().attend(module.layer_idx, query, scaling), None


ALL_ATTENTION_FUNCTIONS.register(_NAME, _attention)
