"""Decoding from branches: the prompt runs once, then G rows go on from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from speechbench.models.branches import branch
from speechbench.seeds import derive

if TYPE_CHECKING:
    from speechbench.models.base import SpeechModel


def decode(
    model: SpeechModel,
    prompt_embeddings: torch.Tensor,
    prompt_mask: torch.Tensor,
    ids: Sequence[str],
    group_size: int,
    suppressed: torch.Tensor,
    end_token: int,
    temperature: float,
    top_p: float,
    max_tokens: int,
    seed: tuple[int, int],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Writes `group_size` completions after each prompt.

    Args:
        model: Whose decoder, head and token embeddings write.
        prompt_embeddings: Padded on the left, shape [prompt, position, hidden].
        prompt_mask: Bool, shape [prompt, position].
        ids: For each prompt its example's id.
        group_size: Completions per prompt.
        suppressed: Tokens that are never written, bool, shape [vocabulary].
        end_token: Ends a row; stays in it.
        temperature: 0 is greedy.
        top_p: Draws among the likeliest tokens whose probabilities sum to it.
        max_tokens: Longest completion.
        seed: With the id and the member's number it fixes a row's randomness.

    Returns:
        Tokens (padded with the end token) and their mask, both of shape [prompt, completion, token].
    """
    rows = len(ids) * group_size
    chances = _chances(ids, group_size, max_tokens, seed) if temperature > 0 else None
    device = prompt_mask.device
    decoder, embed = model.decoder, model.language_model.get_input_embeddings()
    out = decoder(
        inputs_embeds=prompt_embeddings,
        attention_mask=prompt_mask.long(),
        position_ids=(prompt_mask.long().cumsum(-1) - 1).clamp(min=0),
        use_cache=True,
    )
    branches = branch(decoder, out.past_key_values, prompt_mask, group_size)
    logits = model.head(out.last_hidden_state[:, -1]).repeat_interleave(group_size, dim=0)
    lengths = prompt_mask.sum(-1).repeat_interleave(group_size, dim=0)

    tokens = torch.full((rows, max_tokens), end_token, device=device)
    written = torch.zeros((rows, max_tokens), dtype=torch.bool, device=device)
    active = torch.arange(rows, device=device)  # which rows the branches still hold
    going = torch.ones(rows, dtype=torch.bool, device=device)  # which of those have not ended
    for step in range(max_tokens):
        chosen = _choose(
            logits.masked_fill(suppressed, -torch.inf),
            temperature,
            top_p,
            None if chances is None else chances[active, step],
        )
        tokens[active, step] = torch.where(going, chosen, end_token)
        written[active, step] = going
        going = going & (chosen != end_token)
        if not going.any() or step + 1 == max_tokens:
            break
        keep = branches.ended(going)
        if keep is not None:
            active, chosen, lengths, going = active[keep], chosen[keep], lengths[keep], going[keep]
        embeddings = embed(chosen[:, None]).to(prompt_embeddings.dtype)
        logits = model.head(branches.forward(embeddings, (lengths + step)[:, None]))
    longest = int(written.sum(-1).max())
    shape = (len(ids), group_size, longest)
    return tokens[:, :longest].reshape(shape), written[:, :longest].reshape(shape)


def _chances(ids: Sequence[str], group_size: int, max_tokens: int, seed: tuple[int, int]) -> torch.Tensor:
    """One uniform number in [0, 1) per row and token, from (seed, step, example, member) alone."""
    return torch.from_numpy(
        np.stack(
            [
                np.random.Generator(np.random.Philox(derive(*seed, example, member))).random(max_tokens)
                for example in ids
                for member in range(group_size)
            ]
        )
    )


def _choose(logits: torch.Tensor, temperature: float, top_p: float, chances: torch.Tensor | None) -> torch.Tensor:
    """The most likely token of each row, or the one where the cumulated probability passes the row's chance."""
    if chances is None:
        return logits.argmax(-1)
    probabilities = (logits.double() / temperature).softmax(-1)
    if top_p < 1:
        probabilities = _nucleus(probabilities, top_p)
    cumulated = probabilities.cumsum(-1)
    threshold = chances.to(logits.device)[:, None] * cumulated[:, -1:]
    return (cumulated <= threshold).sum(-1).clamp(max=logits.shape[-1] - 1)


def _nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """0 but for the fewest likeliest tokens whose sum reaches `top_p` (arXiv 1904.09751); not normalised again."""
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(probabilities).scatter(-1, order, ordered.masked_fill(before >= top_p, 0.0))
