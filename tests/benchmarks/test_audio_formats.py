"""Every format, rate and number of channels, against soundfile and soxr called directly, and against ffmpeg."""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from speechbench.benchmarks import Audio
from speechbench.errors import SpeechbenchError


def speech(rate: int, channels: int = 1, seconds: float = 1.5) -> np.ndarray:
    """Noise and tones that come and go, quiet at the ends; [sample, channel], no channel as the other."""
    rng = np.random.default_rng(channels)
    time = np.arange(int(rate * seconds))[:, None] / rate
    tones = np.sin(2 * np.pi * (300 + 170 * np.arange(channels)) * time)
    heard = np.sin(np.pi * time / seconds) ** 2 * (0.3 * tones + 0.03 * rng.standard_normal(tones.shape))
    return heard.astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
def test_any_rate_is_resampled_as_soxr_does(tmp_path: Path, suffix: str, rate: int) -> None:
    if suffix == "mp3" and rate > 48_000:
        pytest.skip("MP3 has no such rate")
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, speech(rate), rate)
    with soundfile.SoundFile(path) as file:  # `soundfile.read` seeks first, which changes the last bits of an MP3
        decoded, found = file.read(dtype="float32"), file.samplerate
    expected = decoded if found == 16_000 else soxr.resample(decoded, found, 16_000, quality="HQ")
    np.testing.assert_array_equal(Audio(path).samples(16_000), expected)
    assert abs(len(expected) - 24_000) <= 1
    examined = Audio(path).examine()
    assert (examined.rate, examined.channels) == (rate, 1) and examined.seconds == pytest.approx(1.5, abs=1 / rate)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
def test_channels_are_averaged_in_every_format(tmp_path: Path, suffix: str, channels: int) -> None:
    if suffix == "mp3" and channels > 2:
        pytest.skip("MP3 has one channel or two")
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, speech(16_000, channels), 16_000)
    decoded, _ = soundfile.read(path, dtype="float64", always_2d=True)
    samples = Audio(path).samples(16_000)
    np.testing.assert_allclose(samples, decoded.mean(axis=1), atol=1e-6)
    assert Audio(path).examine().channels == channels
    assert np.abs(samples).max() > 0.02


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
def test_what_wav_holds(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "a.wav", speech(16_000), 16_000, subtype)
    expected = soundfile.read(tmp_path / "a.wav", dtype="float32")[0]
    np.testing.assert_array_equal(Audio(tmp_path / "a.wav").samples(16_000), expected)


def test_there_is_one_zero(tmp_path: Path) -> None:
    """One channel and two of the same are the same, to the last bit."""
    for channels in (1, 2):
        soundfile.write(tmp_path / f"{channels}.wav", np.full((800, channels), -0.0), 16_000, "FLOAT")
        assert not np.signbit(Audio(tmp_path / f"{channels}.wav").samples(16_000)).any()


@pytest.mark.parametrize("rate", [16_000, 24_000, 48_000])
def test_opus_is_what_was_said(tmp_path: Path, rate: int) -> None:
    said = speech(rate)
    soundfile.write(tmp_path / "a.opus", said, rate, format="OGG", subtype="OPUS")
    heard = Audio(tmp_path / "a.opus").samples(16_000)
    expected = said[:, 0] if rate == 16_000 else soxr.resample(said[:, 0], rate, 16_000)
    assert abs(len(heard) - len(expected)) <= 1
    middle = slice(2000, -2000)
    assert np.corrcoef(heard[: len(expected)][middle], expected[: len(heard)][middle])[0, 1] > 0.98


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_that_is_cut_anywhere_is_told(tmp_path: Path, subtype: str) -> None:
    """libsndfile takes whichever page is there last for the end."""
    path = tmp_path / "a.ogg"
    soundfile.write(path, speech(16_000, seconds=4.0), 16_000, format="OGG", subtype=subtype)
    content = path.read_bytes()
    pages = [place for place in range(len(content)) if content.startswith(b"OggS", place)]
    assert len(pages) > 2
    for cut in [*pages[1:], *range(100, len(content), 997), len(content) - 1]:
        path.write_bytes(content[:cut])
        assert "is cut off" in str(Audio(path).examine().defect), cut
        with pytest.raises(SpeechbenchError, match=r"a\.ogg is cut off: .*; put a whole recording there"):
            Audio(path).samples(16_000)


