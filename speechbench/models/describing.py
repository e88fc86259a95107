"""What `speechbench models list` and `show` do: tell what the models are, how large, and what training them takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch._subclasses.fake_tensor import DataDependentOutputException

from speechbench.docstrings import paragraphs
from speechbench.errors import MissingError, UsageError
from speechbench.grammar import parse
from speechbench.models.loading import load_model, model_of
from speechbench.models.memory import Memory, Step, estimate
from speechbench.models.options import device_of
from speechbench.models.pretrained import PretrainedSpeechModel
from speechbench.models.weightless import simulated, without_weights
from speechbench.parameters import Parameter, parameters_of, place_of
from speechbench.registry import MODELS


@dataclass(frozen=True)
class Part:
    """A part of a model.

    Attributes:
        name: "encoder", "projector" or "language_model".
        parameters: In it.
        learning: Of these, how many learn.
    """

    name: str
    parameters: int
    learning: int


@dataclass(frozen=True)
class Card:
    """Everything that `models show` prints.

    Attributes:
        spec: As it was asked for.
        name: Of the registered model.
        description: The paragraphs of its docstring.
        where: Where it is registered.
        parameters: What a spec can set.
        parts: Of the network; empty where its size cannot be known here.
        provenance: What decides its outputs, as a run's folder says it.
        step: What a training step is taken to be given.
        memory: What training takes; `None` where it cannot be known here.
        unknown: Why the size, or the memory alone, cannot be known; empty where it is.
    """

    spec: str
    name: str
    description: tuple[str, ...]
    where: str
    parameters: tuple[Parameter, ...]
    parts: tuple[Part, ...]
    provenance: Mapping[str, Any]
    step: Step
    memory: Memory | None
    unknown: str = ""

    @property
    def learning_share(self) -> float:
        """Of all parameters, from 0 to 1."""
        return sum(part.learning for part in self.parts) / max(1, sum(part.parameters for part in self.parts))


def show(
    spec: str = "tiny",
    prompts: int = 8,
    group_size: int = 8,
    seconds: float = 10.0,
    prompt_tokens: int = 64,
    completion_tokens: int = 200,
    with_reference: bool = True,
    bf16: bool = False,
    gradient_checkpointing: bool = False,
) -> Card:
    """What a model is, and what training it takes; its weights are not read.

    Args:
        spec: As `load_model` takes it.

    The others are those of `speechbench.models.memory.Step`.

    Raises:
        UsageError: If there is no such model or folder, or it takes no such parameter.
        SpeechbenchError: If the folder holds no model.
    """
    step = Step(
        prompts, group_size, seconds, prompt_tokens, completion_tokens, with_reference, bf16, gradient_checkpointing
    )
    parsed = parse(spec)
    try:
        found = model_of(parsed)
    except MissingError as error:  # a name on the hub that cannot be looked up from here
        return Card(spec, spec, (), "", (), (), {}, step, None, str(error))
    plug = MODELS.get(found.name)
    card = Card(
        spec=spec,
        name=found.name,
        description=tuple(paragraphs(plug)),
        where=place_of(plug, MODELS.where(found.name)),
        parameters=tuple(parameters_of(plug, found)),
        parts=(),
        provenance={},
        step=step,
        memory=None,
    )
    try:
        with without_weights():
            model = load_model(parsed)
    except MissingError as error:
        return dataclasses.replace(card, unknown=str(error))
    if not isinstance(model, PretrainedSpeechModel):
        return dataclasses.replace(card, unknown="its class is not one of speechbench.models.pretrained")
    device = parsed.parameters.get("device")  # where it would be: what is made here is nowhere
    provenance = {**model.provenance(), "device": str(device_of(None if device is None else str(device)))}
    parts = tuple(_part(name, model) for name in model.parts)
    card = dataclasses.replace(card, parts=parts, provenance=provenance)
    try:
        with simulated(model):
            return dataclasses.replace(card, memory=estimate(model, step))
    except UsageError as error:
        return dataclasses.replace(card, unknown=str(error))
    except DataDependentOutputException:
        why = f"what the audio encoder of {found.name} takes depends on what it hears"
        return dataclasses.replace(card, unknown=why)


def _part(name: str, model: PretrainedSpeechModel) -> Part:
    weights = list(model.parts[name].parameters())
    return Part(name, sum(w.numel() for w in weights), sum(w.numel() for w in weights if w.requires_grad))


def to_json(card: Card) -> dict[str, Any]:
    """A card as JSON can write it; memory in bytes."""
    found = dataclasses.asdict(card)
    found["learning_share"] = card.learning_share
    if card.memory is not None:
        found["memory"]["peak"] = card.memory.peak
    return found
