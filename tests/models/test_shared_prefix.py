"""The shared prefix learns what repeated prompts learn, under whatever a training is run with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from speechbench.benchmarks.base import Example
from speechbench.models.granite_speech import GraniteSpeech
from speechbench.models.granite_speech_plus import GraniteSpeechPlus
from speechbench.models.tiny import Tiny
from tests.models.learning import (
    assert_bfloat16_errs_no_more,
    assert_shared_prefix_equals_repeated_prompt,
    loss_and_gradients,
)

TEXTS = [["Anna sold it.", "drei rote Äpfel gekauft", "", "Who?"]] * 3
EVERYTHING = "encoder+projector+language_model"


def made(folder: Path, **options: Any) -> GraniteSpeech:
    """A model in train mode, whose adapter, if it has one, has moved."""
    model = GraniteSpeech(str(folder), **options)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B" in name:
                parameter.normal_(std=0.05)
    return model.train()


@pytest.fixture(params=["random", "tiny", "plus"])
def model(request: pytest.FixtureRequest, random_folder: Path) -> GraniteSpeech:
    if request.param == "plus":
        return GraniteSpeechPlus(str(request.getfixturevalue("plus_folder"))).train()
    return made(random_folder) if request.param == "random" else Tiny().train()


def test_shared_prefix_equals_repeated_prompt(model: GraniteSpeech, examples: list[Example]) -> None:
    assert_shared_prefix_equals_repeated_prompt(model, examples, TEXTS)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(
    ("checkpointing", "options", "windows"),
    [
        (False, {}, 1),
        (True, {"train": EVERYTHING}, 1),
        (False, {"lora_rank": 4}, 1),
        (False, {}, 3),
        (True, {"lora_rank": 4, "train": EVERYTHING}, 3),
    ],
)
def test_it_does_under_each_and_all(
    random_folder: Path, examples: list[Example], attention: str, checkpointing: bool, options: dict[str, Any],
    windows: int,
) -> None:  # fmt: skip
    model = made(random_folder, attention=attention, **options)
    assert model.language_model.config._attn_implementation == attention
    if checkpointing:
        model.gradient_checkpointing_enable()
    assert_shared_prefix_equals_repeated_prompt(model, examples, TEXTS, windows)


@pytest.mark.parametrize("attention", ["sdpa", pytest.param("eager", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("checkpointing", "options", "windows"),
    [
        (False, {}, 1),
        pytest.param(False, {"lora_rank": 4}, 1, marks=pytest.mark.slow),
        pytest.param(True, {"lora_rank": 4}, 3, marks=pytest.mark.slow),
    ],
)
def test_bfloat16_errs_no_more_than_with_repeated_prompts(
    random_folder: Path, examples: list[Example], attention: str, checkpointing: bool, options: dict[str, Any],
    windows: int,
) -> None:  # fmt: skip
    model = made(random_folder, attention=attention, **options)
    if checkpointing:
        model.gradient_checkpointing_enable()
    assert_bfloat16_errs_no_more(model, examples, TEXTS, windows)


@pytest.mark.parametrize("options", [{}, {"lora_rank": 4}])
def test_checkpointing_computes_layers_again_and_changes_nothing(
    random_folder: Path, examples: list[Example], options: dict[str, Any]
) -> None:
    model = made(random_folder, **options)
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    model.decoder.get_submodule("layers.0.mlp").register_forward_pre_hook(count)
    plain = loss_and_gradients(model, examples, TEXTS, is_packed=True)
    assert calls == 1
    model.gradient_checkpointing_enable()
    again = loss_and_gradients(model, examples, TEXTS, is_packed=True)
    assert calls == 3
    assert plain[0] == again[0] and torch.equal(plain[1], again[1])
    model.gradient_checkpointing_disable()
    loss_and_gradients(model, examples, TEXTS, is_packed=True)
    assert calls == 4


@pytest.mark.slow
def test_bfloat16_weights_with_what_learns_in_float32(random_folder: Path, examples: list[Example]) -> None:
    model = made(random_folder, dtype="bfloat16", lora_rank=4)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    _, packed = loss_and_gradients(model, examples, TEXTS, is_packed=True)
    _, repeated = loss_and_gradients(model, examples, TEXTS, is_packed=False)
    _, exact = loss_and_gradients(made(random_folder, lora_rank=4), examples, TEXTS, is_packed=False)
    assert 0 < (packed - exact).norm() <= 2 * (repeated - exact).norm()
