"""What tests of every adapter hold: its operations against those of transformers' own network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from speechbench.benchmarks.base import Example
from speechbench.benchmarks.manifest import Manifest
from speechbench.models.base import Completions, Sampling
from speechbench.models.loading import load_model
from speechbench.models.pretrained import PretrainedSpeechModel
from speechbench.rewards.loading import load_reward
from speechbench.trainers import grpo

GREEDY = Sampling(temperature=0.0, max_tokens=12)
Inputs = Sequence[dict[str, torch.Tensor]]


def assert_greedy_sampling_equals_generate(
    model: PretrainedSpeechModel, examples: list[Example], inputs: Inputs
) -> Completions:
    """`inputs` is what the model's own processor makes of each example. Returns what was sampled."""
    ours, both = (model.sample(model.embed(examples), group, GREEDY) for group in (1, 2))
    forbidden = model.suppressed.nonzero()[:, 0].tolist()
    for row, given in enumerate(inputs):
        expected = model.network.generate(
            **given, do_sample=False, max_new_tokens=12, suppress_tokens=forbidden, eos_token_id=model.end_token,
            pad_token_id=model.end_token,
        )[0, given["input_ids"].shape[1] :]  # fmt: skip
        for written, member in [(ours, 0), (both, 0), (both, 1)]:  # alone, and where two share their prompt
            assert written.tokens[row, member][written.mask[row, member]].tolist() == expected.tolist()
    return ours


def assert_logprobs_equal_the_own_forward(
    model: PretrainedSpeechModel,
    examples: list[Example],
    inputs: Inputs,
    texts: list[str],
    atol: float = 2e-5,
    rtol: float = 1e-5,
    scaling: float = 1.0,
) -> None:
    """Of the same completions after each prompt; the network's own logits are divided by `scaling`."""
    completions = model.completions_of([texts] * len(examples))
    with torch.no_grad():
        ours = model.logprobs(model.embed(examples), completions, temperature=0.7)
        for p, given in enumerate(inputs):
            for c in range(len(texts)):
                tokens = completions.tokens[p, c][completions.mask[p, c]][None]
                ids = torch.cat([given["input_ids"], tokens], dim=1)
                out = model.network(**{**given, "input_ids": ids, "attention_mask": torch.ones_like(ids)})
                logits = out.logits[0, -tokens.shape[1] - 1 : -1] / 0.7 / scaling
                expected = logits.masked_fill(model.suppressed, -torch.inf).log_softmax(-1).gather(-1, tokens.T)
                torch.testing.assert_close(ours[p, c, : tokens.shape[1]], expected[:, 0], atol=atol, rtol=rtol)
    assert (ours[~completions.mask] == 0).all()


def assert_a_batch_equals_one_by_one(
    model: PretrainedSpeechModel, examples: list[Example], text_alone: Example, asked: str
) -> None:
    """Of audio of different lengths, with an example that has none, whose whole prompt is `asked`."""
    together = model.embed([*examples, text_alone])
    for row, example in enumerate(examples):
        alone = model.embed([example])
        torch.testing.assert_close(together.embeddings[row][together.mask[row]], alone.embeddings[0])
    table = model.language_model.get_input_embeddings()
    ids = torch.tensor(model.tokenizer.encode(asked, add_special_tokens=False))
    assert torch.equal(together.embeddings[-1][together.mask[-1]], table(ids))


def assert_a_frozen_copy_stays(model: PretrainedSpeechModel, examples: list[Example]) -> PretrainedSpeechModel:
    """While what learns is moved. Returns the copy."""
    copy, completions = model.frozen_copy(), model.completions_of([["Anna"]] * len(examples))
    before = copy(examples, completions)[0]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05)
    after = model(examples, completions)[0]
    assert torch.equal(copy(examples, completions)[0], before) and not torch.equal(after, before)
    assert next(copy.parts["encoder"].parameters()) is next(model.parts["encoder"].parameters())
    assert not any(p.requires_grad for p in copy.parameters())
    return copy


def assert_saved_is_loaded_again(
    model: PretrainedSpeechModel, examples: list[Example], folder: Path, more: str = ""
) -> PretrainedSpeechModel:
    """To the bit, prompts included; `more` is said in the spec's brackets. Returns what was loaded."""
    model.save(folder)
    again = load_model(f"{folder}{more}")
    assert isinstance(again, PretrainedSpeechModel) and type(again) is type(model)
    ours, theirs = model.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(model.embed(examples).embeddings, again.embed(examples).embeddings)
    text = "Listen <|audio|> ein Äpfel?"
    assert model.prompt_ids(text) == again.prompt_ids(text) and model.render(text) == again.render(text)
    return again


def moved_by_grpo(model: PretrainedSpeechModel, manifest: Path, folder: Path) -> set[str]:
    """Names of the network's weights that two steps on random rewards move; the trained model loads again."""
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    config = grpo.GrpoConfig(output_dir=folder, max_steps=2, per_device_train_batch_size=2, num_generations=4,
                             max_completion_length=8, learning_rate=1e-3)  # fmt: skip
    benchmark = Manifest(str(manifest))
    grpo.train(model, benchmark, load_reward("random", benchmark), config)
    assert type(load_model(str(folder / "checkpoints" / "final"))) is type(model)
    return {name for name, value in model.network.state_dict().items() if not torch.equal(before[name], value)}


def assert_small_steps_beside_an_adapter_are_kept(
    class_: Callable[..., PretrainedSpeechModel], checkpoint: Path, examples: list[Example], folder: Path, train: str
) -> None:
    """With weights in bfloat16, what learns moves by AdamW's 1e-6 a step, and is the same to the bit when saved."""
    options = {"dtype": "bfloat16", "lora_rank": 2, "train": train}
    model = class_(str(checkpoint), **options)
    writing = model.parts["language_model"].parameters()
    assert {p.dtype for p in writing if not p.requires_grad} == {torch.bfloat16}
    assert model.language_model.dtype == torch.bfloat16 and model.provenance()["dtype"] == "bfloat16"
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in learning.items()}
    completions = model.completions_of([["Anna"]] * len(examples))
    model.train()
    model(examples, completions)[0].sum().backward()
    torch.optim.AdamW(learning.values(), lr=1e-6, weight_decay=0.0).step()
    model.eval()
    of_parts = 0
    for name, weight in learning.items():
        assert weight.grad is not None
        felt = weight.grad.abs() > 1e-4  # far above AdamW's epsilon
        assert bool((weight != before[name])[felt].float().mean() > 0.95) or not felt.any(), name
        of_parts += int(felt.any()) * int(".lora_" not in name)
    assert of_parts
    model.save(folder)
    expected = model(examples, completions)[0]
    fresh = class_(str(checkpoint), **options)
    fresh.load_weights(folder)
    same, default = (load_model(f"{folder}(dtype=bfloat16{more})") for more in (f", train={train}", ""))
    for again in (fresh, same, default):
        assert torch.equal(again(examples, completions)[0], expected)
        assert again.sample(again.embed(examples), 2, GREEDY).mask.any()
