"""Checkpoints of the hub: found in its cache by name and revision, and recorded so that they are found again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from speechbench.benchmarks.base import Example
from speechbench.errors import SpeechbenchError
from speechbench.models.describing import show
from speechbench.models.granite_speech import GraniteSpeech
from speechbench.models.loading import load_model
from speechbench.models.reading import PROMPTING
from speechbench.models.weightless import FILES
from tests.models.learning import logprobs

OLD, NEW = "0" * 40, "1" * 40
NAME = "owner/granite-speech"


@pytest.fixture
def cache(random_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache with two commits of a repository, the newer of another system prompt, and no hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    place = tmp_path / "hub" / "models--owner--granite-speech"
    for commit in (OLD, NEW):
        shutil.copytree(random_folder, place / "snapshots" / commit)
    (place / "snapshots" / NEW / PROMPTING).write_text(json.dumps({"system_prompt": "Be brief."}))
    (place / "refs").mkdir()
    point_main_at(place, OLD)
    return place


def point_main_at(place: Path, commit: str) -> None:
    (place / "refs" / "main").write_text(commit)


def loaded(spec: str) -> GraniteSpeech:
    model = load_model(spec)
    assert isinstance(model, GraniteSpeech)
    return model


def test_the_commit_is_recorded_and_a_revision_pins_it(cache: Path) -> None:
    told = loaded(NAME).provenance()
    assert (told["checkpoint"], told["revision"]) == (NAME, OLD)
    point_main_at(cache, NEW)
    moved, pinned = loaded(NAME), loaded(f"{NAME}(revision='{OLD}')")
    assert [m.provenance()["revision"] for m in (moved, pinned)] == [NEW, OLD]
    assert (moved.system_prompt, moved.fingerprint) != (pinned.system_prompt, pinned.fingerprint)
    assert told["prompt_sha256"] == pinned.provenance()["prompt_sha256"] != moved.provenance()["prompt_sha256"]


@pytest.mark.parametrize("by_path", [False, True])
def test_an_adapter_finds_the_commit_that_it_was_trained_on(
    cache: Path, examples: list[Example], tmp_path: Path, by_path: bool
) -> None:
    model = loaded(f"{cache / 'snapshots' / OLD if by_path else NAME}(lora_rank=2)")
    model.save(tmp_path / "saved")
    point_main_at(cache, NEW)
    again = loaded(str(tmp_path / "saved"))
    assert torch.equal(logprobs(again, examples), logprobs(model, examples))
    assert again.base == model.base is not None
    assert again.base.revision == (None if by_path else OLD)


def test_a_name_is_shown_though_only_its_config_was_looked_at(
    cache: Path, random_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = cache / "snapshots" / OLD, []
    for file in folder.iterdir():
        if file.name != "config.json":
            file.unlink()

    def download(*_: Any, allow_patterns: list[str], local_files_only: bool = False, **__: Any) -> str:
        if not local_files_only:
            asked.append(allow_patterns)
            for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
                shutil.copy(random_folder / name, folder)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: None)
    card = show(NAME, seconds=1.0, prompts=1, group_size=1, completion_tokens=2)
    assert card.memory is not None and asked == [list(FILES)] and not list(folder.glob("*.safetensors"))


def test_weights_that_nobody_reads_make_no_other_model(random_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(random_folder, tmp_path / "copy"))
    (folder / "consolidated.safetensors").write_text("the same once more, in Mistral's format")
    assert GraniteSpeech(str(folder)).fingerprint == GraniteSpeech(str(random_folder)).fingerprint
    (folder / "model.safetensors").unlink()
    with pytest.raises(SpeechbenchError, match=r"lacks its weights: it holds no \*\.safetensors file"):
        GraniteSpeech(str(folder))
