"""Granite Speech's shipped adapter: kept, trained on or merged, always on, and the reference is the model before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GraniteSpeechForConditionalGeneration, PreTrainedModel

from speechbench.benchmarks.base import Example
from speechbench.errors import SpeechbenchError
from speechbench.models.base import Sampling
from speechbench.models.checkpoint import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from speechbench.models.features import log_mel
from speechbench.models.granite_speech import GraniteSpeech
from speechbench.models.loading import load_model
from tests.models.learning import learning_names, logprobs, train_a_little


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory, random_folder: Path) -> Path:
    """A checkpoint as the hub has it, made by transformers and peft alone; then moved, as downloads are."""
    made, folder = (tmp_path_factory.mktemp(name) / "granite" for name in ("made", "shipped"))
    network = GraniteSpeechForConditionalGeneration.from_pretrained(random_folder)
    network.config.has_lora_adapter = True
    network.save_pretrained(made)
    network.add_adapter(LoraConfig(r=3, lora_alpha=12, lora_dropout=0.1, target_modules=["q_proj", "v_proj"]))
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".lora_B" in name:
                parameter.normal_(std=0.3)
    PreTrainedModel.save_pretrained(network, str(made))  # the adapter; Granite's own save in 5 renames the base too
    AutoTokenizer.from_pretrained(random_folder).save_pretrained(made)
    shutil.move(made, folder)
    return folder


def own(folder: Path) -> GraniteSpeechForConditionalGeneration:
    """What transformers itself makes of the folder, once its adapter says where the base is."""
    settings = json.loads((folder / ADAPTER_CONFIG).read_text())
    (folder / ADAPTER_CONFIG).write_text(json.dumps({**settings, "base_model_name_or_path": str(folder)}))
    return GraniteSpeechForConditionalGeneration.from_pretrained(folder).eval()


def inputs_of(model: GraniteSpeech, example: Example) -> dict[str, torch.Tensor]:
    assert example.audio is not None
    features = log_mel(torch.from_numpy(example.audio.samples(16000)))[None]
    text = model.render(example.instruction).replace("<|audio|>", "<|audio|>" * (3 * -(-features.shape[1] // 15)))
    ids = torch.tensor([model.tokenizer.encode(text, add_special_tokens=False)])
    return {"input_ids": ids, "input_features": features, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize("mode", ["keep", "train", "merge"])
def test_it_answers_as_transformers_own_generate(
    shipped: Path, random_model: GraniteSpeech, examples: list[Example], tmp_path: Path, mode: str
) -> None:
    model = GraniteSpeech(str(shipped), adapter=mode)  # before `own` mends where the adapter says that its base is
    network = own(Path(shutil.copytree(shipped, tmp_path / "copy")))
    prompts = model.embed(examples)
    ours = model.sample(prompts, 1, Sampling(temperature=0.0, max_tokens=12))
    forbidden = model.suppressed.nonzero().flatten().tolist()
    for row, example in enumerate(examples):
        inputs = inputs_of(model, example)
        expected = network.generate(
            **inputs, do_sample=False, max_new_tokens=12, suppress_tokens=forbidden, eos_token_id=model.end_token,
            pad_token_id=model.end_token,
        )[0, inputs["input_ids"].shape[1] :]  # fmt: skip
        assert ours.tokens[row, 0][ours.mask[row, 0]].tolist() == expected.tolist()
        logits = network(**inputs).logits[0, -1].masked_fill(model.suppressed, -torch.inf)
        if not hasattr(network, "language_model"):  # transformers 5.23 left the division by this constant behind
            logits = logits / model.language_model.config.logits_scaling
        first = model.log_distribution(model.embed([example]), model.completions_of([["?"]]))[0, 0, 0]
        torch.testing.assert_close(first, logits.log_softmax(-1), atol=1e-3 if mode == "merge" else 2e-5, rtol=1e-5)
    assert not torch.allclose(logprobs(model, examples), logprobs(random_model, examples), atol=1e-2)


def test_an_answer_without_audio_leaves_it_on(shipped: Path, examples: list[Example]) -> None:
    model = GraniteSpeech(str(shipped))
    before = logprobs(model, examples)
    ids = inputs_of(model, examples[0])["input_ids"][:, :3]
    model.network.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=2, do_sample=False)
    assert torch.equal(logprobs(model, examples), before)


@pytest.mark.parametrize(
    ("options", "learns"),
    [
        ({}, "base_layer"),
        ({"adapter": "keep", "lora_rank": 2}, ".stage1."),
        ({"adapter": "train"}, ".stage0."),
        ({"adapter": "merge"}, "q_proj.weight"),
        ({"adapter": "merge", "lora_rank": 2}, ".stage0."),
        ({"train": "projector"}, "projector"),
    ],
)
def test_the_reference_is_the_model_before_training_and_a_saved_one_comes_back(
    shipped: Path, examples: list[Example], tmp_path: Path, options: dict[str, Any], learns: str
) -> None:
    model = GraniteSpeech(str(shipped), **options)
    names = learning_names(model)
    assert any(learns in name for name in names)
    kept = [] if model.learner == "stage0" else [name for name in names if ".stage0." in name]
    assert not kept and all((".lora_" in n or "projector" in n) for n in names if model.learner)
    before, copy = logprobs(model, examples), model.frozen_copy()
    torch.testing.assert_close(before, logprobs(GraniteSpeech(str(shipped)), examples), atol=1e-4, rtol=1e-4)
    ours = {id(p) for p in model.parameters()}
    assert sum(p.numel() for p in copy.parameters() if id(p) not in ours) == sum(
        p.numel() for p in model.parameters() if p.requires_grad
    )
    train_a_little(model, examples)
    trained = logprobs(model, examples)
    assert torch.equal(logprobs(copy, examples), before) and not torch.allclose(trained, before, atol=1e-3)
    model.save(tmp_path / "saved")
    again = load_model(str(tmp_path / "saved"))
    assert isinstance(again, GraniteSpeech)
    torch.testing.assert_close(logprobs(again, examples), trained, atol=1e-5, rtol=1e-5)
    fresh = GraniteSpeech(str(shipped), **options)
    fresh.load_weights(tmp_path / "saved")
    assert torch.equal(logprobs(fresh, examples), trained)
    holds_all = (tmp_path / "saved" / "model.safetensors").exists()
    assert holds_all == (model.learner is None)


def test_the_modes_are_the_same_model_with_other_weights_that_learn(shipped: Path) -> None:
    merged = GraniteSpeech(str(shipped), adapter="merge")
    assert not [name for name, _ in merged.network.named_parameters() if ".lora_" in name]
    assert merged.network.config.has_lora_adapter is False
    trained = GraniteSpeech(str(shipped), adapter="train")
    assert trained.provenance()["adapter"] == "train" and merged.provenance()["adapter"] == "merge"
    assert all(m.p == 0 for n, m in trained.network.named_modules() if "lora_dropout" in n and hasattr(m, "p"))


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        (ADAPTER_WEIGHTS, None, r"adapter_model\.safetensors is missing"),
        (ADAPTER_WEIGHTS, "no tensors", "cut off or broken"),
        (ADAPTER_CONFIG, '{"peft_type": "IA3"}', "of type 'IA3'; only LORA"),
        (ADAPTER_CONFIG, "{", "is no JSON"),
        ("model.safetensors", None, "lacks its weights"),
    ],
)
def test_a_broken_adapter_is_told(shipped: Path, tmp_path: Path, file: str, text: str | None, says: str) -> None:
    folder = Path(shutil.copytree(shipped, tmp_path / "copy"))
    (folder / file).unlink()
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(SpeechbenchError, match=says):
        GraniteSpeech(str(folder))


def test_an_adapter_of_another_network_is_told(shipped: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(shipped, tmp_path / "copy"))
    state = load_file(folder / ADAPTER_WEIGHTS)
    save_file({key.replace("layers.1", "layers.9"): value for key, value in state.items()}, folder / ADAPTER_WEIGHTS)
    with pytest.raises(SpeechbenchError, match=r"of another model: layers\.9\.self_attn\.q_proj is not in Granite"):
        GraniteSpeech(str(folder))
