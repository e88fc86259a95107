"""LoRA (arXiv 2106.09685) by peft, put into the language model of a network of transformers, in place.

peft wraps the linear layers themselves, so whoever calls the decoder or its layers meets the adapters too. They are
always on: nothing here goes through `generate` of Granite Speech, which switches its own off.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from speechbench.errors import SpeechbenchError, UsageError
from speechbench.models.checkpoint import ADAPTER_CONFIG, ADAPTER_WEIGHTS, MEND, read_json

ALL_LINEAR = "all-linear"
_SEED = 0  # of the first A; B begins as 0, so that the first step's model is the base
_PREFIX = "base_model.model."  # of every name in peft's files
_SHOWN = 8


@dataclass(frozen=True)
class Lora:
    """A new adapter.

    Attributes:
        rank: Of the two matrices, at least 1.
        alpha: What they add is multiplied by alpha / rank; `None` for twice the rank.
        targets: Names of linear layers of the language model, joined by "+", or "all-linear".

    Raises:
        UsageError: If a value makes no sense.
    """

    rank: int
    alpha: float | None = None
    targets: str = ALL_LINEAR

    def __post_init__(self) -> None:
        if type(self.rank) is not int or self.rank < 1:
            raise UsageError(f"lora_rank={self.rank!r}: the rank is a whole number from 1 on, or 0 for no LoRA")
        if isinstance(self.alpha, (bool, str)) or not 0 < self.scale < math.inf:
            raise UsageError(f"lora_alpha={self.alpha!r}: what the adapter adds is multiplied by it: above 0")
        if not isinstance(self.targets, str):
            raise UsageError(
                f"lora_targets={self.targets!r}: give names of linear layers joined by '+', as q_proj+v_proj, or "
                f"{ALL_LINEAR!r}"
            )

    @property
    def scale(self) -> float:
        """The alpha that peft is given."""
        return 2.0 * self.rank if self.alpha is None else float(self.alpha)


def asked_for(rank: int, alpha: float | None, targets: str) -> Lora | None:
    """The new adapter that a model's options ask for; `None` for rank 0.

    Raises:
        UsageError: If a value makes no sense, or says something of an adapter that there is not.
    """
    if rank != 0:
        return Lora(rank, alpha, targets)
    for name, value, default in (("lora_alpha", alpha, None), ("lora_targets", targets, ALL_LINEAR)):
        if value != default:
            raise UsageError(f"{name}={value} is of a new LoRA adapter, and none is asked for: add lora_rank")
    return None


def add(network: PreTrainedModel, decoder: nn.Module, name: str, lora: Lora) -> None:
    """Adds a new adapter, whose weights are the same in every run; the model's outputs stay.

    Args:
        network: Of which the decoder is a part.
        decoder: Of the language model, without its head.
        name: Of the adapter.
        lora: Its settings.

    Raises:
        UsageError: If a target is no linear layer of the decoder.
    """
    within = next(path for path, module in network.named_modules() if module is decoder)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.scale,  # type: ignore[arg-type]  # it may be any number
        lora_dropout=0.0,  # policy and reference must see the same network
        target_modules=[f"{within}.{layer}" for layer in _targets(decoder, lora.targets)],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        _inject(config, network, name)
    _hold_in_float32(network, name)


def _inject(config: LoraConfig, network: PreTrainedModel, name: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")  # a second one on top is meant
        inject_adapter_in_model(config, network, name)


def _hold_in_float32(network: PreTrainedModel, name: str) -> None:
    """What learns: bfloat16 would lose the small steps."""
    for parameter in weights(network, name).values():
        parameter.data = parameter.data.float()


def _targets(decoder: nn.Module, asked: str) -> list[str]:
    """Paths of the layers that are adapted."""
    layers = [
        path
        for path, module in decoder.named_modules()
        if (isinstance(module, nn.Linear) and ".base_layer" not in path and ".lora_" not in path)
        or isinstance(module, BaseTunerLayer)
    ]
    if asked == ALL_LINEAR:
        return layers
    targets = {target: [path for path in layers if f".{path}".endswith(f".{target}")] for target in asked.split("+")}
    known = sorted({path.rpartition(".")[2] for path in layers})
    for target in (target for target, fitting in targets.items() if not fitting):
        nearest = get_close_matches(target, known, n=1)
        raise UsageError(
            f"lora_targets={asked!r}: no linear layer of the language model is called {target!r}"
            + (f", did you mean {nearest[0]!r}?" if nearest else ":")
            + f" There are {', '.join(known[:_SHOWN])}{', ...' if len(known) > _SHOWN else ''}, and {ALL_LINEAR!r}"
        )
    return sorted({path for fitting in targets.values() for path in fitting})


def attach(network: PreTrainedModel, folder: Path, name: str, is_learning: bool = False) -> None:
    """Adds the adapter that a folder holds in peft's format, whichever version of transformers named its layers.

    Args:
        network: Without an adapter of this name.
        folder: With the adapter's two files.
        name: For the adapter.
        is_learning: Whether its weights will learn, and are held in float32.

    Raises:
        SpeechbenchError: If it is broken, no LoRA, or not of this network.
    """
    settings, saved = read_json(folder / ADAPTER_CONFIG), _saved(folder)
    if settings.get("peft_type") != "LORA":
        raise SpeechbenchError(
            f"{folder / ADAPTER_CONFIG}: its adapter is of type {settings.get('peft_type')!r}; only LORA is supported: "
            "merge it into the weights with peft"
        )
    layers = {_plain(path): path for path, _ in network.named_modules()}
    stems = {_layer_of(key) for key in saved}
    unknown = sorted(stem for stem in stems if stem not in layers)
    if unknown or not stems:
        raise SpeechbenchError(
            f"{folder / ADAPTER_WEIGHTS} is of another model: {unknown[0] if unknown else 'no layer'} is not in "
            f"{type(network).__name__}; {MEND}"
        )
    try:
        config = LoraConfig.from_pretrained(str(folder))
    except (TypeError, ValueError) as error:
        raise SpeechbenchError(f"{folder / ADAPTER_CONFIG} is broken: {error}; {MEND}") from error
    config.target_modules = {layers[stem] for stem in stems}
    config.inference_mode = False
    _inject(config, network, name)
    if is_learning:
        _hold_in_float32(network, name)
    read(network, name, folder)


def read(network: PreTrainedModel, name: str, folder: Path) -> None:
    """Gives an adapter the weights that a folder holds, strictly.

    Raises:
        SpeechbenchError: If they are missing, broken, or of an adapter with other layers or another rank.
    """
    saved, ours = _saved(folder), {_plain(key): value for key, value in _state(network, name).items()}
    differing = sorted(saved.keys() ^ ours.keys()) or [k for k in ours if ours[k].shape != saved[k].shape]
    if differing:
        raise SpeechbenchError(
            f"{folder / ADAPTER_WEIGHTS} is of another adapter than the model's: {differing[0]} differs; load the "
            "folder as a model, or train with its LoRA settings"
        )
    with torch.no_grad():
        for key, tensor in ours.items():
            tensor.copy_(saved[key])


def write(network: PreTrainedModel, name: str, folder: Path, base: str | None = None) -> None:
    """Writes an adapter in peft's format, the same bytes for the same weights.

    Args:
        network: That it is in.
        name: Of the adapter.
        folder: That is there.
        base: Name or folder of the model that it belongs to; without one, that of this folder.
    """
    state = _state(network, name)
    tensors = {_PREFIX + key: value.cpu().contiguous() for key, value in state.items()}
    save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    settings = {key: _as_json(value) for key, value in network.peft_config[name].to_dict().items()}
    layers = sorted({_layer_of(key) for key in state})
    settings |= {"base_model_name_or_path": base, "inference_mode": True, "target_modules": layers}
    (folder / ADAPTER_CONFIG).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _as_json(value: Any) -> Any:
    """Sets in order: that of Python changes from process to process."""
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return value.value if hasattr(value, "value") else value


def weights(network: PreTrainedModel, name: str) -> dict[str, nn.Parameter]:
    """The parameters of an adapter by their names in the network."""
    inside = re.compile(rf"\.lora_\w+\.{re.escape(name)}(\.|$)")
    return {key: parameter for key, parameter in network.named_parameters() if inside.search(key)}


def switch_on(network: PreTrainedModel, names: list[str]) -> None:
    """Makes the model the sum of its base and all of these adapters."""
    for module in network.modules():
        if isinstance(module, BaseTunerLayer):
            module.set_adapter(names)


def merge(network: PreTrainedModel) -> None:
    """Adds all adapters to the weights that they adapt, and takes them out."""
    for path, module in list(network.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            network.set_submodule(path, module.get_base_layer())
    del network.peft_config
    if getattr(network.config, "has_lora_adapter", False):
        network.config.has_lora_adapter = False  # Granite Speech's note that its folder holds one


def without_adapters(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A network's weights by the names that they have without adapters, those of adapters left out."""
    return {plain_name(key): tensor for key, tensor in state.items() if ".lora_" not in key}


