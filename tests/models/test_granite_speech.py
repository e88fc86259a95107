"""The three operations against the model's own generate and forward, on real classes with random weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from speechbench.benchmarks.base import Example
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.models.base import Completions, Sampling
from speechbench.models.features import log_mel
from speechbench.models.granite_speech import GraniteSpeech
from speechbench.models.loading import load_model
from speechbench.models.tiny import Tiny

GREEDY = Sampling(temperature=0.0, max_tokens=12)


def inputs_of(model: GraniteSpeech, example: Example) -> dict[str, torch.Tensor]:
    """What the model's own processor makes of an example: the placeholder repeated once per audio embedding."""
    assert example.audio is not None
    features = log_mel(torch.from_numpy(example.audio.samples(16000)))[None]
    tokens = 3 * -(-features.shape[1] // 15)
    text = model._prompt(example.instruction).replace("<|audio|>", "<|audio|>" * tokens)
    ids = torch.tensor([model.tokenizer.encode(text, add_special_tokens=False)])
    return {"input_ids": ids, "input_features": features, "attention_mask": torch.ones_like(ids)}


@pytest.fixture(params=["random", "tiny"])
def model(request: pytest.FixtureRequest, random_folder: Path) -> GraniteSpeech:
    return GraniteSpeech(str(random_folder)) if request.param == "random" else Tiny()


def test_greedy_sampling_equals_generate(model: GraniteSpeech, examples: list[Example]) -> None:
    ours = model.sample(model.embed(examples), 1, GREEDY)
    forbidden = [i for i in range(len(model.suppressed)) if model.suppressed[i]]
    for row, example in enumerate(examples):
        inputs = inputs_of(model, example)
        expected = model.granite.generate(
            **inputs, do_sample=False, max_new_tokens=12, suppress_tokens=forbidden, eos_token_id=model.end_token,
            pad_token_id=model.end_token,
        )[0, inputs["input_ids"].shape[1] :]  # fmt: skip
        assert ours.tokens[row, 0][ours.mask[row, 0]].tolist() == expected.tolist()


def test_logprobs_equal_the_models_own_forward(model: GraniteSpeech, examples: list[Example]) -> None:
    completions = model.completions_of([["Anna sold it.", "drei rote Äpfel", "?"]] * 3)
    with torch.no_grad():
        ours = model.logprobs(model.embed(examples), completions, temperature=0.7)
        for p, example in enumerate(examples):
            for c in range(3):
                inputs = inputs_of(model, example)
                tokens = completions.tokens[p, c][completions.mask[p, c]][None]
                ids = torch.cat([inputs["input_ids"], tokens], dim=1)
                out = model.granite(
                    input_ids=ids, input_features=inputs["input_features"], attention_mask=torch.ones_like(ids)
                )
                logits = out.logits[0, -tokens.shape[1] - 1 : -1] / 0.7
                expected = logits.masked_fill(model.suppressed, -torch.inf).log_softmax(-1).gather(-1, tokens.T)
                torch.testing.assert_close(ours[p, c, : tokens.shape[1]], expected[:, 0], atol=2e-5, rtol=1e-5)
    assert (ours[~completions.mask] == 0).all()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_shared_prefix_equals_repeated_prompt(
    model: GraniteSpeech, examples: list[Example], attention: str, checkpointing: bool
) -> None:
    model.language_model.set_attn_implementation(attention)
    if checkpointing:
        model.granite.language_model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    completions = model.completions_of([["Anna sold it.", "drei rote Äpfel gekauft", "", "Who?"]] * 3)
    weights = torch.randn(3, 4, 1, generator=torch.Generator().manual_seed(0))

    def gradients(loss: torch.Tensor) -> tuple[float, torch.Tensor]:
        model.zero_grad()
        loss.backward()
        learning = [p for p in model.parameters() if p.requires_grad and p.grad is not None]
        return loss.item(), torch.cat([p.grad.flatten() for p in learning if p.grad is not None])

    shared, shared_gradient = gradients((model(examples, completions)[0] * weights).sum())
    repeated = torch.tensor(0.0)
    for p in range(3):
        for c in range(4):
            one = Completions(*(x[p : p + 1, c : c + 1] for x in (completions.tokens, completions.mask)),
                              completions.finished[p : p + 1, c : c + 1])  # fmt: skip
            repeated = repeated + (model(examples[p : p + 1], one)[0] * weights[p, c]).sum()
    expected, expected_gradient = gradients(repeated)
    assert abs(shared - expected) / abs(expected) < 1e-4
    assert (shared_gradient - expected_gradient).norm() / expected_gradient.norm() < 1e-4


def test_probabilities_sum_to_one_over_what_may_be_written(model: GraniteSpeech, examples: list[Example]) -> None:
    completions = model.completions_of([["Anna"], ["Peter"], ["?"]])
    with torch.no_grad():
        probabilities = model.log_distribution(model.embed(examples), completions, temperature=1.3).exp()
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(completions.tokens.shape), atol=1e-5, rtol=0)
    assert (probabilities[..., model.suppressed] == 0).all() and not model.suppressed[model.end_token]


