"""The estimate of memory against what a process really holds, on small models with and without what changes it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import (
    GraniteSpeechConfig,
    GraniteSpeechForConditionalGeneration,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    VoxtralConfig,
    VoxtralForConditionalGeneration,
    WhisperFeatureExtractor,
)

from speechbench.benchmarks.base import AUDIO_PLACEHOLDER
from speechbench.models.granite_speech import GraniteSpeech
from speechbench.models.loading import load_model
from speechbench.models.memory import Memory, Step, estimate
from speechbench.models.pretrained import PretrainedSpeechModel
from speechbench.models.tiny import Tiny
from speechbench.models.tiny_build import architecture, tokenizer
from speechbench.models.weightless import simulated, without_weights

# Two steps of what `estimate` walks through, with real tensors; prints the most that the process held, in bytes,
# over what it held before it had a model. The first steps, on a small model, load what torch loads on first use.
MEASURED = """
import gc, json, sys
from pathlib import Path
import numpy as np, soundfile, torch
torch.set_num_threads(1)
from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import Example
from speechbench.models.base import Completions
from speechbench.models.loading import load_model
from speechbench.models.tiny import Tiny
folder, options, step = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])

def memory(kind):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(kind)))

def train(model, instruction):
    if step["gradient_checkpointing"]:
        model.gradient_checkpointing_enable()
    model.train()
    reference = model.frozen_copy()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-6, fused=True)
    wav = Path(folder, "noise.wav")
    soundfile.write(wav, np.random.default_rng(0).standard_normal(int(16000 * step["seconds"])) * 0.1, 16000)
    examples = [Example("e", Audio(wav), instruction, ("a",), None, "en", "de")] * step["prompts"]
    shape = step["prompts"], step["group_size"], step["completion_tokens"]
    completions = Completions(torch.ones(shape).long() * 5, torch.ones(shape).bool(), torch.ones(shape[:2]).bool())
    for _ in range(2):
        with torch.no_grad():
            before = reference(examples, completions)[0]
        (model(examples, completions)[0] - before).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

