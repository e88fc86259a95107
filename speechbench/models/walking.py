"""The most that a walk through a step holds, counted on a few of a decoder's layers where all are alike."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

_WALKED = 3
"""Layers that are walked through: the first and the last may cost something else than one between two others."""


class Peak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode that counts the bytes of all tensors that are alive.

    Attributes:
        now: Bytes alive of what was made within the mode, or given to `hold`.
        most: The most so far, or since the last `lap`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self._alive: dict[int, int] = {}

    def hold(self, tensors: Iterable[Any]) -> None:
        """Counts tensors, each storage once, until it is freed."""
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                key = storage._cdata
                if key not in self._alive:
                    self._alive[key] = storage.nbytes()
                    self.now += storage.nbytes()
                    self.most = max(self.most, self.now)
                    weakref.finalize(storage, self._freed, key)

    def lap(self) -> int:
        """The most since the last lap; the next begins."""
        most, self.most = self.most, self.now
        return most

    def _freed(self, key: int) -> None:
        self.now -= self._alive.pop(key)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.hold(tree_iter(out))
        return out


def most_held(peak: Peak, decoder: nn.Module, walk: Callable[[], None]) -> int:
    """Bytes that are held at once while a step is walked through, forwards and backwards.

    With n layers that are alike, what is held before the first does not depend on n; from there to the end of the
    last one's backward pass, the most grows by what a layer's forward pass leaves behind; from the begin of the first
    one's, by what is left of a layer after both passes; between, it lies between. So three layers tell of any number.

    Args:
        peak: That counts; what it holds already is counted too, but for nothing of the layers left out.
        decoder: Of the language model; its `layers` are the same ones afterwards.
        walk: Runs each of the layers in turn, and their backward passes.
    """
    layers = getattr(decoder, "layers", None)
    if not isinstance(layers, nn.ModuleList) or len(layers) <= _WALKED or not _are_alike(decoder, layers):
        with peak:
            walk()
        return peak.most
    marks = _Marks(peak)
    decoder.layers = layers[:_WALKED]
    try:
        with ExitStack() as hooks, peak:
            for number, layer in enumerate(layers[:_WALKED]):
                hooks.callback(layer.register_forward_pre_hook(marks.entering(number), with_kwargs=True).remove)
            walk()
    finally:
        decoder.layers = layers
    return marks.most(peak.lap(), len(layers) - _WALKED)


def _are_alike(decoder: nn.Module, layers: Iterable[nn.Module]) -> bool:
    """Whether each layer computes the same on weights of the same shapes, of which the same learn."""
    kinds = getattr(getattr(decoder, "config", None), "layer_types", None) or [""]
    weights = {
        tuple((name, weight.shape, weight.dtype, weight.requires_grad) for name, weight in layer.named_parameters())
        for layer in layers
    }
    return len(set(kinds)) == 1 == len(weights) == len({type(layer) for layer in layers})


class _Marks:
    """What is held as each of the walked layers is entered, and as its backward pass is through."""

    def __init__(self, peak: Peak) -> None:
        self._peak = peak
        self._entered: list[int] = []
        self._left: dict[int, int] = {}
        self._laps: list[int] = []

    def entering(self, number: int) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        """A hook of a layer that marks where it begins, and where its backward pass ends."""

        def left(gradient: torch.Tensor) -> None:
            self._left[number] = self._peak.now
            self._laps.append(self._peak.lap())

        def entered(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if len(self._entered) > number:  # again, as checkpointed activations are
                return
            self._entered.append(self._peak.now)
            if number == 0:
                self._laps.append(self._peak.lap())
            else:
                (args[0] if args else kwargs["hidden_states"]).register_hook(left)

        return entered

    def most(self, last_lap: int, more: int) -> int:
        """The most with so many more layers."""
        before, until_last_is_left, *_ = self._laps
        after_forward = self._entered[-1] - self._entered[-2]
        after_both = after_forward + self._left[1] - self._left[_WALKED - 1]
        return max(before, until_last_is_left + more * after_forward, last_lap + more * after_both)
