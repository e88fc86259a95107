import dataclasses
import hashlib
import os
import re
import tracemalloc
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
    for suffix in ("wav", "flac", "mp3", "ogg"):
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
        found = audio.examine()
        assert found.defect is not None and says in found.defect
        assert str(tmp_path) not in found.defect and "put a whole" not in found.defect  # said after the name
        if (tmp_path / name).is_file():
            assert found.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    for name in ("gone.wav", "text.wav", "folder.wav"):
        with pytest.raises(SpeechbenchError, match=rf"{name}.*; put"):
            Audio(tmp_path / name).seconds()
    assert Audio(tmp_path / "short.flac").seconds() == pytest.approx(1199 / 48_000)


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
        found = Audio(path).examine()
        assert found.defect is None, path
        assert found.rate == 16_000 and found.seconds == pytest.approx(len(Audio(path).samples(16_000)) / 16_000)


def test_a_recording_that_is_not_the_one_of_the_index_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(16_000), 16_000)
    sha256 = Audio(tmp_path / "a.wav").examine().sha256
    audio = Audio(tmp_path / "a.wav", sha256)
    assert audio == Audio(tmp_path / "a.wav")
    np.testing.assert_array_equal(audio.samples(16_000), Audio(tmp_path / "a.wav").samples(16_000))
    soundfile.write(tmp_path / "a.wav", tone(16_000, 441.0), 16_000)
    with pytest.raises(SpeechbenchError, match=r"a\.wav has changed since the benchmark was read; run `speechbench be"):
        audio.samples(16_000)
    (tmp_path / "a.wav").write_text("no audio")  # that it changed says more than that it cannot be decoded
    with pytest.raises(SpeechbenchError, match="has changed"):
        audio.samples(16_000)


@dataclasses.dataclass(frozen=True)
class Stored(Audio):
    """Bytes from elsewhere, as in tables."""

    stored: bytes = b""

    def content(self) -> bytes:
        return self.stored

    def __str__(self) -> str:
        return "the audio of row 7"


@pytest.mark.parametrize("has_memory_files", [True, False])
def test_bytes_from_elsewhere_are_a_recording_as_those_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_memory_files: bool
) -> None:
    if not has_memory_files:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    for name, says in write_broken(tmp_path).items():
        if not (tmp_path / name).is_file():
            continue
        audio = Stored(tmp_path / "7", stored=(tmp_path / name).read_bytes())
        assert audio.examine() == Audio(tmp_path / name).examine()
        with pytest.raises(SpeechbenchError, match=rf"^the audio of row 7 .*{says}.*; put a whole recording there"):
            audio.samples(16_000)
    for suffix in ("wav", "flac", "mp3", "ogg"):
        soundfile.write(tmp_path / f"whole.{suffix}", tone(24_000), 24_000)
        audio = Stored(tmp_path / "7", stored=(tmp_path / f"whole.{suffix}").read_bytes())
        assert audio.examine() == Audio(tmp_path / f"whole.{suffix}").examine()
        np.testing.assert_array_equal(audio.samples(16_000), Audio(tmp_path / f"whole.{suffix}").samples(16_000))


def write_ten_hours(folder: Path) -> list[Path]:
    """Ten hours, or what says so, in small files or such with holes."""
    seconds = 36_000
    soundfile.write(folder / "long.wav", np.zeros(25), 1_000, "PCM_U8")
    with (folder / "long.wav").open("r+b") as wav:
        for place, extra in ((4, 36), (40, 0)):
            wav.seek(place)
            wav.write((seconds * 1_000 + extra).to_bytes(4, "little"))
        wav.truncate(44 + seconds * 1_000)
    soundfile.write(folder / "long.flac", np.random.default_rng(0).uniform(-1, 1, 60_000), 8_000)
    flac = bytearray((folder / "long.flac").read_bytes())
    flac[21:26] = (flac[21] >> 4 << 36 | seconds * 8_000).to_bytes(5, "big")  # the number of samples has 36 bits
    (folder / "long.flac").write_bytes(flac)
    soundfile.write(folder / "long.mp3", np.zeros(80_000), 8_000)
    content = (folder / "long.mp3").read_bytes()
    (folder / "long.mp3").write_bytes(content[content.index(content[:2], 20) :] * (seconds // 10))
    return [folder / name for name in ("long.wav", "long.flac", "long.mp3")]


def test_ten_hours_are_refused_without_decoding_them(tmp_path: Path) -> None:
    for path in write_ten_hours(tmp_path):
        if path.suffix != ".mp3":  # counting its frames is slow when watched
            tracemalloc.start()
        found = Audio(path).examine()
        assert found.defect is not None and re.search("is too long: it holds 6.. minutes, more than 60", found.defect)
        assert found.seconds == pytest.approx(36_000, rel=0.02)
        with pytest.raises(SpeechbenchError, match=rf"{path.name} is too long: .*; put a whole recording there, or"):
            Audio(path).samples(16_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3 << 20  # the samples have 144 MB or more


def test_decoding_leaves_nothing_but_the_samples_in_memory(tmp_path: Path) -> None:
    for channels in (1, 2):
        soundfile.write(tmp_path / "a.flac", np.random.default_rng(0).uniform(-1, 1, (48_000 * 30, channels)), 48_000)
        Audio(tmp_path / "a.flac").samples(16_000)  # imports
        tracemalloc.start()
        samples = Audio(tmp_path / "a.flac").samples(16_000)
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        decoded = 48_000 * 30 * 4
        assert held < samples.nbytes + 100_000
        assert peak < (decoded * (1 if channels == 1 else 3)) + samples.nbytes + 2_500_000


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
