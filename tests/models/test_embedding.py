"""What is asked of a model of transformers and cannot be: special tokens in texts, and more than fits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import AUDIO_PLACEHOLDER, Example
from speechbench.errors import SpeechbenchError
from speechbench.models.base import Sampling
from speechbench.models.granite_speech import GraniteSpeech


@pytest.mark.parametrize("word", ["<|end_of_text|>", "<|start_of_role|>"])
def test_an_instruction_with_a_special_token_is_refused(
    random_model: GraniteSpeech, examples: list[Example], word: str
) -> None:
    assert len(random_model.tokenizer.encode(word, add_special_tokens=False)) == 1
    asked = dataclasses.replace(examples[1], instruction=f"{AUDIO_PLACEHOLDER} Who said {word}?")
    with pytest.raises(SpeechbenchError, match=r"example 'e1': its instruction holds '<\|\w+\|>', which is a special"):
        random_model.embed([examples[0], asked])
    spelled = dataclasses.replace(asked, instruction=asked.instruction.replace(word, f"< {word[1:]}"))
    random_model.embed([examples[0], spelled])


def test_an_instruction_with_the_placeholder_twice_is_refused(
    random_model: GraniteSpeech, examples: list[Example]
) -> None:
    asked = dataclasses.replace(examples[0], instruction=f"{AUDIO_PLACEHOLDER} {AUDIO_PLACEHOLDER}?")
    with pytest.raises(SpeechbenchError, match=r"'e0': its instruction must hold <\|audio\|> once, not 2"):
        random_model.embed([asked])


def test_a_reference_with_a_special_token_is_text(random_model: GraniteSpeech, examples: list[Example]) -> None:
    text = "Anna <|end_of_text|> <|audio|> Peter"
    completions = random_model.completions_of([[text]] * 3)
    assert not random_model.suppressed[completions.tokens].any()
    assert (completions.tokens == random_model.end_token).sum(-1).tolist() == [[1]] * 3
    assert random_model.texts_of(completions) == [[text]] * 3
    assert torch.isfinite(random_model.logprobs(random_model.embed(examples), completions)).all()


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=30).filter(lambda text: "<" not in text))
def test_ordinary_references_have_the_tokens_that_they_had(random_model: GraniteSpeech, text: str) -> None:
    ids = random_model.tokenizer.encode(text, add_special_tokens=False)
    assert random_model.completions_of([[text]]).tokens[0, 0].tolist() == [*ids, random_model.end_token]


def test_a_prompt_and_its_completion_have_to_fit(random_model: GraniteSpeech, examples: list[Example]) -> None:
    prompts = random_model.embed(examples)
    lengths = prompts.mask.sum(-1).tolist()
    longest = lengths.index(max(lengths))
    config = random_model.language_model.config
    config.max_position_embeddings = max(lengths) + 5
    random_model.sample(prompts, 1, Sampling(temperature=0.0, max_tokens=5))
    says = rf"example 'e{longest}': its prompt takes {max(lengths)} positions and a completion up to 6 more, of the "
    with pytest.raises(SpeechbenchError, match=says + rf"{max(lengths) + 5} of granite.*: allow shorter"):
        random_model.sample(prompts, 1, Sampling(temperature=0.0, max_tokens=6))
    five = random_model.completions_of([["?" * 4]] * 3)
    assert five.tokens.shape[-1] == 5
    random_model.logprobs(prompts, five)
    with pytest.raises(SpeechbenchError, match=says):
        random_model.logprobs(prompts, random_model.completions_of([["?" * 5]] * 3))
    others = [["?" if row == longest else "?" * 5] for row in range(3)]
    random_model.logprobs(prompts, random_model.completions_of(others))  # a long one behind a shorter prompt
    config.max_position_embeddings = max(lengths)
    with pytest.raises(SpeechbenchError, match=rf"example 'e{longest}': its prompt takes {max(lengths)} positions of"):
        random_model.embed(examples)


def test_what_was_kept_follows_the_model(
    random_model: GraniteSpeech, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere:
        """What was kept of an audio before the model was moved."""

        def __init__(self, hidden: torch.Tensor) -> None:
            self.hidden = hidden

        def to(self, device: torch.device) -> torch.Tensor:
            return self.hidden.to(device)

    before = random_model.embed(examples)
    kept = {audio: Elsewhere(hidden) for audio, hidden in random_model._encoded.items()}
    monkeypatch.setattr(random_model, "_encoded", kept)
    assert torch.equal(random_model.embed(examples).embeddings, before.embeddings)


def test_audio_that_is_too_long_is_refused_with_its_example(
    random_model: GraniteSpeech, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GraniteSpeech, "longest", 1.0)
    for samples, name in ((16000, "fits.wav"), (16001, "long.wav")):
        soundfile.write(tmp_path / name, np.random.default_rng(0).standard_normal(samples) * 0.1, 16000)
    random_model.embed([dataclasses.replace(examples[0], audio=Audio(tmp_path / "fits.wav"))])
    with pytest.raises(SpeechbenchError, match=r"'e0': its audio .*long\.wav lasts 1\.01 s, but .* takes 1 s at"):
        random_model.embed([dataclasses.replace(examples[0], audio=Audio(tmp_path / "long.wav"))])
