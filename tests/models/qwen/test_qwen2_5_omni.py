"""What is Qwen2.5-Omni's own: the thinker inside a whole checkpoint, its encoder's windows, and its positions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from speechbench.benchmarks.audio import SHORTEST
from speechbench.benchmarks.base import Example
from speechbench.errors import SpeechbenchError
from speechbench.models.loading import load_model
from speechbench.models.qwen2_5_omni import Qwen25OmniThinker

WINDOW = 4  # seconds, of the small feature extractor
BLOCK = 8000  # samples that the small encoder attends to at once


@pytest.fixture(scope="module")
def model(omni: Any) -> Qwen25OmniThinker:
    return Qwen25OmniThinker(str(omni.folder), train="encoder+projector+language_model")


@pytest.mark.slow
@example(int(SHORTEST * 16000))
@example(BLOCK)
@example(BLOCK + 1)
@example(WINDOW * 16000 - 1)
@example(WINDOW * 16000)
@settings(max_examples=15, deadline=None)
@given(st.integers(int(SHORTEST * 16000), WINDOW * 16000))
def test_the_encoder_and_its_last_layer_equal_the_models_own(model: Qwen25OmniThinker, length: int) -> None:
    samples = np.random.default_rng(length).standard_normal(length).astype(np.float32) * 0.1
    made = model.extractor(samples, sampling_rate=16000, return_attention_mask=True, return_tensors="pt")
    with torch.no_grad():
        own = model.network.get_audio_features(made["input_features"], feature_attention_mask=made["attention_mask"])
        encoded = model.encode(model.features(torch.from_numpy(samples)))
        ours = model.project([encoded, encoded[:1]])
    expected = own if isinstance(own, torch.Tensor) else own.last_hidden_state
    torch.testing.assert_close(ours[0], expected, atol=1e-5, rtol=1e-5)
    assert encoded.shape[1] == 16 and ours[1].shape == (1, 24)


def test_positions_with_audio_alone_are_plain(
    omni: Any, model: Qwen25OmniThinker, heard: list[Example], inputs_of: Callable[..., dict[str, torch.Tensor]]
) -> None:
    for one in heard:
        inputs = inputs_of(omni, model, one)
        lengths = inputs["feature_attention_mask"].sum(-1)
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        positions, shift = model.network.get_rope_index(ids, None, None, mask, False, lengths, None)
        assert torch.equal(positions.long(), torch.arange(ids.shape[1]).expand(3, 1, -1)) and int(shift) == 0


def test_the_thinker_alone_is_read_of_a_whole_checkpoint_and_saved(
    omni: Any, model: Qwen25OmniThinker, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(omni.folder, tmp_path / "copy"))
    weights = load_file(copy / "model.safetensors")
    assert all(name.startswith("thinker.") for name in weights)
    voice = {"talker.codec_head.weight": torch.ones(2, 2), "token2wav.code2wav_dit_model.norm": torch.ones(2)}
    save_file({**weights, **voice}, copy / "model.safetensors", metadata={"format": "pt"})
    whole = load_model(str(copy))
    assert isinstance(whole, Qwen25OmniThinker)
    assert all(torch.equal(tensor, whole.state_dict()[name]) for name, tensor in model.state_dict().items())
    whole.save(tmp_path / "thinker")
    assert json.loads((tmp_path / "thinker" / "config.json").read_text())["model_type"] == "qwen2_5_omni_thinker"
    assert not any("tal" in name or "wav" in name for name in load_file(tmp_path / "thinker" / "model.safetensors"))
    assert isinstance(load_model(f"qwen2.5-omni(checkpoint={tmp_path}/thinker)"), Qwen25OmniThinker)


def test_what_audio_does_not_reach_never_learns(model: Qwen25OmniThinker) -> None:
    still = {name for name, weight in model.network.named_parameters() if not weight.requires_grad}
    assert all("visual." in name or "audio_bos_eos_token" in name for name in still)
    assert len(still) == 1 + len(list(model.core.visual.parameters()))


@pytest.mark.parametrize(
    ("file", "spoil", "says"),
    [
        ("preprocessor_config.json", Path.unlink, r"lacks its processor: it holds no preprocessor_config\.json"),
        ("chat_template.json", Path.unlink, "its tokenizer has no chat template"),
        ("chat_template.json", lambda path: path.write_text("{"), r"chat_template\.json is no JSON"),
        ("model.safetensors", lambda path: save_file({"talker.a": torch.ones(1)}, path, {"format": "pt"}),
         "lacks weights that its config.json asks for"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_is_not_whole_is_refused(
    omni: Any, tmp_path: Path, file: str, spoil: Callable[[Path], object], says: str
) -> None:
    spoil(Path(shutil.copytree(omni.folder, tmp_path / "copy")) / file)
    with pytest.raises(SpeechbenchError, match=rf"{tmp_path}/copy.*{says}.*; copy, download"):
        Qwen25OmniThinker(str(tmp_path / "copy"))


def test_the_hubs_prompt_and_limit(model: Qwen25OmniThinker) -> None:
    assert model.render("<|audio|> translate").endswith(
        "as well as generating text and speech.<|im_end|>\n<|im_start|>user\n<|audio_bos|><|AUDIO|><|audio_eos|>"
        " translate<|im_end|>\n<|im_start|>assistant\n"
    )
    assert (Qwen25OmniThinker.longest, model.longest) == (300.0, WINDOW)