def plain_name(key: str) -> str:
    """The name of a weight in the network without adapters."""
    return key.replace(".base_layer.", ".")


def _state(network: PreTrainedModel, name: str) -> dict[str, torch.Tensor]:
    """The weights of an adapter by peft's names, without the prefix; they are the network's own, no copy."""
    state: dict[str, torch.Tensor] = get_peft_model_state_dict(network, adapter_name=name, save_embedding_layers=False)
    return {plain_name(key): tensor for key, tensor in state.items()}


def _saved(folder: Path) -> dict[str, torch.Tensor]:
    path = folder / ADAPTER_WEIGHTS
    try:
        return {_plain(key): tensor for key, tensor in load_file(path).items()}
    except (OSError, ValueError) as error:
        raise SpeechbenchError(f"{path} is missing, cut off or broken; {MEND}") from error
    except Exception as error:  # safetensors' own has no base but this
        raise SpeechbenchError(f"{path} is cut off or broken: {error}; {MEND}") from error


def _layer_of(key: str) -> str:
    return key.partition(".lora_")[0]


def _plain(path: str) -> str:
    """A module's or weight's name without what holds the language model, which transformers 5 moved."""
    parts = path.split(".")
    while parts[0] in ("base_model", "model", "language_model") and len(parts) > 1:
        parts = parts[1:]
    return ".".join(parts)
