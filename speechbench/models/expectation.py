"""From hidden states to log-probabilities, without ever holding the vocabulary's logits of all tokens.

With 49,000 tokens in the vocabulary the logits of a step are far larger than all else in it. They are made for
some rows at a time, and made again in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.checkpoint import checkpoint

_AT_ONCE = 1 << 24
"""Logits that are held at once, of the order of 64 MB each time they are copied; a chunk is some rows of them."""

Head = Callable[[torch.Tensor], torch.Tensor]


def log_softmax(logits: torch.Tensor, suppressed: torch.Tensor, temperature: float) -> torch.Tensor:
    """Log-probabilities over the tokens that may be written, in float32 at least.

    Args:
        logits: Shape [..., vocabulary].
        suppressed: Bool, shape [vocabulary].
        temperature: The logits are divided by it.
    """
    raw = logits if logits.dtype == torch.float64 else logits.float()
    divided = raw if temperature == 1 else raw / temperature
    return divided.masked_fill(suppressed, -torch.inf).log_softmax(-1)


def token_logprobs(
    head: Head,
    hidden: torch.Tensor,
    tokens: torch.Tensor,
    mask: torch.Tensor,
    suppressed: torch.Tensor,
    temperature: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each token, and the entropy of what was expected there.

    Args:
        head: From hidden states to logits.
        hidden: Shape [..., token, hidden].
        tokens: Ids, shape [..., token].
        mask: Which tokens count, bool, same shape; for the others nothing is computed.
        suppressed: Tokens that are never written, bool, shape [vocabulary].
        temperature: The logits are divided by it.

    Returns:
        Both of the shape of `tokens`, 0 where the mask is not; the entropy, in nats, has no gradient.
    """
    if not mask.any():  # nothing to score, but the graph must reach every weight
        return (hidden.sum(-1) * 0.0).float(), torch.zeros(tokens.shape, device=hidden.device)
    logprobs, entropy = row_logprobs(head, hidden[mask], tokens[mask], suppressed, temperature)
    return _placed(logprobs, mask), _placed(entropy, mask)


def row_logprobs(
    head: Head, rows: torch.Tensor, chosen: torch.Tensor, suppressed: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `token_logprobs`, of hidden states of shape [row, hidden], one or more, and one token for each."""
    size = max(1, _AT_ONCE // len(suppressed))
    parts = []
    for start in range(0, len(rows), size):
        part = rows[start : start + size], chosen[start : start + size], suppressed, temperature
        if len(rows) > size and torch.is_grad_enabled():
            parts.append(checkpoint(_rows, head, *part, use_reentrant=False))
        else:
            parts.append(_rows(head, *part))
    logprobs, entropy = (torch.cat(column) for column in zip(*parts, strict=True))
    return logprobs, entropy


def _rows(
    head: Head, hidden: torch.Tensor, tokens: torch.Tensor, suppressed: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    expected = log_softmax(head(hidden), suppressed, temperature)
    with torch.no_grad():
        entropy = -expected.exp().mul_(expected).masked_fill_(suppressed, 0.0).sum(-1)  # where 0 · −∞ is 0
    return expected.gather(-1, tokens[:, None]).squeeze(-1), entropy


def _placed(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return values.new_zeros(mask.shape).masked_scatter(mask, values)
