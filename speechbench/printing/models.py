"""What the commands `models` print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from speechbench.tables import facts_table, parameter_facts

if TYPE_CHECKING:
    from speechbench.models.describing import Card
    from speechbench.models.memory import Memory

_WIDTH = 16


def card(found: Card, as_json: bool) -> None:
    """What a model is, how large, and what training it takes."""
    if as_json:
        from speechbench.models.describing import to_json

        click.echo(json.dumps(to_json(found), indent=1))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(Text(found.spec, style="bold"))
    for paragraph in found.description:
        console.print(Text(paragraph))
    console.print(facts_table(_facts(found), _WIDTH))


def _facts(found: Card) -> Iterator[tuple[str, str]]:
    yield from parameter_facts(found.parameters)
    for part in found.parts:
        share = "frozen" if not part.learning else "learns" if part.learning == part.parameters else (
            f"{count(part.learning)} of it learn"
        )  # fmt: skip
        yield part.name.replace("_", " "), f"{count(part.parameters)} parameters, {share}"
    if found.parts:
        yield "that learn", f"{100 * found.learning_share:.2g}% of {count(sum(p.parameters for p in found.parts))}"
    if found.memory is not None:
        yield from _memory(found, found.memory)
    for name, value in found.provenance.items():
        yield name, "none" if value is None else str(value)
    if found.where:
        yield "registered", found.where
    if found.unknown:
        yield "memory" if found.parts else "size", f"not known here: {found.unknown}"


def _memory(found: Card, memory: Memory) -> Iterator[tuple[str, str]]:
    step = found.step
    given = (
        f"{step.prompts} prompts a pass, G {step.group_size}, {step.seconds:g} s of audio, "
        f"{step.prompt_tokens} tokens of instruction, completions of {step.completion_tokens}"
        + (", bf16" if step.bf16 else "")
        + (", gradient checkpointing" if step.gradient_checkpointing else "")
    )
    yield "training takes", f"about {size(memory.peak)}, with {given}"
    yield (
        "",
        (
            f"weights {size(memory.weights)}, model before training {size(memory.reference)}, gradients "
            f"{size(memory.gradients)}, AdamW {size(memory.optimizer)}, activations {size(memory.activations)}; while "
            f"sampling instead of the last {size(memory.sampling)}"
        ),
    )


def count(number: int) -> str:
    """A number of parameters, in thousands, millions or billions."""
    for scale, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= scale:
            return f"{number / scale:.3g} {letter}"
    return str(number)


def size(number: int) -> str:
    """Bytes in MB or GB."""
    return f"{number / 2**30:.3g} GB" if number >= 2**30 else f"{number / 2**20:.3g} MB"
