from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbench.benchmarks import Audio, Example
from speechbench.benchmarks.fingerprint import broken, fingerprint
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


def write_broken(folder: Path) -> dict[str, str]:
    """Files that cannot be used, and what is to be said of each."""
    (folder / "zero.mp3").touch()
    (folder / "folder.wav").mkdir()
    for suffix in ("wav", "flac", "mp3", "ogg"):
        (folder / f"text.{suffix}").write_text("no audio, whatever the name says\n" * 100)
        if suffix != "flac":  # libsndfile cannot read a FLAC without samples that it wrote itself
            soundfile.write(folder / f"one.{suffix}", np.ones(1, dtype=np.float32), 16_000)
    soundfile.write(folder / "none.wav", np.zeros(0, dtype=np.float32), 16_000)
    soundfile.write(folder / "short.flac", tone(48_000)[:1199], 48_000)
    for suffix in ("wav", "flac", "mp3"):
        soundfile.write(folder / f"half.{suffix}", tone(16_000, seconds=3.0), 16_000)
        content = (folder / f"half.{suffix}").read_bytes()
        (folder / f"half.{suffix}").write_bytes(content[: len(content) // 2])
    content = bytearray((folder / "short.flac").read_bytes())
    content[22:26] = b"\xff\xff\xff\xff"  # of the number of samples
    (folder / "vast.flac").write_bytes(content)
    says = {
        "zero": "empty",
        "vast": "damaged",
        "folder": "cannot be read",
        "text": "cannot be decoded",
        "one": "1 sample at 16000 Hz",
    }
    says |= {"none": "no sample", "short": "1199 samples at 48000 Hz", "half": "cut off"}
    return {path.name: says[path.stem] for path in folder.iterdir()} | {"gone.wav": "missing"}


def test_broken_files_are_named_with_the_fix_in_decoding_and_before(tmp_path: Path) -> None:
    for name, says in write_broken(tmp_path).items():
        audio = Audio(tmp_path / name)
        with pytest.raises(SpeechbenchError, match=rf"{name}.*{says}.*; put a whole recording there, or take"):
            audio.samples(16_000)
        _, defect = audio.examine()
        assert defect is not None and says in defect and name in defect
    for name in ("gone.wav", "text.wav", "folder.wav"):
        with pytest.raises(SpeechbenchError, match=rf"{name}.*; put"):
            Audio(tmp_path / name).seconds()
    assert "missing" in str(Audio(tmp_path / "gone.wav").defect())
    assert "0 bytes" in str(Audio(tmp_path / "zero.mp3").defect())
    assert Audio(tmp_path / "none.wav").defect() is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    samples = tone(16_000)
    samples[7] = value
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(SpeechbenchError, match=r"a\.wav holds samples that are no finite numbers; put"):
        Audio(tmp_path / "a.wav").samples(16_000)


def test_whole_files_pass_whatever_their_headers_leave_open(tmp_path: Path) -> None:
    """Streamed WAVs without a length, MP3s of a varying bit rate without a count of frames, tags, 25 ms."""
    loud_then_quiet = np.concatenate([np.random.default_rng(0).standard_normal(80_000) * 0.2, np.zeros(80_000)])
    for name, samples in (("loud", loud_then_quiet), ("quiet", loud_then_quiet[::-1])):
        with soundfile.SoundFile(
            tmp_path / f"{name}.mp3", "w", 16_000, 1, format="MP3", bitrate_mode="VARIABLE", compression_level=0.3
        ) as file:
            file.write(samples)
        content = (tmp_path / f"{name}.mp3").read_bytes()
        assert b"Xing" in content[:100]
        second = content.index(content[:2], 100)
        (tmp_path / f"{name}-uncounted.mp3").write_bytes(content[second:])
        (tmp_path / f"{name}-tagged.mp3").write_bytes(b"ID3\x03\0\0\0\0\x02\0" + b"\0" * 256 + content)
    for suffix in ("wav", "flac", "ogg"):
        soundfile.write(tmp_path / f"short.{suffix}", tone(16_000)[:400], 16_000)
    soundfile.write(tmp_path / "streamed.wav", tone(16_000), 16_000)
    content = (tmp_path / "streamed.wav").read_bytes()
    (tmp_path / "streamed.wav").write_bytes(content[:4] + b"\xff\xff\xff\xff" + content[8:])
    for path in tmp_path.iterdir():
        assert Audio(path).examine()[1] is None, path
        assert len(Audio(path).samples(16_000)) >= 400


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
    columns = {"a": 1, "b": Path("x")}
    turned = dict(reversed(columns.items()))
    assert fingerprint([example(columns=columns)]) == fingerprint([example(columns=turned)])
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
        *([example(**change)] for change in ({"speaker": "anna"}, {"columns": {"speaker": "anna"}})),
        *([example(columns={"level": level})] for level in (1, "1", None, Path("x"), {"a": 1})),
    ]
    assert len({fingerprint(examples) for examples in different}) == len(different)
    (tmp_path / "text.wav").write_text("no audio")
    bad = [example(), example("gone", id="2"), example("text", id="3")]
    with pytest.raises(SpeechbenchError, match=r"'2': .*gone\.wav is missing, the first of 2 such examples; put"):
        fingerprint(bad)
    assert [problem.where for problem in broken(bad)] == ["example '2'", "example '3'"]
