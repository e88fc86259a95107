"""The three operations of Qwen's models against their own generate and forward, on what their own processors make."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from speechbench.benchmarks.base import Example
from speechbench.models.describing import show
from speechbench.models.loading import load_model
from speechbench.models.qwen import QwenSpeechModel
from tests.models.learning import assert_shared_prefix_equals_repeated_prompt, loss_and_gradients
from tests.models.own_network import (
    assert_a_batch_equals_one_by_one,
    assert_a_frozen_copy_stays,
    assert_greedy_sampling_equals_generate,
    assert_logprobs_equal_the_own_forward,
    assert_saved_is_loaded_again,
    assert_small_steps_beside_an_adapter_are_kept,
    moved_by_grpo,
)

ALL = "encoder+projector+language_model"
TEXTS = ["Anna ist hier.", "eins, zwei", "Who did it?"]
Inputs = Callable[..., dict[str, torch.Tensor]]


@pytest.fixture
def model(small: Any) -> QwenSpeechModel:
    made: QwenSpeechModel = small.adapter(str(small.folder), train=ALL)
    return made


def test_greedy_sampling_equals_generate(
    small: Any, model: QwenSpeechModel, heard: list[Example], inputs_of: Inputs
) -> None:
    inputs = [inputs_of(small, model, example) for example in heard]
    ours = assert_greedy_sampling_equals_generate(model, heard, inputs)
    assert len({tuple(row) for row in ours.tokens[:, 0].tolist()}) == 3  # the model hears a difference


def test_logprobs_equal_the_models_own_forward(
    small: Any, model: QwenSpeechModel, heard: list[Example], inputs_of: Inputs
) -> None:
    inputs = [inputs_of(small, model, example) for example in heard]
    assert_logprobs_equal_the_own_forward(model, heard, inputs, TEXTS, atol=5e-5, rtol=2e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_shared_prefix_equals_repeated_prompt(
    model: QwenSpeechModel, heard: list[Example], attention: str, checkpointing: bool
) -> None:
    model.language_model.set_attn_implementation(attention)
    if checkpointing:
        model.gradient_checkpointing_enable()
    model.train()
    texts = [[*TEXTS, ""]] * 3
    assert_shared_prefix_equals_repeated_prompt(model, heard, texts)
    for is_packed in (False, True):
        loss_and_gradients(model, heard, texts, is_packed=is_packed)
        # What learns is reached: data-parallel training waits for it.
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
        for part in model.parts.values():
            assert any(p.grad is not None and p.grad.any() for p in part.parameters())


def test_a_batch_equals_one_by_one_and_text_alone_is_asked_too(model: QwenSpeechModel, heard: list[Example]) -> None:
    text_alone = dataclasses.replace(heard[0], id="text", audio=None, instruction="Who?")
    system = model.default_system_prompt
    asked = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n"
    assert_a_batch_equals_one_by_one(model, heard, text_alone, asked)


def test_an_answer_ends_with_its_turn_and_holds_no_other_special_token(model: QwenSpeechModel) -> None:
    words = model.tokenizer
    assert words.decode([model.end_token]) == "<|im_end|>" and not model.suppressed[model.end_token]
    special = [token for token in words.get_vocab() if token.startswith("<|") and token != "<|im_end|>"]
    assert len(special) == 9 and model.suppressed[words.convert_tokens_to_ids(special)].all()
    assert model.suppressed[len(words) :].all() and len(words) < len(model.suppressed)
    text = "Äpfel, 日本語\tund émigré!"
    assert model.texts_of(model.completions_of([[text]])) == [[text]]


def test_save_and_load_round_trip(model: QwenSpeechModel, heard: list[Example], tmp_path: Path) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    again = assert_saved_is_loaded_again(model, heard, tmp_path, f"(train={ALL})")
    assert model.longest == again.longest


def test_a_frozen_copy_shares_what_is_frozen_and_stays(small: Any, heard: list[Example]) -> None:
    model = small.adapter(str(small.folder))
    copy = assert_a_frozen_copy_stays(model, heard)
    frozen = [p for p in model.parameters() if not p.requires_grad]
    assert {id(p) for p in frozen} == {id(p) for p in model.parameters()} & {id(p) for p in copy.parameters()}
    assert next(model.parts["encoder"].parameters()) in set(frozen)


def test_a_frozen_encoder_hears_once_while_the_projector_learns(
    small: Any, heard: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small.adapter(str(small.folder), train="projector")
    completions = model.completions_of([["Anna"]] * 3)
    model(heard, completions)
    monkeypatch.setattr(type(model), "encode", None)
    model(heard, completions)[0].sum().backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None}
    assert moved == {name for name, p in model.named_parameters() if p.requires_grad} and len(moved) == 2


def test_grpo_trains_it(small: Any, few_manifest: Path, tmp_path: Path) -> None:
    model = small.adapter(str(small.folder))
    moved = moved_by_grpo(model, few_manifest, tmp_path)
    learnt = {name for name, p in model.network.named_parameters() if p.requires_grad}
    assert moved == learnt and any("proj" in name for name in moved) and any("lm_head" in name for name in moved)


def test_lora_learns_on_it_and_is_saved_alone(small: Any, heard: list[Example], tmp_path: Path) -> None:
    model = small.adapter(str(small.folder), lora_rank=2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05)
    model.save(tmp_path)
    assert not list(tmp_path.glob("model*.safetensors"))
    again, completions = load_model(str(tmp_path)), model.completions_of([["Anna"]] * 3)
    assert torch.equal(again(heard, completions)[0], model(heard, completions)[0])


@pytest.mark.parametrize("train", ["projector+language_model", ALL])
def test_small_steps_beside_an_adapter_are_kept(small: Any, heard: list[Example], tmp_path: Path, train: str) -> None:
    assert_small_steps_beside_an_adapter_are_kept(small.adapter, small.folder, heard, tmp_path, train)


def test_its_memory_is_told_without_its_weights(small: Any) -> None:
    card = show(str(small.folder), seconds=2.0, prompts=1, group_size=2, completion_tokens=4)
    model = small.adapter(str(small.folder))
    assert card.memory is not None and card.memory.peak > card.memory.weights > 0
    assert [part.parameters for part in card.parts] == [
        sum(p.numel() for p in part.parameters()) for part in model.parts.values()
    ]
    features = model.features(torch.zeros(2 * model.rate))
    with torch.no_grad():
        assert model.encoded_shape(features) == tuple(model.encode(features).shape)