def test_sampling_follows_the_probabilities_and_never_writes_special_tokens(
    random_model: GraniteSpeech, examples: list[Example]
) -> None:
    prompts = random_model.embed(examples[:1])
    first = random_model.sample(prompts, 4000, Sampling(max_tokens=1)).tokens[0, :, 0]
    with torch.no_grad():
        expected = random_model.log_distribution(prompts, random_model.completions_of([["?"]]))[0, 0, 0].exp()
    counts = torch.bincount(first, minlength=len(expected)) / 4000
    assert not counts[random_model.suppressed].any()
    assert 0.5 * (counts - expected).abs().sum() < 0.5 * (expected * (1 - expected) / 4000).sqrt().sum() * 1.5


def test_a_rows_randomness_is_its_own(random_model: GraniteSpeech, examples: list[Example]) -> None:
    sampling = Sampling(max_tokens=6, seed=3, step=7)
    together = random_model.sample(random_model.embed(examples), 4, sampling)
    for row, example in enumerate(examples):
        alone = random_model.sample(random_model.embed([example]), 3, sampling)
        for member in range(3):
            assert together.tokens[row, member][together.mask[row, member]].tolist() == (
                alone.tokens[0, member][alone.mask[0, member]].tolist()
            )
    other = random_model.sample(random_model.embed(examples), 4, dataclasses.replace(sampling, step=8))
    assert random_model.texts_of(other) != random_model.texts_of(together)


def test_a_batch_equals_one_by_one(model: GraniteSpeech, examples: list[Example]) -> None:
    together = model.embed(examples)
    for row, example in enumerate(examples):
        alone = model.embed([example])
        torch.testing.assert_close(together.embeddings[row][together.mask[row]], alone.embeddings[0])


def test_save_and_load_round_trip(model: GraniteSpeech, examples: list[Example], tmp_path: Path) -> None:
    model.save(tmp_path)
    again = load_model(str(tmp_path))
    assert model.texts_of(model.sample(model.embed(examples), 2, GREEDY)) == again.texts_of(
        again.sample(again.embed(examples), 2, GREEDY)
    )
    prompt, other = model._prompt("<|audio|> Äpfel?"), again._prompt("<|audio|> Äpfel?")  # type: ignore[attr-defined]
    assert prompt == other


def test_any_text_can_be_written(model: GraniteSpeech) -> None:
    texts = ["Äpfel, 日本語 und émigré!", "tab\tnew\nline"]
    assert model.texts_of(model.completions_of([texts])) == [texts]


def test_frozen_parts_are_shared_and_the_copy_stays(random_model: GraniteSpeech, examples: list[Example]) -> None:
    copy = random_model.frozen_copy()
    completions = random_model.completions_of([["Anna"]] * 3)
    before = copy(examples, completions)[0]
    with torch.no_grad():
        for parameter in random_model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05)
    assert torch.equal(copy(examples, completions)[0], before)
    assert not torch.equal(random_model(examples, completions)[0], before)
    encoder = next(random_model.granite.encoder.parameters())
    assert next(copy.granite.encoder.parameters()) is encoder and not any(p.requires_grad for p in copy.parameters())


def test_wrong_calls_are_named(random_folder: Path, examples: list[Example], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="encoder, projector, language_model"):
        GraniteSpeech(str(random_folder), train="ears")
    with pytest.raises(UsageError, match="no such folder"):
        GraniteSpeech(str(tmp_path / "missing" / "model"))
    with pytest.raises(SpeechbenchError, match="once, not 0 times"):
        GraniteSpeech(str(random_folder)).embed([dataclasses.replace(examples[0], instruction="no place for audio")])


def test_a_checkpoint_that_lacks_weights_is_refused(random_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in random_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["projector.linear.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SpeechbenchError, match=r"lacks weights .*projector\.linear\.weight"):
        GraniteSpeech(str(tmp_path))


def test_a_hub_name_without_a_hub_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingError, match="hf download nobody/no-such-model"):
        load_model("granite-speech(checkpoint=nobody/no-such-model)")
