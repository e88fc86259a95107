"""A key-value cache that grows in place: transformers' own copies all of itself for every token."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

_ROOM = 32  # positions that are made room for at once


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """A layer whose keys and values are views of larger tensors with room for what comes."""

    keys: torch.Tensor
    values: torch.Tensor
    room: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes the new states behind those that are there; shape of each [row, head, position, size]."""
        length, end = self.keys.shape[2], self.keys.shape[2] + key_states.shape[2]
        if self.room is None or self.room[0].shape[2] < end:
            self.room = _larger(self.keys, end + _ROOM), _larger(self.values, end + _ROOM)
        for whole, new in zip(self.room, (key_states, value_states), strict=True):
            whole[:, :, length:end] = new
        self.keys, self.values = (whole[:, :, :end] for whole in self.room)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keeps only some rows."""
        super().batch_select_indices(indices)
        self.room = None


def grow_in_place(cache: Cache) -> None:
    """Lets a filled cache grow in place from here on; layers that keep a window of the last tokens stay as they are."""
    for layer in cache.layers:
        if type(layer) is DynamicLayer:
            layer.__class__ = GrowingLayer


def _larger(states: torch.Tensor, length: int) -> torch.Tensor:
    whole = states.new_empty((*states.shape[:2], length, states.shape[3]))
    whole[:, :, : states.shape[2]] = states
    return whole
