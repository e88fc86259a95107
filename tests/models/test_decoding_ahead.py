"""What is embedded next is decoded in the background, and nothing whose encoder output is kept."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch

from speechbench.answering import answer
from speechbench.benchmarks import decoding
from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import Example
from speechbench.models.base import Sampling
from speechbench.models.encoder_cache import EncoderCache
from speechbench.models.granite_speech import GraniteSpeech


class Told(decoding.Background):
    """Writes down what is begun and what is asked for."""

    def __init__(self) -> None:
        super().__init__(2)
        self.calls: list[tuple[str, list[Audio]]] = []

    def begin(self, audios: Iterable[Audio], rate: int) -> None:
        audios = list(audios)
        self.calls.append(("begin", audios))
        super().begin(audios, rate)

    def samples(self, audio: Audio, rate: int) -> object:
        self.calls.append(("ask", [audio]))
        return super().samples(audio, rate)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    monkeypatch.setattr(decoding, "_background", told)
    return told


def audios_of(examples: list[Example]) -> list[Audio]:
    return [example.audio for example in examples if example.audio is not None]


def test_a_batch_is_begun_before_the_one_ahead_of_it_is_embedded(
    random_model: GraniteSpeech, examples: list[Example], told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speechbench.answering.BATCH", 1)
    random_model._encoded = EncoderCache()  # other tests' model of this folder may have heard the examples
    answer(random_model, examples, Sampling(temperature=0.0, max_tokens=2))
    a, b, c = audios_of(examples)
    began = [audio for kind, audios in told.calls if kind == "begin" for audio in audios]
    assert began == [a, b, c]
    assert told.calls.index(("begin", [b])) < told.calls.index(("ask", [a]))
    assert told.calls.index(("begin", [c])) < told.calls.index(("ask", [b]))
    told.calls.clear()
    answer(random_model, examples, Sampling(temperature=0.0, max_tokens=2))
    assert not any(audios for _, audios in told.calls)  # all is in the encoder's cache


def test_an_encoder_that_learns_hears_again(random_folder: object, examples: list[Example], told: Told) -> None:
    learning = GraniteSpeech(str(random_folder), train="encoder")
    learning.embed(examples)
    learning.expect(examples)
    assert told.calls[-1] == ("begin", audios_of(examples))


def test_what_comes_from_the_background_is_embedded_as_ever(
    random_model: GraniteSpeech, random_folder: object, examples: list[Example]
) -> None:
    with torch.no_grad():
        at_once = GraniteSpeech(str(random_folder), train="encoder").embed(examples)
        ahead = GraniteSpeech(str(random_folder), train="encoder")
        ahead.expect(examples)
        assert torch.equal(at_once.embeddings, ahead.embed(examples).embeddings)


def test_examples_without_audio_are_nothing_to_decode(random_model: GraniteSpeech, told: Told) -> None:
    random_model.expect([Example("1", None, "say x", ("x",), None, "en", "de")])
    assert told.calls == [("begin", [])]
