"""A small random model of Granite Speech's real classes, and examples with real audio files."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import transformers

from speechbench.benchmarks import templates
from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import AUDIO_PLACEHOLDER, Example
from speechbench.models.granite_speech import GraniteSpeech
from speechbench.models.tiny_build import architecture, tokenizer

TEXTS = ["Anna hat gestern drei rote Äpfel gekauft.", "There were nine old bottles.", "Who did it?"]


def random_checkpoint(folder: Path, architecture_name: str) -> Path:
    """A checkpoint with random weights, large enough that its outputs are far from even."""
    torch.manual_seed(0)
    words = tokenizer.build([*TEXTS, templates.translation("de"), templates.question("")] * 20)
    config = architecture.config(words, AUDIO_PLACEHOLDER)
    config.encoder_config.num_layers = 2
    config.text_config.num_hidden_layers = 2
    config.text_config.num_key_value_heads = 2
    config.text_config.embedding_multiplier = 3.0
    config.text_config.residual_multiplier = 0.5
    config.text_config.logits_scaling = 0.25
    config.initializer_range = config.text_config.initializer_range = 0.1
    if architecture_name == "GraniteSpeechPlus":
        parts = config.to_dict()
        parts["encoder_config"].update(model_type="granite_speech_plus_encoder", cat_hidden_layers=[1])
        parts["projector_config"]["encoder_hidden_size"] *= 2
        names = ("text_config", "encoder_config", "projector_config", "audio_token_index", "window_size",
                 "downsample_rate", "has_lora_adapter", "initializer_range")  # fmt: skip
        config = transformers.GraniteSpeechPlusConfig(**{name: parts[name] for name in names})
    getattr(transformers, f"{architecture_name}ForConditionalGeneration")(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def random_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("granite"), "GraniteSpeech")


@pytest.fixture(scope="session")
def plus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not hasattr(transformers, "GraniteSpeechPlusForConditionalGeneration"):
        pytest.skip("transformers knows Granite Speech Plus from 5 on")
    return random_checkpoint(tmp_path_factory.mktemp("plus"), "GraniteSpeechPlus")


@pytest.fixture
def random_model(random_folder: Path) -> GraniteSpeech:
    return GraniteSpeech(str(random_folder))


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """Three examples of different lengths and instructions."""
    folder = tmp_path_factory.mktemp("audio")
    made = []
    instructions = [templates.translation("de"), templates.question("Who did it?"), templates.translation("fr")]
    for number, (instruction, reference) in enumerate(zip(instructions, TEXTS, strict=True)):
        rng = np.random.default_rng(number)
        path = folder / f"{number}.wav"
        soundfile.write(path, rng.standard_normal(9000 + 5000 * number) * 0.1, 16000)
        made.append(Example(f"e{number}", Audio(path), instruction, (reference,), "spoken words", "en", "de"))
    return made


@pytest.fixture(scope="session")
def tekken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mistral's tokenizer file, as that of Voxtral but for its size: 30 special tokens, 26 of them named."""
    names = {0: "<unk>", 1: "<s>", 2: "</s>", 3: "[INST]", 4: "[/INST]", 11: "<pad>", 17: "[SYSTEM_PROMPT]",
             18: "[/SYSTEM_PROMPT]", 24: "[AUDIO]", 25: "[BEGIN_AUDIO]"}  # fmt: skip
    named = [{"rank": i, "token_str": names.get(i, f"[{i}]"), "is_control": True} for i in range(26)]
    words = [bytes([byte]) for byte in range(256)]
    for word in [
        b" a",
        b"ie",
        b"in",
        b"er",
        b"st",
        b" s",
        b"ei",
        b"an",
        b" d",
        b"ist",
        b" st",
        b"ein",
        b" ein",
        b" in",
    ]:
        words.append(word)
    pattern = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    beyond = [{"rank": len(words), "token_bytes": base64.b64encode(b"beyond").decode(), "token_str": "beyond"}]
    content = {
        "config": {"pattern": pattern, "default_vocab_size": 30 + len(words), "default_num_special_tokens": 30},
        "vocab": [
            {"rank": rank, "token_bytes": base64.b64encode(word).decode(), "token_str": None}
            for rank, word in enumerate(words)
        ] + beyond,
        "special_tokens": named,
    }  # fmt: skip
    path = tmp_path_factory.mktemp("tekken") / "tekken.json"
    path.write_text(json.dumps(content))
    return path
