"""Silence in the place of any recording, wherever its bytes are."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbench.benchmarks import Audio, Example
from speechbench.benchmarks.controls import Silence, controlled, no_audio
from speechbench.errors import SpeechbenchError


@dataclasses.dataclass(frozen=True)
class Stored(Audio):
    """Bytes from a table, of which the path is but a name."""

    stored: bytes = b""

    def content(self) -> bytes:
        return self.stored

    def stamp(self) -> tuple[int, int]:
        return 1, 2

    def __str__(self) -> str:
        return f"the audio of row {self.path}"


def recording(rate: int = 22_050) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.random.default_rng(0).standard_normal(rate) * 0.1, rate, format="FLAC")
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["file", "stored"])
def test_silence_is_as_long_as_the_speech_and_all_else_is_the_same(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.flac").write_bytes(recording())
    speech = Audio(tmp_path / "a.flac") if kind == "file" else Stored(Path("7"), stored=recording())
    silent = no_audio(Example("1", speech, "<|audio|> translate", ("x",), "s", "en", "de")).audio
    assert isinstance(silent, Silence)
    heard = silent.samples(16_000)
    assert heard.shape == speech.samples(16_000).shape and heard.dtype == np.float32 and not heard.any()
    assert silent.examine() == speech.examine() and silent.seconds() == speech.seconds()
    assert (silent.content(), silent.stamp(), str(silent)) == (speech.content(), speech.stamp(), str(speech))
    assert (silent.path, silent.sha256) == (speech.path, speech.sha256)
    assert len({silent, Silence(speech), speech}) == 2  # an encoder's cache takes none for the other


def test_silences_of_different_recordings_differ() -> None:
    a, b = (Stored(Path("7"), stored=stored) for stored in (b"a", b"b"))
    assert Silence(a) != Silence(b) and Silence(Silence(a)) != Silence(a)
    assert dataclasses.replace(Silence(a), speech=b) == Silence(b)


def test_what_cannot_be_decoded_is_named_in_silence_too() -> None:
    silent = Silence(Stored(Path("7"), stored=b"no audio"))
    with pytest.raises(SpeechbenchError, match=r"^the audio of row 7 cannot be decoded"):
        silent.samples(16_000)


def test_a_hash_is_checked_in_silence_too() -> None:
    silent = Silence(Stored(Path("7"), sha256="0" * 64, stored=recording()))
    with pytest.raises(SpeechbenchError, match="row 7 has changed"):
        silent.samples(16_000)


def test_examples_without_audio_stay_so() -> None:
    without = Example("1", None, "translate", ("x",), "s", "en", "de")
    assert controlled("no-audio", [without]) == [without]
