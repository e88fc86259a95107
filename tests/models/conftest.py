"""A small random model of Granite Speech's real classes, and examples with real audio files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import GraniteSpeechForConditionalGeneration

from speechbench.benchmarks import templates
from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import AUDIO_PLACEHOLDER, Example
from speechbench.models.granite_speech import GraniteSpeech
from speechbench.models.tiny_build import architecture, tokenizer

TEXTS = ["Anna hat gestern drei rote Äpfel gekauft.", "There were nine old bottles.", "Who did it?"]


@pytest.fixture(scope="session")
def random_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights, large enough that its outputs are far from even."""
    folder = tmp_path_factory.mktemp("granite")
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
    GraniteSpeechForConditionalGeneration(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


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
