"""What is Qwen2-Audio's own: its window of 3,000 frames, its template, and what is wrong with a checkpoint."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import WhisperFeatureExtractor

from speechbench.benchmarks.audio import SHORTEST, Audio
from speechbench.benchmarks.base import Example
from speechbench.errors import SpeechbenchError
from speechbench.models.loading import load_model
from speechbench.models.qwen2_audio import Qwen2Audio

WINDOW = 4  # seconds, of the small model
PROMPT = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    "Listen to Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\n and say who<|im_end|>\n<|im_start|>assistant\n"
)
TEXT_ALONE = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + m['content'] + '<|im_end|>' }}{% endfor %}"


@pytest.fixture(scope="module")
def folder(qwen2_audio: Any) -> Path:
    found: Path = qwen2_audio.folder
    return found


@pytest.fixture(scope="module")
def model(folder: Path) -> Qwen2Audio:
    return Qwen2Audio(str(folder), train="encoder+projector+language_model")


@example(int(SHORTEST * 16000))
@example(399 * 160)
@example(399 * 160 + 1)
@example(WINDOW * 16000)
@settings(max_examples=15, deadline=None)
@given(st.integers(int(SHORTEST * 16000), WINDOW * 16000))
def test_cutting_the_padding_equals_masking_it(model: Qwen2Audio, length: int) -> None:
    """The reference is the audio half of the model's own forward: the whole window, padding masked, then dropped."""
    samples = np.random.default_rng(length).standard_normal(length).astype(np.float32) * 0.1
    made = model.extractor(samples, sampling_rate=16000, return_attention_mask=True, return_tensors="pt")
    tower = model.core.audio_tower
    positions, tokens = tower._get_feat_extract_output_lengths(made["attention_mask"].sum(-1))
    blocked = torch.zeros(1, 1, 1, 50 * WINDOW)
    blocked[..., int(positions) :] = -torch.inf
    with torch.no_grad():
        whole = tower(made["input_features"], attention_mask=blocked.expand(-1, -1, 50 * WINDOW, -1)).last_hidden_state
        ours = model.encode(model.features(torch.from_numpy(samples)))
    torch.testing.assert_close(ours, whole[0, : int(tokens)], atol=1e-5, rtol=1e-5)


def test_longer_audio_than_the_window_is_refused(model: Qwen2Audio, heard: list[Example], tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.full(16000 * WINDOW + 1, 0.1), 16000)
    with pytest.raises(
        SpeechbenchError, match=rf"'e0': its audio .*long\.wav lasts 4\.01 s, but .* takes {WINDOW} s at"
    ):
        model.embed([dataclasses.replace(heard[0], audio=Audio(path))])
    assert Qwen2Audio.longest == 30.0


def test_the_audio_is_asked_for_as_the_processor_does(
    folder: Path, model: Qwen2Audio, heard: list[Example], tmp_path: Path
) -> None:
    text = "Listen to <|audio|> and say who"
    assert model.render(text) == PROMPT
    with pytest.raises(SpeechbenchError, match="once, not 2 times"):
        model.embed([dataclasses.replace(heard[0], instruction="<|audio|> and <|audio|>")])
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    (copy / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": TEXT_ALONE}))
    assert Qwen2Audio(str(copy)).render(text) == PROMPT  # as the processor, which takes none of a tokenizer's
    own = "{% for m in messages %}{% for c in m.content %}{{ c.text if c.type == 'text' else '<|AUDIO|>' }}{% endfor %}"
    (copy / "chat_template.jinja").write_text(own + "|{% endfor %}")
    assert Qwen2Audio(str(copy)).render(text) == "You are a helpful assistant.|Listen to <|AUDIO|> and say who|"


def test_its_positions_stay_while_its_encoder_learns(model: Qwen2Audio) -> None:
    encoder = dict(model.parts["encoder"].named_parameters())
    assert {name for name, weight in encoder.items() if not weight.requires_grad} == {"embed_positions.weight"}


def test_a_folder_says_that_it_is_one(folder: Path) -> None:
    assert isinstance(load_model(str(folder)), Qwen2Audio)
    assert isinstance(load_model(f"qwen2-audio(checkpoint={folder},train=projector)"), Qwen2Audio)


def _of_other_bands(path: Path) -> None:
    WhisperFeatureExtractor(feature_size=9, chunk_length=WINDOW).save_pretrained(path.parent)


def _of_another_window(path: Path) -> None:
    WhisperFeatureExtractor(feature_size=8, chunk_length=WINDOW + 1).save_pretrained(path.parent)


def _with_another_audio_token(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "audio_token_index": 8}))


def _without_the_end(path: Path) -> None:
    path.write_text(path.read_text().replace("<|im_end|>", "<|no_end|>"))


@pytest.mark.parametrize(
    ("file", "spoil", "says"),
    [
        ("preprocessor_config.json", Path.unlink, r"lacks its processor: it holds no preprocessor_config\.json"),
        ("preprocessor_config.json", lambda path: path.write_text("{"), "is no feature extractor"),
        ("preprocessor_config.json", _of_other_bands, "its feature_size is 9, but the checkpoint's encoder takes 8"),
        ("preprocessor_config.json", _of_another_window, "in frames is 500, but the checkpoint's encoder takes 400"),
        ("tokenizer.json", Path.unlink, "lacks its tokenizer"),
        ("config.json", _with_another_audio_token, "does not put the audio into the prompt .* config names, 8"),
        ("chat_template.jinja", lambda path: path.write_text(TEXT_ALONE), "its chat template takes no audio: "),
        ("chat_template.jinja", lambda path: path.write_text("Hi!"), "does not put the audio into the prompt"),
        ("chat_template.json", lambda path: path.write_text("{}"), r"template\.json: its 'chat_template' is no text"),
        ("model.safetensors", Path.unlink, r"holds no \*\.safetensors file"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(
    folder: Path, tmp_path: Path, file: str, spoil: Callable[[Path], object], says: str
) -> None:
    spoil(Path(shutil.copytree(folder, tmp_path / "copy")) / file)
    with pytest.raises(SpeechbenchError, match=rf"{tmp_path}/copy.*{says}.*; copy, download"):
        Qwen2Audio(str(tmp_path / "copy"))


def test_a_tokenizer_without_the_end_of_a_turn_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    for file in copy.glob("*token*.json"):
        _without_the_end(file)
    with pytest.raises(SpeechbenchError, match=r"its tokenizer lacks <\|im_end\|>, which ends an answer; copy"):
        Qwen2Audio(str(copy))
