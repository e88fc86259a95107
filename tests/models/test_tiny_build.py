"""The build of the embedded model, all of its stages in small: a few utterances, two steps each."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from speechbench.models.granite_speech import GraniteSpeech
from speechbench.models.tiny_build import __main__ as build
from speechbench.models.tiny_build import habits, recordings


@pytest.mark.slow
def test_every_stage_runs_and_leaves_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, phrases = recordings.sentences()[:12], recordings.phrases
    monkeypatch.setattr(recordings, "sentences", lambda: few)
    monkeypatch.setattr(recordings, "phrases", lambda count, longest: phrases(8, longest))
    for name in ("STAGES", "HABITS"):
        monkeypatch.setattr(build, name, tuple(dataclasses.replace(s, steps=2) for s in getattr(build, name)))
    encoder = tmp_path / "encoder.pt"
    build.main(["--out", str(tmp_path / "model"), "--epochs", "1", "--encoder", str(encoder)])
    model = GraniteSpeech(str(tmp_path / "model"))
    assert model.system_prompt is None
    kept = torch.load(encoder, weights_only=True)["input_linear.weight"]
    assert torch.equal(model.parts["encoder"].input_linear.weight, kept.half().float())


def test_habits_keep_the_meaning() -> None:
    import random

    from speechbench.benchmarks.mini.slots import agreement

    rng = random.Random(0)
    for utterance in recordings.sentences()[:50]:
        assert utterance.meaning is not None
        said = habits.german(utterance.meaning, rng)
        assert agreement(said, utterance.german, "de") == 1.0
