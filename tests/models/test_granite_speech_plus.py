"""What Granite Speech Plus has of its own; its three operations are tested with Granite Speech's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

from speechbench.benchmarks.base import Example
from speechbench.benchmarks.manifest import Manifest
from speechbench.errors import MissingError
from speechbench.models.checkpoint import CONFIG
from speechbench.models.features import log_mel
from speechbench.models.granite_speech_plus import GraniteSpeechPlus
from speechbench.models.loading import load_model
from speechbench.rewards.loading import load_reward
from speechbench.trainers import grpo


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
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    config = grpo.GrpoConfig(output_dir=tmp_path, max_steps=2, per_device_train_batch_size=2, num_generations=4,
                             max_completion_length=8, learning_rate=1e-3)  # fmt: skip
    benchmark = Manifest(str(few_manifest))
    grpo.train(model, benchmark, load_reward("random", benchmark), config)
    moved = {name for name, value in model.network.state_dict().items() if not torch.equal(before[name], value)}
    assert any("projector" in name for name in moved) and not any(".encoder.layers" in name for name in moved)
    assert isinstance(load_model(str(tmp_path / "checkpoints" / "final")), GraniteSpeechPlus)


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