train(Tiny(), "<|audio|> translate")
gc.collect()
start = memory("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
train(load_model(f"{folder}({options})"), "<|audio|> translate")
print(memory("VmHWM") - start)
"""
STEP = {"prompts": 2, "group_size": 4, "seconds": 6.0, "completion_tokens": 48, "gradient_checkpointing": False}


TEXT = {
    "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8, "num_attention_heads": 8,
    "num_key_value_heads": 4, "vocab_size": 8192, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some 30 million parameters of Granite Speech's architecture: enough to stand out from the libraries."""
    made = tmp_path_factory.mktemp("granite")
    words = tokenizer.build(["translate this"] * 40)
    small = architecture.config(words, AUDIO_PLACEHOLDER).to_dict()
    small["text_config"].update(hidden_size=512, intermediate_size=1536, num_hidden_layers=8, vocab_size=8192)
    small["text_config"].pop("head_dim", None)
    small["encoder_config"].update(hidden_dim=192, dim_head=48)
    small["projector_config"].update(encoder_hidden_size=192)
    GraniteSpeechForConditionalGeneration(GraniteSpeechConfig(**small)).save_pretrained(made)
    words.save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def qwen2_audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many of Qwen2-Audio's, which hears through 3,000 frames whatever the audio."""
    made = tmp_path_factory.mktemp("qwen2-audio")
    words = tokenizer.build(["translate this"] * 40)
    words.add_special_tokens({"additional_special_tokens": ["<|AUDIO|>", "<|im_start|>", "<|im_end|>"]})
    words.chat_template = None
    config = Qwen2AudioConfig(
        audio_config={
            "model_type": "qwen2_audio_encoder", "d_model": 256, "encoder_ffn_dim": 1024, "encoder_layers": 4,
            "encoder_attention_heads": 4, "num_mel_bins": 80,
        },
        text_config={"model_type": "qwen2", "max_position_embeddings": 4096, **TEXT},
        audio_token_index=words.convert_tokens_to_ids("<|AUDIO|>"),
    )  # fmt: skip
    Qwen2AudioForConditionalGeneration(config).save_pretrained(made)
    words.save_pretrained(made)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def voxtral(tmp_path_factory: pytest.TempPathFactory, tekken: Path) -> Path:
    """As many of Voxtral's, which stacks four of its encoder's frames."""
    made = tmp_path_factory.mktemp("voxtral")
    config = VoxtralConfig(
        audio_config={
            "hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4,
            "num_mel_bins": 80,
        },
        text_config={"model_type": "llama", "max_position_embeddings": 4096, "head_dim": 64, **TEXT},
        audio_token_id=24,
    )  # fmt: skip
    VoxtralForConditionalGeneration(config).save_pretrained(made)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(made)
    shutil.copy(tekken, made)
    return made


def estimated(folder: Path, options: str, step: dict[str, Any]) -> Memory:
    with without_weights():
        model = load_model(f"{folder}({options})")
    assert isinstance(model, PretrainedSpeechModel)
    prompt = len(model.prompt_ids(f"{AUDIO_PLACEHOLDER} translate")) - 1
    with simulated(model):
        return estimate(model, Step(**step, prompt_tokens=prompt))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is measured as Linux tells it")
@pytest.mark.parametrize(
    ("shape", "options", "more"),
    [
        ("folder", "", {}),
        ("folder", "train=encoder+projector+language_model", {"seconds": 12.0, "gradient_checkpointing": True}),
        ("qwen2_audio", "lora_rank=16", {"group_size": 8, "seconds": 12.0, "gradient_checkpointing": True}),
        ("voxtral", "", {}),
    ],
)
def test_the_estimate_is_within_15_percent_of_what_is_held(
    request: pytest.FixtureRequest, shape: str, options: str, more: dict[str, Any]
) -> None:
    folder, step = request.getfixturevalue(shape), {**STEP, **more}
    # Freed memory goes back at once, so that the most that is held is the most that is asked for.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    arguments = [sys.executable, "-c", MEASURED, str(folder), options, json.dumps(step)]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=True)
    measured = int(done.stdout.split()[-1])
    assert estimated(folder, options, step).peak == pytest.approx(measured, rel=0.15)


@pytest.mark.slow
def test_each_part_of_a_step_costs_what_it_should(folder: Path) -> None:
    plain = estimated(folder, "", STEP)
    lora = estimated(folder, "lora_rank=4", STEP)
    assert plain.optimizer == 2 * plain.gradients == 2 * plain.reference
    assert lora.gradients < plain.gradients / 10 and lora.weights > plain.weights
    assert estimated(folder, "dtype=bfloat16", STEP).weights < 0.51 * plain.weights
    more = estimated(folder, "", {**STEP, "group_size": 8})
    assert more.activations > 1.3 * plain.activations
    assert 1.3 * plain.sampling < more.sampling < 1.9 * plain.sampling, "prompts are held once, however large the group"
    assert estimated(folder, "", {**STEP, "gradient_checkpointing": True}).activations < plain.activations / 2
    assert estimated(folder, "", {**STEP, "with_reference": False}).reference == 0
    assert estimated(folder, "", {**STEP, "bf16": True}).sampling < plain.sampling


@pytest.mark.slow
def test_attention_of_gpus_is_walked_through_too(folder: Path) -> None:
    def under(attention: str) -> Memory:
        with without_weights():
            model = GraniteSpeech(str(folder))
        model.language_model.config._attn_implementation = attention
        with simulated(model):
            return estimate(model, Step(**STEP))

    packed, flex, repeated = (under(name) for name in ("sdpa", "flex_attention", "flash_attention_2"))
    assert flex == packed
    assert repeated.activations > 1.5 * packed.activations and repeated.sampling == packed.sampling


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_weights_are_those_of_the_loaded_model(dtype: str) -> None:
    real = Tiny(dtype=dtype)  # each part of its config names a dtype of its own, as those on the hub do
    with without_weights():
        empty = Tiny(dtype=dtype)
    assert [(n, p.shape, p.dtype) for n, p in empty.named_parameters()] == [
        (n, p.shape, p.dtype) for n, p in real.named_parameters()
    ]
    learning = [{n for n, p in model.named_parameters() if p.requires_grad} for model in (real, empty)]
    assert learning[0] == learning[1]
    assert all(p.is_meta for p in empty.parameters())