def test_files_are_read_without_their_numbers_where_those_are_not_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows, libraries count their open files each for itself."""
    opens, opened = soundfile.SoundFile, []
    for suffix in ("wav", "flac", "mp3", "ogg"):
        soundfile.write(tmp_path / f"a.{suffix}", speech(24_000), 24_000)
        expected = Audio(tmp_path / f"a.{suffix}").samples(16_000)
        with monkeypatch.context() as patched:
            patched.setattr(sys, "platform", "win32")
            patched.setattr(soundfile, "SoundFile", lambda file, **how: opened.append(file) or opens(file, **how))
            np.testing.assert_array_equal(Audio(tmp_path / f"a.{suffix}").samples(16_000), expected)
    assert len(opened) == 4 and not any(isinstance(file, int) for file in opened)


DELAY = 1105  # samples of silence before an MP3's first: 576 of the encoder, 529 of the decoder
FRAME = 1152


def mp3(rate: int, channels: int, mode: str) -> tuple[bytes, bytes]:
    """Noise, loud and then quiet, and the same MP3 without the header that counts its frames and names its delay."""
    noise = np.random.default_rng(0).standard_normal((rate * 4, channels)) * 0.1
    noise[rate:] *= 0.001
    stream = io.BytesIO()
    with soundfile.SoundFile(
        stream, "w", rate, channels, format="MP3", bitrate_mode=mode, compression_level=0.4
    ) as file:
        file.write(noise)
    content = stream.getvalue()
    return content, content[content.index(content[:2], 20) :]


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
def test_an_mp3_that_does_not_count_its_frames_is_heard_to_its_end(
    tmp_path: Path, rate: int, channels: int, mode: str
) -> None:
    """libsndfile guesses from the first frame's size."""
    whole, uncounted = mp3(rate, channels, mode)
    (tmp_path / "whole.mp3").write_bytes(whole)
    (tmp_path / "uncounted.mp3").write_bytes(uncounted)
    (tmp_path / "tagged.mp3").write_bytes(b"ID3\x03\0\0\0\0\x02\0" + b"Xing\xff\xfb".ljust(256, b"\0") + uncounted)
    (tmp_path / "trailed.mp3").write_bytes(uncounted + b"TAG".ljust(128, b"\0"))
    header = whole[: len(whole) - len(uncounted)]
    flags = 4 + max(header.find(b"Xing"), header.find(b"Info"))
    (tmp_path / "flagless.mp3").write_bytes(header[:flags].ljust(len(header), b"\0") + uncounted)
    expected = Audio(tmp_path / "whole.mp3").samples(rate)
    heard = Audio(tmp_path / "uncounted.mp3").samples(rate)
    assert len(expected) == rate * 4 and len(expected) + DELAY <= len(heard) <= len(expected) + 3 * FRAME
    np.testing.assert_allclose(heard[DELAY : DELAY + len(expected)], expected, atol=1e-6)
    assert Audio(tmp_path / "uncounted.mp3").seconds() == len(heard) / rate
    for name in ("tagged", "trailed", "flagless"):
        np.testing.assert_array_equal(Audio(tmp_path / f"{name}.mp3").samples(rate), heard)


needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@needs_ffmpeg
def test_layer_2_is_heard_as_libsndfile_hears_it(tmp_path: Path) -> None:
    """Whose frames have other sizes."""
    soundfile.write(tmp_path / "a.wav", speech(48_000), 48_000)
    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "a.wav"), "-c:a", "mp2", str(tmp_path / "a.mp2")]
    subprocess.run(command, check=True)
    with soundfile.SoundFile(tmp_path / "a.mp2") as file:
        expected = file.read(dtype="float32")
    assert len(expected) > 1.4 * 48_000
    np.testing.assert_array_equal(Audio(tmp_path / "a.mp2").samples(48_000), expected)
    assert Audio(tmp_path / "a.mp2").examine().defect is None


@needs_ffmpeg
@pytest.mark.parametrize("rate", [16_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
@pytest.mark.parametrize("is_counted", [True, False])
def test_mp3s_are_heard_as_ffmpeg_hears_them(
    tmp_path: Path, rate: int, channels: int, mode: str, is_counted: bool
) -> None:
    """But for the silence that encoders put in front, which decoders may leave out or not."""
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3(rate, channels, mode)[not is_counted])
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "f32le", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    theirs = np.frombuffer(raw, dtype="<f4").reshape(-1, channels).mean(axis=1)
    ours = Audio(path).samples(rate)
    begin = rate // 2
    lags = np.correlate(theirs[begin - FRAME : begin + 4096 + FRAME], ours[begin : begin + 4096])
    lag = int(np.argmax(lags)) - FRAME
    assert abs(lag) <= DELAY and abs(len(ours) - len(theirs)) <= DELAY + FRAME
    ours, theirs = ours[max(0, -lag) :], theirs[max(0, lag) :]
    both = min(len(ours), len(theirs))
    np.testing.assert_allclose(ours[:both], theirs[:both], atol=1e-4)
