"""The parts of COMET's models above the encoder: the mix of its layers, and the estimator.

From Rei et al., "COMET: A Neural Framework for MT Evaluation" (EMNLP 2020); names of weights are unbabel-comet's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from speechbench.errors import SpeechbenchError


def sparsemax(logits: Tensor) -> Tensor:
    """Projects onto the probability simplex: Martins & Astudillo, "From Softmax to Sparsemax" (ICML 2016), eq. 3.

    Args:
        logits: Shape [option].

    Returns:
        Probabilities, some of them exactly 0, shape [option].
    """
    ordered, _ = logits.sort(descending=True)
    excess = ordered.cumsum(0) - 1
    rank = torch.arange(1, len(logits) + 1, device=logits.device, dtype=logits.dtype)
    support = int((rank * ordered > excess).sum())
    return (logits - excess[support - 1] / support).clamp(min=0)


class LayerMix(nn.Module):
    """Weighted sum of the hidden states of all layers, times gamma.

    Args:
        layers: Number of hidden states, the embeddings' included.
        transformation: "sparsemax"; anything else is softmax.
        layer_norm: Whether each layer is first brought to mean 0 and variance 1 over the sentence's
            tokens and dimensions together.
    """

    def __init__(self, layers: int, transformation: str, layer_norm: bool) -> None:
        super().__init__()
        self.transformation = transformation
        self.layer_norm = layer_norm
        self.scalar_parameters = nn.ParameterList([nn.Parameter(torch.zeros(1)) for _ in range(layers)])
        self.gamma = nn.Parameter(torch.ones(1))

    def forward(self, states: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Mixes.

        Args:
            states: For each layer [text, token, dimension].
            mask: 1 for tokens, 0 for padding, shape [text, token].
        """
        logits = torch.cat(list(self.scalar_parameters))
        weights = sparsemax(logits) if self.transformation == "sparsemax" else logits.softmax(0)
        if self.layer_norm:
            states = [_normalised(state, mask) for state in states]
        mixed = torch.zeros_like(states[0])
        for weight, state in zip(weights, states, strict=True):
            mixed = mixed + weight * state
        return self.gamma * mixed


def _normalised(state: Tensor, mask: Tensor) -> Tensor:
    inside = mask.to(state.dtype)[:, :, None]
    size = inside.sum((1, 2), keepdim=True) * state.shape[-1]
    centred = state - (state * inside).sum((1, 2), keepdim=True) / size
    variance = (centred * inside).square().sum((1, 2), keepdim=True) / size
    return centred / (variance + 1e-12).sqrt()


class Estimator(nn.Module):
    """Feed-forward net from combined sentence vectors to one score."""

    def __init__(self, inputs: int, hparams: Mapping[str, Any]) -> None:
        super().__init__()
        sizes = [inputs, *hparams["hidden_sizes"]]
        modules: list[nn.Module] = []
        for before, after in pairwise(sizes):
            # The dropout does nothing here: it keeps the numbering of the checkpoint's weights.
            modules += [nn.Linear(before, after), _activation(hparams["activations"]), nn.Dropout(0.0)]
        modules.append(nn.Linear(sizes[-1], 1))
        if hparams["final_activation"] is not None:
            modules.append(_activation(hparams["final_activation"]))
        self.ff = nn.Sequential(*modules)


def _activation(name: str) -> nn.Module:
    activation = getattr(nn, name.title(), None)
    if activation is None:
        raise SpeechbenchError(f"the COMET checkpoint names an activation that torch does not have: {name!r}")
    module: nn.Module = activation()
    return module
