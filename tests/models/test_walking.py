"""What a walk through three of a decoder's layers says is held, against a walk through all of them."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from speechbench.models import walking
from speechbench.models.loading import load_model
from speechbench.models.memory import Step, estimate
from speechbench.models.pretrained import PretrainedSpeechModel
from speechbench.models.walking import Peak, most_held
from speechbench.models.weightless import simulated, without_weights

LAYERS = 6


@pytest.fixture(scope="module")
def deep(random_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of more layers, without its weights."""
    folder = tmp_path_factory.mktemp("deep")
    for file in random_folder.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] = LAYERS
    (folder / "config.json").write_text(json.dumps(config))
    return folder


SMALL, LARGE = (1, 1, 2), (3, 4, 24)  # of which gradients, and activations, are the most


@pytest.mark.parametrize(
    ("options", "shape", "step"),
    [
        ("train=projector+language_model", LARGE, {}),
        ("train=projector+language_model", SMALL, {"bf16": True}),
        ("train=projector", LARGE, {"bf16": True}),
        pytest.param(
            "train=encoder+projector+language_model", LARGE, {"gradient_checkpointing": True}, marks=pytest.mark.slow
        ),
        pytest.param("dtype=bfloat16, lora_rank=2", LARGE, {}, marks=pytest.mark.slow),
        pytest.param(
            "lora_rank=4, train=language_model",
            SMALL,
            {"gradient_checkpointing": True, "bf16": True},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_few_layers_tell_of_all_to_the_byte(
    deep: Path, options: str, shape: tuple[int, int, int], step: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def memory() -> object:
        with without_weights():
            model = load_model(f"{deep}({options})")
        assert isinstance(model, PretrainedSpeechModel)
        prompts, group_size, tokens = shape
        given = Step(prompts=prompts, group_size=group_size, completion_tokens=tokens, seconds=1.0, **step)
        with simulated(model):
            found = estimate(model, given)
        assert len(model.decoder.layers) == LAYERS  # type: ignore[arg-type]
        return found

    few = memory()
    monkeypatch.setattr(walking, "_WALKED", LAYERS)
    assert few == memory()


class Stack(nn.Module):
    """Linear layers in a row, which counts how many run."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(size, after) for size, after in itertools.pairwise(widths))
        self.walked = 0

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            hidden = layer(hidden).relu()
            self.walked += 1
        return hidden


def held(stack: Stack) -> int:
    given = torch.ones(50, 8, requires_grad=True)
    return most_held(Peak(), stack, lambda: stack(given).sum().backward())


@pytest.mark.parametrize(
    ("widths", "walked"), [([8] * 7, 3), ([8] * 4, 3), ([8, 8, 8, 16, 8, 8], 5)], ids=["alike", "few", "differing"]
)
def test_layers_that_differ_are_all_walked(widths: list[int], walked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(widths)
    few = held(stack)
    assert stack.walked == walked and len(stack.layers) == len(widths) - 1
    stack.zero_grad()
    monkeypatch.setattr(walking, "_WALKED", 99)
    assert few == held(stack) > 0


def test_the_layers_are_there_again_where_a_walk_fails() -> None:
    stack = Stack([8] * 7)
    with pytest.raises(RuntimeError):
        most_held(Peak(), stack, lambda: stack(torch.ones(50, 9)).sum().backward())
    assert len(stack.layers) == 6
    stack(torch.ones(50, 8)).sum().backward()  # and without what marked them
    assert stack.walked == 6


def test_tensors_are_counted_once_and_until_they_are_freed() -> None:
    peak = Peak()
    with peak:
        first = torch.zeros(100)
        view = first[10:]
        assert peak.now == 400
        second = torch.zeros(50) + view[:50]
        del first, view
        assert peak.now == 200 == second.numel() * 4
    assert peak.lap() >= 600 and peak.most == 200
