"""`models list` and `models show`, through the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from speechbench.cli import main
from speechbench.models.tiny import Tiny


def shown(*arguments: str) -> dict[str, object]:
    done = CliRunner().invoke(main, ["models", "show", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    card: dict[str, object] = json.loads(done.stdout)
    return card


def test_show_counts_the_parameters_by_part() -> None:
    card, model = shown("tiny(train=projector)"), Tiny(train="projector")
    parts = {part["name"]: part for part in card["parts"]}  # type: ignore[attr-defined]
    assert set(parts) == set(model.parts)
    for name, part in model.parts.items():
        assert parts[name]["parameters"] == sum(p.numel() for p in part.parameters())
        assert parts[name]["learning"] == sum(p.numel() for p in part.parameters() if p.requires_grad)
    assert card["learning_share"] == pytest.approx(
        sum(p.numel() for p in model.parameters() if p.requires_grad) / sum(p.numel() for p in model.parameters())
    )


def test_show_tells_more_memory_for_a_larger_step() -> None:
    small, large = shown("tiny", "--group-size", "2"), shown("tiny", "--group-size", "8")
    assert large["memory"]["peak"] > small["memory"]["peak"]  # type: ignore[index]


def test_show_prints_parts_and_memory_for_people() -> None:
    done = CliRunner().invoke(main, ["models", "show", "tiny", "--completion-tokens", "16", "--no-reference"])
    assert done.exit_code == 0
    assert "224 k parameters, learns" in done.stdout and "model before training 0 MB" in " ".join(done.stdout.split())


def test_a_folder_without_its_weights_is_enough(random_folder: Path, tmp_path: Path) -> None:
    for file in random_folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    assert shown(str(tmp_path))["parts"] == shown(str(random_folder))["parts"]


@pytest.mark.slow
def test_show_says_where_the_model_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def device(spec: str) -> str:
        provenance = shown(spec, "--group-size", "1", "--completion-tokens", "2")["provenance"]
        return str(provenance["device"])  # type: ignore[index]

    assert device("tiny") == device("tiny(device=cpu)") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [device(spec) for spec in ("tiny", "tiny(device='cuda:1')", "tiny(device=cpu)")] == ["cuda", "cuda:1", "cpu"]


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (
            ("--seconds", "3", "--completion-tokens", "1000"),
            "30 of them audio, and completions of 1000 more do not fit",
        ),
        (("--seconds", "0.001"), "0.001 s of audio are too few: take 0.025 s or more"),
        (("--seconds", "3.5"), "takes no 3.5 s of audio: take 3 s or less"),
    ],
)
def test_what_a_training_would_refuse_has_no_memory(
    step: tuple[str, ...], why: str, random_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speechbench.models.granite_speech.GraniteSpeech.longest", 3.0)
    card = shown(str(random_folder), *step)
    assert card["memory"] is None and why in str(card["unknown"]) and card["parts"]


@pytest.mark.parametrize(
    ("spec", "status", "said"),
    [
        ("tinny", 2, "did you mean 'tiny'"),
        ("tiny(lora_targets=q, lora_rank=2)", 2, "no linear layer"),
        (".", 1, "config.json"),
    ],
)
def test_what_is_no_model_gets_a_sentence(spec: str, status: int, said: str) -> None:
    done = CliRunner().invoke(main, ["models", "show", spec])
    assert done.exit_code == status and said in done.stderr and "Traceback" not in done.stderr


def test_the_list_names_every_model() -> None:
    done = CliRunner().invoke(main, ["models", "list", "--json"])
    assert {"tiny", "granite-speech", "qwen2-audio", "qwen2.5-omni", "voxtral"} <= set(json.loads(done.stdout))
