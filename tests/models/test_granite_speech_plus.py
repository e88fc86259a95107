"""What Granite Speech Plus has of its own; its three operations are tested with Granite Speech's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

from speechbench.benchmarks.base import Example
from speechbench.errors import MissingError
from speechbench.models.checkpoint import CONFIG
from speechbench.models.features import log_mel
from speechbench.models.granite_speech_plus import GraniteSpeechPlus
from speechbench.models.loading import load_model
from tests.models.own_network import moved_by_grpo


def test_its_projector_hears_an_inner_layer_too(plus_folder: Path, examples: list[Example]) -> None:
    model = GraniteSpeechPlus(str(plus_folder))
    assert examples[2].audio is not None
    features = log_mel(torch.from_numpy(examples[2].audio.samples(16000)))
    with torch.no_grad():
        encoded = model.encode(features)
        expected = model.network.get_audio_features(features[None]).pooler_output[0]
        torch.testing.assert_close(model.project([encoded])[0], expected)
    assert encoded.shape[-1] == 2 * model.network.config.encoder_config.hidden_dim


def test_a_folder_of_it_is_known_by_its_config_and_grpo_trains_it(
    plus_folder: Path, few_manifest: Path, tmp_path: Path
) -> None:
    model = load_model(str(plus_folder))
    assert isinstance(model, GraniteSpeechPlus)
    moved = moved_by_grpo(model, few_manifest, tmp_path)
    assert any("projector" in name for name in moved) and not any(".encoder.layers" in name for name in moved)


def test_a_transformers_that_does_not_know_it_is_named(
    random_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if hasattr(transformers, GraniteSpeechPlus.architecture):
        monkeypatch.setattr(GraniteSpeechPlus, "architecture", "OfTransformers6")
    config = json.loads((random_folder / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps({**config, "model_type": "granite_speech_plus"}))
    (tmp_path / "model.safetensors").symlink_to(random_folder / "model.safetensors")
    with pytest.raises(MissingError, match=r"does not know: pip install -U 'transformers>=5'"):
        load_model(str(tmp_path))
