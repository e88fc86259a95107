"""Decoded recordings on disk: found by content, whatever happens to their files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechbench.benchmarks import Audio, audio
from speechbench.benchmarks.sample_cache import VARIABLE, cache_in, folder
from speechbench.errors import SpeechbenchError


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder, named for the length of a test."""
    monkeypatch.setenv(VARIABLE, "unset again at the end")
    cache_in(tmp_path / "kept")
    yield tmp_path / "kept"


@pytest.fixture
def recording(tmp_path: Path) -> Audio:
    soundfile.write(tmp_path / "a.flac", np.random.default_rng(0).standard_normal(8_000) * 0.1, 48_000)
    return Audio(tmp_path / "a.flac")


def decoded(recording: Audio, rate: int = 16_000) -> np.ndarray:
    samples, native = soundfile.read(recording.path, dtype="float32")
    return soxr.resample(samples, native, rate, quality="HQ")


def files(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*") if path.is_file())


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(audio, "opened", refuse)


def test_a_recording_is_decoded_once_wherever_it_lies(
    recording: Audio, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = recording.samples(16_000)
    np.testing.assert_array_equal(first, decoded(recording))
    (file,) = files(kept)
    sha256 = hashlib.sha256(recording.path.read_bytes()).hexdigest()
    assert file.name == f"{sha256}-16000.npy"
    np.testing.assert_array_equal(np.load(file), first)
    forbid_decoding(monkeypatch)
    (tmp_path / "moved").mkdir()
    moved = Audio(recording.path.rename(tmp_path / "moved" / "b.flac"))
    again = moved.samples(16_000)
    assert again.tobytes() == first.tobytes() and again.dtype == np.float32
    again += 1.0  # one's own to change
    assert moved.samples(16_000).tobytes() == first.tobytes()
    with pytest.raises(AssertionError, match="decoded"):
        moved.samples(8_000)


def test_without_a_folder_nothing_is_kept(recording: Audio, kept: Path) -> None:
    cache_in(None)
    assert folder() is None
    np.testing.assert_array_equal(recording.samples(16_000), decoded(recording))
    assert not kept.exists()


def test_the_variable_names_the_folder_for_other_processes(recording: Audio, kept: Path) -> None:
    code = f"from pathlib import Path; from speechbench.benchmarks import Audio; Audio(Path({str(recording.path)!r}))"
    subprocess.run([sys.executable, "-c", code + ".samples(16_000)"], check=True, timeout=60)
    assert len(files(kept)) == 1
    os.environ[VARIABLE] = "~/there"
    assert folder() == Path.home() / "there"
    os.environ[VARIABLE] = "~nobody-of-this-name/there"  # as shells do, a name like others
    assert folder() == Path("~nobody-of-this-name/there")


def test_other_decoders_find_nothing(recording: Audio, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording.samples(16_000)
    for library, version in ((soundfile, "__libsndfile_version__"), (soxr, "__version__")):
        monkeypatch.setattr(library, version, "0.0.0")
        before = len(files(kept))
        recording.samples(16_000)
        assert len(files(kept)) == before + 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_replaced(recording: Audio, kept: Path, data: st.DataObject) -> None:
    recording.samples(16_000)
    (file,) = files(kept)
    content = file.read_bytes()
    place = data.draw(st.one_of(st.integers(0, 200), st.integers(0, len(content) - 1)), "place")
    damaged = data.draw(
        st.sampled_from(
            [
                content[:place],
                content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1 :],
                content[:place] + bytes(len(content) - place),
                b"PK\x03\x04" + content,
                b"",
            ]
        ),
        "damaged",
    )
    file.write_bytes(damaged)
    np.testing.assert_array_equal(recording.samples(16_000), decoded(recording))
    assert file.read_bytes() == content and files(kept) == [file]


def test_a_folder_in_the_place_of_a_file_is_told_of_and_so_is_a_file_in_that_of_the_folder(
    recording: Audio, kept: Path
) -> None:
    recording.samples(16_000)
    (file,) = files(kept)
    file.unlink()
    file.mkdir()
    said = rf"^decoded audio cannot be kept in {kept}: .*; make room there or make it writable, set {VARIABLE} to"
    with pytest.raises(SpeechbenchError, match=said):
        recording.samples(16_000)
    assert not files(kept)  # nothing half written stays
    file.rmdir()
    cache_in(recording.path)
    with pytest.raises(SpeechbenchError, match=r"cannot be kept in .*a\.flac: (Not a directory|File exists); make"):
        recording.samples(16_000)


def test_a_recording_that_is_another_is_refused_though_it_is_kept(recording: Audio) -> None:
    sha256 = recording.examine().sha256
    recording.samples(16_000)
    soundfile.write(recording.path, np.ones(8_000), 48_000)
    with pytest.raises(SpeechbenchError, match="has changed since"):
        Audio(recording.path, sha256).samples(16_000)
    np.testing.assert_array_equal(recording.samples(16_000), decoded(recording))


def test_what_is_broken_stays_broken(tmp_path: Path, kept: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    for _ in range(2):
        with pytest.raises(SpeechbenchError, match=r"text\.wav cannot be decoded"):
            Audio(tmp_path / "text.wav").samples(16_000)
    assert not kept.exists()


def test_many_may_keep_the_same_at_once(recording: Audio, kept: Path) -> None:
    heard = []
    threads = [threading.Thread(target=lambda: heard.append(recording.samples(16_000))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(heard) == 8 and all(np.array_equal(one, heard[0]) for one in heard)
    assert len(files(kept)) == 1
