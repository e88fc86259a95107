"""Voxtral's three operations against the model's own generate and forward, on real classes with random weights."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from transformers import VoxtralConfig, VoxtralForConditionalGeneration, VoxtralProcessor, WhisperFeatureExtractor

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import Example
from speechbench.errors import SpeechbenchError
from speechbench.models.voxtral import Voxtral
from tests.models.learning import assert_shared_prefix_equals_repeated_prompt
from tests.models.own_network import (
    assert_a_batch_equals_one_by_one,
    assert_a_frozen_copy_stays,
    assert_greedy_sampling_equals_generate,
    assert_logprobs_equal_the_own_forward,
    assert_saved_is_loaded_again,
    assert_small_steps_beside_an_adapter_are_kept,
    moved_by_grpo,
)

WINDOW = 2  # seconds; the hub's checkpoints have 30
TEXTS = ["Anna ist hier.", "eins, zwei", "Who did it?"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tekken: Path) -> Path:
    """A checkpoint as the hub has it: config, weights, preprocessor_config.json and tekken.json."""
    folder = tmp_path_factory.mktemp("voxtral")
    torch.manual_seed(0)
    audio = {
        "hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_mel_bins": 8, "max_source_positions": 50 * WINDOW, "initializer_range": 0.3,
    }  # fmt: skip
    text = {
        "model_type": "llama", "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 320, "max_position_embeddings": 400,
        "initializer_range": 0.3, "tie_word_embeddings": False,
    }  # fmt: skip
    config = VoxtralConfig(audio_config=audio, text_config=text, audio_token_id=24)
    config.initializer_range = 0.3
    VoxtralForConditionalGeneration(config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=8, chunk_length=WINDOW).save_pretrained(folder)
    shutil.copy(tekken, folder)
    return folder


@pytest.fixture
def model(folder: Path) -> Voxtral:
    return Voxtral(str(folder), train="encoder+projector+language_model")


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """Less than a window, two windows, and three to the sample; the placeholder first, in the middle and last."""
    folder = tmp_path_factory.mktemp("audio")
    made = []
    instructions = ["<|audio|> translate it", "Listen to <|audio|> and say who", "What is said? <|audio|>"]
    for number, (seconds, instruction) in enumerate(zip([0.7, 3.1, 6.0], instructions, strict=True)):
        path = folder / f"{number}.wav"
        soundfile.write(path, np.random.default_rng(number).standard_normal(int(seconds * 16000)) * 0.1, 16000)
        made.append(Example(f"e{number}", Audio(path), instruction, (TEXTS[number],), "spoken", "en", "de"))
    return made


PROMPTS = ["[BEGIN_AUDIO]{}translate it", "Listen to[BEGIN_AUDIO]{}and say who", "What is said?[BEGIN_AUDIO]{}"]


def inputs_of(model: Voxtral, number: int, example: Example) -> dict[str, torch.Tensor]:
    """What the model's own processor makes of an example: its features, and one token per 80 ms of whole windows."""
    assert example.audio is not None
    samples = example.audio.samples(16000)
    features = VoxtralProcessor._retrieve_input_features(
        SimpleNamespace(feature_extractor=WhisperFeatureExtractor.from_pretrained(model.folder)), [samples],
        max_source_positions=100 * WINDOW, sampling_rate=16000, padding=True, truncation=False,
        pad_to_multiple_of=16000 * WINDOW, return_tensors="pt",
    )  # fmt: skip
    windows = -(-len(samples) // (16000 * WINDOW))
    text = f"<s>[INST]{PROMPTS[number].format('[AUDIO]' * (windows * 100 * WINDOW // 8))}[/INST]"
    ids = torch.tensor([model.tokenizer.encode(text, add_special_tokens=False)])
    return {"input_ids": ids, "input_features": features, "attention_mask": torch.ones_like(ids)}


def all_inputs(model: Voxtral, heard: list[Example]) -> list[dict[str, torch.Tensor]]:
    return [inputs_of(model, row, example) for row, example in enumerate(heard)]


def test_greedy_sampling_equals_generate(model: Voxtral, heard: list[Example]) -> None:
    ours = assert_greedy_sampling_equals_generate(model, heard, all_inputs(model, heard))
    assert len({tuple(row) for row in ours.tokens[:, 0].tolist()}) == 3  # the model hears a difference


def test_logprobs_equal_the_models_own_forward(model: Voxtral, heard: list[Example]) -> None:
    assert_logprobs_equal_the_own_forward(model, heard, all_inputs(model, heard), TEXTS)


@pytest.mark.parametrize("train", ["projector+language_model", "encoder+projector+language_model"])
def test_small_steps_beside_an_adapter_are_kept(folder: Path, heard: list[Example], tmp_path: Path, train: str) -> None:
    assert_small_steps_beside_an_adapter_are_kept(Voxtral, folder, heard, tmp_path, train)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_shared_prefix_equals_repeated_prompt(model: Voxtral, heard: list[Example], checkpointing: bool) -> None:
    if checkpointing:
        model.gradient_checkpointing_enable()
    model.train()
    assert_shared_prefix_equals_repeated_prompt(model, heard, [[*TEXTS, ""]] * 3)
    for part in model.parts.values():
        assert any(p.grad is not None and p.grad.any() for p in part.parameters())


def test_a_batch_equals_one_by_one(model: Voxtral, heard: list[Example]) -> None:
    text_alone = dataclasses.replace(heard[0], id="text", audio=None, instruction="Who?")
    assert_a_batch_equals_one_by_one(model, heard, text_alone, "<s>[INST]Who?[/INST]")


def test_save_and_load_round_trip(model: Voxtral, heard: list[Example], tmp_path: Path) -> None:
    assert_saved_is_loaded_again(model, heard, tmp_path)


def test_a_frozen_copy_shares_what_is_frozen_and_stays(folder: Path, heard: list[Example]) -> None:
    assert_a_frozen_copy_stays(Voxtral(str(folder)), heard)


def test_grpo_trains_it(folder: Path, few_manifest: Path, tmp_path: Path) -> None:
    moved = moved_by_grpo(Voxtral(str(folder)), few_manifest, tmp_path)
    assert any("projector" in n for n in moved) and any("lm_head" in n for n in moved)
    assert not any("audio_tower" in n for n in moved)


def _of_other_bands(path: Path) -> None:
    WhisperFeatureExtractor(feature_size=9, chunk_length=WINDOW).save_pretrained(path.parent)


def _with_another_audio_token(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "audio_token_id": 23}))


