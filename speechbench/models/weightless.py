"""Models as they would be, without the gigabytes: their config is read, and their weights are shapes alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from speechbench.errors import SpeechbenchError

FILES = ("*.json", "*.jinja", "*.txt", "*.model", "adapter_*")
"""What of a checkpoint on the hub is needed."""

_is_weightless: ContextVar[bool] = ContextVar("weightless", default=False)


def is_weightless() -> bool:
    """Whether models are to be made without their weights: within `without_weights`."""
    return _is_weightless.get()


@contextmanager
def without_weights() -> Iterator[None]:
    """A context in which models are loaded with weights on the device "meta": they have shapes and no content."""
    token = _is_weightless.set(True)
    try:
        yield
    finally:
        _is_weightless.reset(token)


@contextmanager
def simulated(model: nn.Module) -> Iterator[None]:
    """A context in which a model computes as on the CPU, with results that have shapes and no content.

    Args:
        model: Made within `without_weights`; it stays simulated.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        made: dict[int, nn.Parameter] = {}  # a weight that is tied stays one
        for module in model.modules():
            for name, weight in list(module._parameters.items()):
                if weight is not None:
                    empty = torch.empty(weight.shape, dtype=weight.dtype)
                    module._parameters[name] = made.setdefault(id(weight), nn.Parameter(empty, weight.requires_grad))
            for name, buffer in list(module._buffers.items()):
                if buffer is not None:
                    module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
        yield


def empty_network(class_: Any, folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """A network with weights on the device "meta".

    Args:
        class_: Of transformers.
        folder: With its config.
        dtype: Of the weights.

    Raises:
        SpeechbenchError: If its config describes no such network.
    """
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        if config.__class__ is not class_.config_class:  # the network is a part of what the config describes
            config = next(part for part in vars(config).values() if isinstance(part, class_.config_class))
        _hold_in(config, dtype)
        with torch.device("meta"):
            network = class_._from_config(config, dtype=dtype)
    except (OSError, ValueError, TypeError, KeyError, StopIteration) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SpeechbenchError(f"{folder / 'config.json'} describes no {class_.__name__}: {said}") from error
    network.config.name_or_path = str(folder)
    found: PreTrainedModel = network
    return found


def _hold_in(config: PretrainedConfig, dtype: torch.dtype) -> None:
    """As loading does: transformers 4 would make each part in the dtype that its part of the config names."""
    config.dtype = dtype
    for name in config.sub_configs:
        part = getattr(config, name, None)
        if part is not None:
            _hold_in(part, dtype)
