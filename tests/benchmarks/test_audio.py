from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbench.benchmarks import Audio, Example
from speechbench.benchmarks.fingerprint import fingerprint
from speechbench.errors import SpeechbenchError


def tone(rate: int, hertz: float = 440.0, seconds: float = 0.5) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def test_same_rate_mono_is_what_was_written(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(16_000), 16_000, subtype="FLOAT")
    audio = Audio(tmp_path / "a.wav")
    np.testing.assert_array_equal(audio.samples(16_000), tone(16_000))
    assert audio.samples(16_000).dtype == np.float32
    assert audio.seconds() == pytest.approx(0.5)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(16_000), tone(16_000, 1000.0)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(Audio(tmp_path / "a.wav").samples(16_000), (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize(("suffix", "tolerance"), [("wav", 1e-3), ("flac", 1e-3), ("mp3", 2e-2)])
def test_resampling_keeps_the_tone(tmp_path: Path, suffix: str, tolerance: float) -> None:
    soundfile.write(tmp_path / f"a.{suffix}", tone(32_000), 32_000)
    samples = Audio(tmp_path / f"a.{suffix}").samples(16_000)
    assert len(samples) == 8000
    middle = slice(1000, -1000)  # away from the ends, where filters ring
    np.testing.assert_allclose(samples[middle], tone(16_000)[middle], atol=tolerance)


def test_broken_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "zero.mp3").touch()
    (tmp_path / "text.wav").write_text("no audio")
    soundfile.write(tmp_path / "none.wav", np.zeros(0, dtype=np.float32), 16_000)
    for name, says in (("gone.wav", "missing"), ("text.wav", "decoded"), ("none.wav", "empty")):
        with pytest.raises(SpeechbenchError, match=rf"{name}.*{says}"):
            Audio(tmp_path / name).samples(16_000)
    with pytest.raises(SpeechbenchError, match=r"gone.wav"):
        Audio(tmp_path / "gone.wav").seconds()
    assert "missing" in str(Audio(tmp_path / "gone.wav").defect())
    assert "0 bytes" in str(Audio(tmp_path / "zero.mp3").defect())
    assert Audio(tmp_path / "none.wav").defect() is None


def test_the_fingerprint_tells_texts_audio_and_order_apart(tmp_path: Path) -> None:
    for name, hertz in (("a", 440.0), ("b", 441.0)):
        soundfile.write(tmp_path / f"{name}.wav", tone(8000, hertz), 8000)
    (tmp_path / "copy.wav").write_bytes((tmp_path / "a.wav").read_bytes())

    def example(audio: str | None = "a", **changed: object) -> Example:
        fields: dict[str, object] = {
            "id": "1",
            "instruction": "<|audio|> translate",
            "references": ("x",),
            "source": "s",
            "source_language": "en",
            "target_language": "de",
        }
        return Example(audio=Audio(tmp_path / f"{audio}.wav") if audio else None, **{**fields, **changed})  # type: ignore[arg-type]

    assert fingerprint([example()]) == fingerprint([example("copy")])
    different = [
        [example()],
        [example("b")],
        [example(None)],
        [example(), example()],
        [example(id="1"), example(id="2")],
        [example(id="2"), example(id="1")],
        *([example(**change)] for change in ({"id": "2"}, {"instruction": "t"}, {"source": None}, {"source": "None"})),
        *([example(**change)] for change in ({"references": ("x", "y")}, {"references": ("xy",)})),
        *([example(**change)] for change in ({"source_language": "de"}, {"target_language": "en"})),
    ]
    assert len({fingerprint(examples) for examples in different}) == len(different)
    with pytest.raises(SpeechbenchError, match=r"gone\.wav"):
        fingerprint([example("gone")])
