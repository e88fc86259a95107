"""A model whose weights are shared out over processes (FSDP 2), made whole where it is used outside of its forward.

Within `forward` FSDP gathers weights by itself, layer by layer, on all processes at once. Sampling calls layers as
often as its own answers need, which differs between processes, so it needs all weights at hand; so does writing them.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.fsdp import FSDPModule

from speechbench.errors import UsageError
from speechbench.models.base import SpeechModel

if TYPE_CHECKING:
    from accelerate import Accelerator

    from speechbench.trainers.config import TrainConfig


def is_sharded(model: torch.nn.Module) -> bool:
    """Whether this process holds only its share of the weights."""
    return isinstance(model, FSDPModule)


def holds_copies() -> bool:
    """Whether the optimizer keeps what learns in float32 beside the model's own weights, as DeepSpeed's does."""
    return os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"


def check(accelerator: Accelerator, config: TrainConfig) -> None:
    """Refuses what cannot work, before the training begins.

    Raises:
        UsageError: With the setting of accelerate's that mends it.
    """
    fsdp = getattr(accelerator.state, "fsdp_plugin", None)
    deepspeed = getattr(accelerator.state, "deepspeed_plugin", None)
    if deepspeed is not None and deepspeed.zero_stage == 3:
        raise UsageError(
            "ZeRO stage 3 shares out the weights, which sampling needs whole: set zero_stage: 2, or take FSDP 2 "
            "(docs/configs/fsdp.yaml)"
        )
    if deepspeed is not None and config.bf16:
        raise UsageError(
            "bf16=True: DeepSpeed would round the weights themselves, but no buffers: leave bf16 out and give the "
            "model dtype=bfloat16, of which DeepSpeed's optimizer keeps float32 copies"
        )
    if fsdp is None:
        return
    for name, value, needed, found in (
        ("fsdp_version", "2", True, fsdp.fsdp_version == 2),
        ("fsdp_state_dict_type", "FULL_STATE_DICT", True, "FULL_STATE_DICT" in str(fsdp.state_dict_type)),
        ("fsdp_cpu_ram_efficient_loading", "false", False, bool(fsdp.cpu_ram_efficient_loading)),
    ):
        if found is not needed:
            raise UsageError(f"training under FSDP: set {name}: {value} in accelerate's configuration")
    if config.eval_steps is not None:
        raise UsageError(
            f"eval_steps={config.eval_steps}: under FSDP no process has the whole model to measure while it trains: "
            "leave eval_steps out"
        )


@contextmanager
def whole(model: torch.nn.Module) -> Iterator[None]:
    """Within it all weights are at hand on each process, and calls of the model or its layers gather nothing.

    Called on all processes; a model that is not sharded is whole already.
    """
    shards = [module for module in model.modules() if isinstance(module, FSDPModule)]
    if isinstance(model, FSDPModule):
        model._get_fsdp_state()._lazy_init()  # else the first layer that is called takes itself for the root
    for shard in shards:
        shard.set_reshard_after_forward(False, recurse=False)
        shard.unshard()
    try:
        yield
    finally:
        for shard in shards:
            shard.set_reshard_after_forward(shard is not model, recurse=False)  # as fully_shard does by default
            shard.reshard()


def whole_state(model: SpeechModel) -> dict[str, Any] | None:
    """All weights, on the main process' CPU; `None` where the model is not sharded. Called on all processes."""
    if not is_sharded(model):
        return None
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def skeleton(model: SpeechModel) -> SpeechModel:
    """The model without weights, taken before they are shared out: afterwards it cannot be copied any more."""
    return _copied(model, "meta")


def unsharded(model: SpeechModel, bones: SpeechModel | None, state: Mapping[str, Any] | None) -> SpeechModel:
    """A model that can be written: itself, or one like it that holds what `whole_state` gave.

    Args:
        model: Which may be sharded.
        bones: Its `skeleton`, where its weights are shared out.
        state: All weights; `None` where the model is not sharded.
    """
    if state is None or bones is None or not is_sharded(model):
        return model
    twin = _copied(bones, "cpu")
    twin.load_state_dict(dict(state))
    return twin


def load_weights(model: SpeechModel, bones: SpeechModel | None, folder: Path) -> None:
    """`SpeechModel.load_weights`, each process taking its share. Called on all processes."""
    if not is_sharded(model):
        model.load_weights(folder)
        return
    options = StateDictOptions(full_state_dict=True)
    twin = unsharded(model, bones, get_model_state_dict(model, options=options))  # a folder need not hold all weights
    twin.load_weights(folder)
    set_model_state_dict(model, twin.state_dict(), options=options)


def _copied(model: SpeechModel, device: str) -> SpeechModel:
    """A copy whose weights hold nothing yet; weights that are one stay one."""
    weights = {
        id(weight): torch.nn.Parameter(torch.empty_like(weight, device=device), weight.requires_grad)
        for weight in model.parameters()
    }
    return copy.deepcopy(model, dict(weights))
