"""Recordings are read whole once, and again when they have changed."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbench.benchmarks import examination
from speechbench.benchmarks.audio import Audio, Examined
from speechbench.benchmarks.examination import examine, kind_of, settled
from speechbench.errors import SpeechbenchError


class Counted(Audio):
    reads = 0

    def examine(self) -> Examined:
        type(self).reads += 1
        return super().examine()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(examination, "SETTLES", 0)
    return tmp_path / "cache"


def write(path: Path, seconds: float) -> Counted:
    soundfile.write(path, np.full(int(16_000 * seconds), 0.1), 16_000)
    return Counted(path)


def reads(*audios: Audio, again: bool = False) -> int:
    """How many files are read; what is found must be what reading them finds."""
    before = Counted.reads
    found = examine(audios, again=again)
    count = Counted.reads - before
    assert found == [Audio(audio.path).examine() for audio in audios]
    return count


def test_each_recording_is_read_once(tmp_path: Path, cache: Path) -> None:
    one, two = write(tmp_path / "a.wav", 0.1), write(tmp_path / "b.flac", 0.2)
    assert reads(one, two, one) == 2
    assert reads(two, one) == 0
    assert reads(one, two, again=True) == 2
    write(two.path, 0.3)
    assert reads(one, two) == 1
    before = one.path.stat()
    os.utime(one.path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert (reads(one, two), reads(one, two)) == (1, 0)
    two.path.unlink()
    assert (reads(two), reads(two)) == (1, 1)  # it may come any time
    assert reads() == 0


def test_many_are_read_in_parts_and_progress_is_told(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "_CHUNK", 3)
    audios = [write(tmp_path / f"{n}.wav", 0.1 + n / 100) for n in range(8)]
    assert reads(*audios[:5]) == 5
    told: list[tuple[str, int, int]] = []
    found = examine(audios, lambda *what: told.append(what))
    assert told == [("reading recordings", 6, 8), ("reading recordings", 8, 8)]  # the first three were known
    assert [round(e.seconds, 2) for e in found] == [round(0.1 + n / 100, 2) for n in range(8)]


def test_what_has_just_changed_is_not_relied_on(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "SETTLES", 10**12)
    audio = write(tmp_path / "a.wav", 0.1)
    assert (reads(audio), reads(audio)) == (1, 1)
    os.utime(audio.path, (1e9, 1e9))
    assert (reads(audio), reads(audio)) == (1, 0)
    assert settled((5, 10**18))


def test_names_that_are_no_utf8(tmp_path: Path, cache: Path) -> None:
    audio = write(tmp_path / "a.wav", 0.1)
    odd = Counted(Path(os.fsdecode(os.fsencode(tmp_path) + b"/w\xfcrde.wav")))
    audio.path.rename(odd.path)
    assert (reads(odd), reads(odd)) == (1, 0)


@pytest.mark.parametrize("content", [b"no database" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_of_what_was_read_is_named(tmp_path: Path, cache: Path, content: bytes) -> None:
    audio = write(tmp_path / "a.wav", 0.1)
    cache.mkdir()
    place = cache / "recordings.sqlite3"
    place.write_bytes(content)
    with pytest.raises(SpeechbenchError, match=r"cache/recordings\.sqlite3, which keeps .*; mend or remove it, or set"):
        examine([audio])
    place.write_bytes(b"")
    assert (reads(audio), reads(audio)) == (1, 0)
    place.unlink()
    place.mkdir()
    with pytest.raises(SpeechbenchError, match="cannot be read or written: unable to open"):
        examine([audio])


def test_processes_that_read_at_once(tmp_path: Path, cache: Path) -> None:
    audios = [write(tmp_path / f"{n}.wav", 0.1) for n in range(40)]
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=examine, args=(audios[n * 8 :],)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 3 and reads(*audios) == 0


def test_kinds(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "text.mp3").write_text("no sound")
    found = examine([Audio(tmp_path / f"{name}.mp3") for name in ("empty", "text", "gone")])
    assert [kind_of(e) for e in found] == ["empty recording", "broken recording", "no recording"]
    assert kind_of(Examined("", defect="is cut off")) == "broken recording"
