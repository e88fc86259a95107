"""The shared-prefix forward: a prompt and its G completions in one row, each completion blind to the others.

After Prefix Grouper (arXiv 2506.05433). Same logits and gradients as repeating the prompt G times, for one
pass over the prompt instead of G.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def completion_hidden(
    decoder: nn.Module,
    embed: nn.Module,
    prompt_embeddings: torch.Tensor,
    prompt_mask: torch.Tensor,
    tokens: torch.Tensor,
    token_mask: torch.Tensor,
    make_mask: Callable[[torch.Tensor, torch.Tensor, torch.dtype], Any] | None = None,
) -> torch.Tensor:
    """Hidden states from which each token of each completion is predicted.

    Args:
        decoder: Of a transformers causal LM, without its head; takes `inputs_embeds`.
        embed: The token embeddings.
        prompt_embeddings: Padded on the left, shape [prompt, position, hidden].
        prompt_mask: Bool, shape [prompt, position].
        tokens: Shape [prompt, completion, token].
        token_mask: Bool, same shape; padding is on the right.
        make_mask: Gives the mask in another form than `block_mask` does.

    Returns:
        Shape [prompt, completion, token, hidden]; what stands at padding is of no meaning.
    """
    prompts, group, length = tokens.shape
    # The last token of a completion predicts nothing that is asked for, so T-1 of each go in.
    inputs = embed(tokens[:, :, :-1].reshape(prompts, -1))
    hidden = decoder(
        inputs_embeds=torch.cat([prompt_embeddings, inputs.to(prompt_embeddings.dtype)], dim=1),
        attention_mask=(make_mask or block_mask)(prompt_mask, token_mask[:, :, :-1], prompt_embeddings.dtype),
        position_ids=_positions(prompt_mask, group, length - 1),
        use_cache=False,
    ).last_hidden_state[:, prompt_embeddings.shape[1] - 1 :]
    first = hidden[:, :1, None].expand(-1, group, -1, -1)  # [prompt, completion, 1, hidden]
    return torch.cat([first, hidden[:, 1:].unflatten(1, (group, length - 1))], dim=2)


def _positions(prompt_mask: torch.Tensor, group: int, length: int) -> torch.Tensor:
    """Positions restart after the prompt for each completion; shape [prompt, position]."""
    prompt = (prompt_mask.long().cumsum(-1) - 1).clamp(min=0)
    after = prompt_mask.sum(-1, keepdim=True) + torch.arange(length, device=prompt_mask.device).repeat(group)
    return torch.cat([prompt, after], dim=1)


def block_mask(prompt_mask: torch.Tensor, token_mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Additive attention mask, shape [prompt, 1, query, key].

    A float mask: boolean 4D masks are silently wrong in transformers' eager attention.
    """
    visible = visible_to(prompt_mask, token_mask)
    blocked = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return blocked.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]


def visible_to(prompt_mask: torch.Tensor, token_mask: torch.Tensor) -> torch.Tensor:
    """What each position sees: the prompt, and of its own completion what came before; bool [prompt, query, key]."""
    prompts, width = prompt_mask.shape
    _, group, length = token_mask.shape
    device = prompt_mask.device
    order = torch.cat([torch.arange(width), width + torch.arange(length).repeat(group)]).to(device)
    owner = torch.cat([torch.full((width,), -1), torch.arange(group).repeat_interleave(length)]).to(device)
    causal = order[None, :] <= order[:, None]
    shared = (owner[None, :] == -1) | (owner[None, :] == owner[:, None])
    present = torch.cat([prompt_mask, token_mask.reshape(prompts, -1)], dim=1)
    visible = (causal & shared)[None] & present[:, None, :]
    return visible | torch.eye(len(order), dtype=torch.bool, device=device)  # no row of padding is empty
