"""The three operations of Qwen's models against their own generate and forward, on what their own processors make."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from speechbench.benchmarks.base import Example
from speechbench.benchmarks.manifest import Manifest
from speechbench.models.base import Completions, Sampling
from speechbench.models.describing import show
from speechbench.models.loading import load_model
from speechbench.models.qwen import QwenSpeechModel
from speechbench.rewards.loading import load_reward
from speechbench.trainers import grpo

GREEDY = Sampling(temperature=0.0, max_tokens=12)
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
    ours = model.sample(model.embed(heard), 1, GREEDY)
    forbidden = model.suppressed.nonzero()[:, 0].tolist()
    for row, example in enumerate(heard):
        inputs = inputs_of(small, model, example)
        expected = model.network.generate(
            **inputs, do_sample=False, max_new_tokens=12, suppress_tokens=forbidden, eos_token_id=model.end_token,
            pad_token_id=model.end_token,
        )[0, inputs["input_ids"].shape[1] :]  # fmt: skip
        assert ours.tokens[row, 0][ours.mask[row, 0]].tolist() == expected.tolist()
    assert len({tuple(row) for row in ours.tokens[:, 0].tolist()}) == 3  # the model hears a difference


def test_logprobs_equal_the_models_own_forward(
    small: Any, model: QwenSpeechModel, heard: list[Example], inputs_of: Inputs
) -> None:
    completions = model.completions_of([TEXTS] * 3)
    with torch.no_grad():
        ours = model.logprobs(model.embed(heard), completions, temperature=0.7)
        for p, example in enumerate(heard):
            inputs = inputs_of(small, model, example)
            for c in range(3):
                tokens = completions.tokens[p, c][completions.mask[p, c]][None]
                ids = torch.cat([inputs["input_ids"], tokens], dim=1)
                out = model.network(**{**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)})
                logits = out.logits[0, -tokens.shape[1] - 1 : -1] / 0.7
                expected = logits.masked_fill(model.suppressed, -torch.inf).log_softmax(-1).gather(-1, tokens.T)
                torch.testing.assert_close(ours[p, c, : tokens.shape[1]], expected[:, 0], atol=5e-5, rtol=2e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_shared_prefix_equals_repeated_prompt(
    model: QwenSpeechModel, heard: list[Example], attention: str, checkpointing: bool
) -> None:
    model.language_model.set_attn_implementation(attention)
    if checkpointing:
        model.gradient_checkpointing_enable()
    model.train()
    completions = model.completions_of([[*TEXTS, ""]] * 3)
    weights = torch.randn(3, 4, 1, generator=torch.Generator().manual_seed(0))

    def gradients(loss: torch.Tensor) -> tuple[float, torch.Tensor]:
        model.zero_grad()
        loss.backward()
        learning = [p for p in model.parameters() if p.requires_grad]
        assert all(p.grad is not None for p in learning)  # what learns is reached: data-parallel training waits for it
        return loss.item(), torch.cat([p.grad.flatten() for p in learning if p.grad is not None])

    shared, shared_gradient = gradients((model(heard, completions)[0] * weights).sum())
    repeated = torch.tensor(0.0)
    for p in range(3):
        for c in range(4):
            one = Completions(*(x[p : p + 1, c : c + 1] for x in (completions.tokens, completions.mask)),
                              completions.finished[p : p + 1, c : c + 1])  # fmt: skip
            repeated = repeated + (model(heard[p : p + 1], one)[0] * weights[p, c]).sum()
    expected, expected_gradient = gradients(repeated)
    assert abs(shared - expected) / abs(expected) < 1e-4
    assert (shared_gradient - expected_gradient).norm() / expected_gradient.norm() < 1e-4
    for part in model.parts.values():
        assert any(p.grad is not None and p.grad.any() for p in part.parameters())


def test_a_batch_equals_one_by_one_and_text_alone_is_asked_too(model: QwenSpeechModel, heard: list[Example]) -> None:
    together = model.embed([*heard, dataclasses.replace(heard[0], id="text", audio=None, instruction="Who?")])
    for row, example in enumerate(heard):
        alone = model.embed([example])
        torch.testing.assert_close(together.embeddings[row][together.mask[row]], alone.embeddings[0])
    table = model.language_model.get_input_embeddings()
    system = model.default_system_prompt
    asked = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n"
    ids = torch.tensor(model.tokenizer.encode(asked, add_special_tokens=False))
    assert torch.equal(together.embeddings[3][together.mask[3]], table(ids))


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
    model.save(tmp_path)
    again = load_model(f"{tmp_path}(train={ALL})")
    assert type(again) is type(model)
    ours, theirs = model.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(model.embed(heard).embeddings, again.embed(heard).embeddings)
    text = "Listen <|audio|> ein Äpfel?"
    assert model.prompt_ids(text) == again.prompt_ids(text) and model.render(text) == again.render(text)
    assert model.longest == again.longest


def test_a_frozen_copy_shares_what_is_frozen_and_stays(small: Any, heard: list[Example]) -> None:
    model = small.adapter(str(small.folder))
    copy, completions = model.frozen_copy(), model.completions_of([["Anna"]] * 3)
    before = copy(heard, completions)[0]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05)
    assert torch.equal(copy(heard, completions)[0], before) and not torch.equal(model(heard, completions)[0], before)
    frozen = [p for p in model.parameters() if not p.requires_grad]
    assert {id(p) for p in frozen} == {id(p) for p in model.parameters()} & {id(p) for p in copy.parameters()}
    assert next(model.parts["encoder"].parameters()) in set(frozen)
    assert not any(p.requires_grad for p in copy.parameters())


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
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    config = grpo.GrpoConfig(output_dir=tmp_path, max_steps=2, per_device_train_batch_size=2, num_generations=4,
                             max_completion_length=8, learning_rate=1e-3)  # fmt: skip
    benchmark = Manifest(str(few_manifest))
    grpo.train(model, benchmark, load_reward("random", benchmark), config)
    moved = {name for name, value in model.network.state_dict().items() if not torch.equal(before[name], value)}
    learnt = {name for name, p in model.network.named_parameters() if p.requires_grad}
    assert moved == learnt and any("proj" in name for name in moved) and any("lm_head" in name for name in moved)
    assert type(load_model(str(tmp_path / "checkpoints" / "final"))) is type(model)


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
