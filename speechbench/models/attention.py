"""Which forward scores completions: one over a shared prefix where the attention takes a block mask, else repeated."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from speechbench.models.options import FLASH, FLEX
from speechbench.models.packing import completion_hidden, visible_to


def forward_for(attention: str) -> Callable[..., torch.Tensor]:
    """`packing.completion_hidden`, or what gives the same as it where the attention takes no block mask.

    Args:
        attention: As transformers names it: "sdpa", "eager", "flash_attention_2" or "flex_attention".
    """
    if attention == FLASH:
        return repeated_hidden
    return functools.partial(completion_hidden, make_mask=flex_mask) if attention == FLEX else completion_hidden


@functools.cache  # once
def _say_repeated() -> None:
    warnings.warn(
        f"{FLASH} takes no block mask, so each prompt runs once per completion: sdpa and {FLEX} run it once",
        stacklevel=4,
    )


def repeated_hidden(
    decoder: nn.Module,
    embed: nn.Module,
    prompt_embeddings: torch.Tensor,
    prompt_mask: torch.Tensor,
    tokens: torch.Tensor,
    token_mask: torch.Tensor,
) -> torch.Tensor:
    """As `packing.completion_hidden`, with the prompt repeated before each completion, which is said once."""
    _, group, length = tokens.shape
    if group > 1:
        _say_repeated()
    rows = tokens.flatten(0, 1)[:, :-1]  # the last token predicts nothing that is asked for
    prompts = prompt_embeddings.repeat_interleave(group, dim=0)
    mask = torch.cat(
        [prompt_mask.repeat_interleave(group, dim=0), token_mask.flatten(0, 1)[:, :-1]], dim=1
    ).long()  # [row, position]
    hidden: torch.Tensor = decoder(
        inputs_embeds=torch.cat([prompts, embed(rows).to(prompts.dtype)], dim=1),
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        use_cache=False,
    ).last_hidden_state[:, prompt_embeddings.shape[1] - 1 :]
    return hidden.reshape(-1, group, length, hidden.shape[-1])


def flex_mask(prompt_mask: torch.Tensor, token_mask: torch.Tensor, dtype: torch.dtype) -> Any:
    """The block mask as FlexAttention takes it, a torch `BlockMask`.

    Args:
        prompt_mask: Bool, shape [prompt, position].
        token_mask: Bool, shape [prompt, completion, token].
        dtype: Unused: FlexAttention asks which positions are seen.
    """
    from torch.nn.attention.flex_attention import create_block_mask

    visible = visible_to(prompt_mask, token_mask)  # [prompt, query, key]
    prompts, queries, keys = visible.shape

    def sees(prompt: torch.Tensor, _head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return visible[prompt, query, key]

    return create_block_mask(sees, prompts, None, queries, keys, device=str(visible.device))
