"""What a spec can ask of every model of transformers, checked before weights are read."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch

from speechbench.errors import MissingError, UsageError

PARTS = ("encoder", "projector", "language_model")
DTYPES = ("float32", "bfloat16", "float16")
FLASH, FLEX = "flash_attention_2", "flex_attention"
ATTENTIONS = ("sdpa", "eager", FLASH, FLEX)


def with_options(class_: type, options: Sequence[inspect.Parameter]) -> inspect.Signature:
    """The signature of a class, with the parameters that its `**options` stand for.

    Args:
        class_: With or without `**options`.
        options: Parameters of the class that it extends.
    """
    own = list(inspect.signature(class_.__init__).parameters.values())[1:]  # type: ignore[misc]
    named = [parameter for parameter in own if parameter.kind is not parameter.VAR_KEYWORD]
    if len(named) < len(own):
        names = {parameter.name for parameter in named}
        named += [option.replace(kind=option.KEYWORD_ONLY) for option in options if option.name not in names]
    return inspect.Signature(named)


def learning_parts(train: str) -> list[str]:
    """The parts that learn.

    Raises:
        UsageError: If there is no such part.
    """
    parts = str(train).split("+")
    if not set(parts) <= set(PARTS):
        raise UsageError(f"train={train!r}: the parts of a model are {', '.join(PARTS)}, joined by '+'")
    return parts


def dtype_of(name: str) -> torch.dtype:
    """The torch dtype of this name.

    Raises:
        UsageError: If weights cannot be held in it.
    """
    if name not in DTYPES:
        raise UsageError(f"dtype={name!r}: choose one of {', '.join(DTYPES)}")
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def device_of(name: str | None) -> torch.device:
    """The device of this name; without one, the GPU where there is one.

    Raises:
        UsageError: If there is no such device.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device={name!r}: choose cpu, cuda, or one of several GPUs as cuda:1")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        there = "cpu" if count == 0 else ", ".join(["cpu", *(f"cuda:{i}" for i in range(count))])
        raise UsageError(f"device={name!r} is not there: this machine has {there}")
    return device


def check_attention(attention: str, dtype: torch.dtype, device: torch.device) -> None:
    """Refuses an implementation of attention that cannot run, or not train, here.

    Raises:
        MissingError: If a package is missing.
        UsageError: If there is no such implementation, or it needs another device or dtype.
    """
    if attention not in ATTENTIONS:
        raise UsageError(f"attention={attention!r}: choose one of {', '.join(ATTENTIONS)}")
    if attention in (FLASH, FLEX) and device.type != "cuda":
        why = "has no kernel for the CPU" if attention == FLASH else "has no backward pass on the CPU"
        raise UsageError(f"attention={attention} {why}: take a GPU (device=cuda), or attention=sdpa")
    if attention != FLASH:
        return
    if dtype == torch.float32:
        raise UsageError(f"attention={attention} takes no float32: add dtype=bfloat16, or take attention=sdpa")
    from transformers.utils import is_flash_attn_2_available

    if not is_flash_attn_2_available():
        raise MissingError(f"attention={attention} needs a package that is not installed: pip install flash-attn")