@pytest.mark.parametrize(
    ("file", "spoil", "says"),
    [
        ("preprocessor_config.json", Path.unlink, r"lacks its processor: it holds no preprocessor_config\.json"),
        ("preprocessor_config.json", lambda path: path.write_text("{"), "is no feature extractor"),
        ("preprocessor_config.json", _of_other_bands, "its feature_size is 9, but the checkpoint's encoder takes 8"),
        ("tekken.json", Path.unlink, "lacks its tokenizer"),
        ("config.json", _with_another_audio_token, r"disagree on the id of \[AUDIO\]"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(
    folder: Path, tmp_path: Path, file: str, spoil: Callable[[Path], object], says: str
) -> None:
    spoil(Path(shutil.copytree(folder, tmp_path / "copy")) / file)
    with pytest.raises(SpeechbenchError, match=rf"{tmp_path}/copy.*{says}.*; copy, download"):
        Voxtral(str(tmp_path / "copy"))


def test_audio_and_prompts_beyond_its_limits_are_refused(
    model: Voxtral, heard: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpeechbenchError, match=r"'e0': its prompt takes \d+ positions of the 400"):
        model.embed([dataclasses.replace(heard[0], instruction="<|audio|>" + "word " * 400)])
    with pytest.raises(SpeechbenchError, match="once, not 2 times"):
        model.embed([dataclasses.replace(heard[0], instruction="<|audio|> and <|audio|>")])
    monkeypatch.setattr(Voxtral, "longest", 6.0)
    monkeypatch.setattr(model, "_encoded", {})
    model.embed([heard[2]])
    with pytest.raises(SpeechbenchError, match=r"'e1'.* lasts 3\.1 s, but .* takes 3 s at most"):
        monkeypatch.setattr(Voxtral, "longest", 3.0)
        model.embed([heard[1]])
