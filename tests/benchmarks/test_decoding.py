"""Background decoding: the same samples whoever decodes them, bounded, and gone when the program ends."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbench.benchmarks import Audio, Example
from speechbench.benchmarks.decoding import Background, telling
from speechbench.errors import SpeechbenchError

SECONDS = [0.1, 0.3, 0.05, 0.2, 0.15, 0.1]


def wav(number: int, seconds: float) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(number).standard_normal(int(24_000 * seconds)) * 0.1
    soundfile.write(stream, noise, 24_000, format="WAV")
    return stream.getvalue()


@dataclasses.dataclass(frozen=True)
class Watched(Audio):
    """A recording that writes down which threads have decoded it."""

    stored: bytes = dataclasses.field(default=b"", repr=False)
    threads: list[str] = dataclasses.field(default_factory=list, compare=False)

    def content(self) -> bytes:
        self.threads.append(threading.current_thread().name)
        return self.stored


def recordings(count: int = len(SECONDS)) -> list[Watched]:
    lengths = (SECONDS * count)[:count]
    return [Watched(Path(str(number)), stored=wav(number, seconds)) for number, seconds in enumerate(lengths)]


ALL = recordings()
EXPECTED = [audio.samples(16_000) for audio in ALL]


def wait() -> None:
    """Until the background has done what it may."""
    for thread in threading.enumerate():
        if thread.name == "decoding":
            thread.join(60)
            assert not thread.is_alive()


def test_what_was_begun_is_decoded_once_and_not_by_who_asks() -> None:
    wait()  # for what other tests have left behind
    background, audios = Background(2), recordings()
    background.begin([], 16_000)
    assert not [thread for thread in threading.enumerate() if thread.name == "decoding"]
    background.begin(audios, 16_000)
    background.begin(audios, 16_000)
    wait()
    for audio, expected in zip(audios, EXPECTED, strict=True):
        np.testing.assert_array_equal(background.samples(audio, 16_000), expected)
        assert audio.threads == ["decoding"]
        background.samples(audio, 16_000)
        assert audio.threads == ["decoding", "MainThread"]  # nothing is held that was asked for


def test_other_rates_are_other_samples() -> None:
    background, audio = Background(1), recordings(1)[0]
    background.begin([audio], 8_000)
    wait()
    assert len(background.samples(audio, 16_000)) == 2 * len(background.samples(audio, 8_000)) == 1600


@settings(max_examples=60, deadline=None)
@given(
    threads=st.integers(1, 3),
    most_bytes=st.integers(0, 60_000),
    steps=st.lists(
        st.one_of(st.integers(0, len(ALL) - 1), st.lists(st.integers(0, len(ALL) - 1), max_size=8)), max_size=20
    ),
)
def test_the_samples_are_those_of_audio_whatever_was_begun(
    threads: int, most_bytes: int, steps: list[int | list[int]]
) -> None:
    background = Background(threads, most_bytes)
    for step in steps:
        if isinstance(step, list):
            background.begin([ALL[number] for number in step], 16_000)
        else:
            np.testing.assert_array_equal(background.samples(ALL[step], 16_000), EXPECTED[step])
    wait()


def test_several_may_ask_at_once() -> None:
    background, heard = Background(2, 10_000), []

    def ask(order: Sequence[int]) -> None:
        background.begin([ALL[number] for number in order], 16_000)
        heard.extend(np.array_equal(background.samples(ALL[number], 16_000), EXPECTED[number]) for number in order)

    askers = [threading.Thread(target=ask, args=(order,)) for order in ([0, 1, 2, 3] * 5, [3, 2, 1, 0] * 5, [5, 1] * 9)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(60)
    assert len(heard) == 58 and all(heard)
    wait()


def test_what_waits_is_bounded_and_goes_on_as_it_is_asked_for() -> None:
    audios = [Watched(Path(str(number)), stored=wav(number, 0.1)) for number in range(20)]  # 6400 bytes each
    background = Background(2, 4 * 6400)
    background.begin(audios, 16_000)
    wait()
    decoded = sum(bool(audio.threads) for audio in audios)
    assert 4 <= decoded <= 5  # and no thread is left that waits
    for number, audio in enumerate(audios):
        background.samples(audio, 16_000)
        wait()
        assert sum(bool(other.threads) for other in audios) <= number + 1 + 5
    assert all(len(audio.threads) == 1 for audio in audios)
    assert sum(audio.threads == ["decoding"] for audio in audios) >= 19


def test_what_was_begun_before_and_never_asked_for_is_given_up() -> None:
    first, second = recordings(2)
    background = Background(1, 1)  # room for one
    background.begin([first], 16_000)
    wait()
    background.begin([second], 16_000)
    wait()
    assert not second.threads
    background.samples(second, 16_000)
    background.samples(first, 16_000)
    assert first.threads == ["decoding", "MainThread"]


def test_what_went_wrong_is_told_to_who_asks(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    background, whole = Background(1), recordings(1)[0]
    background.begin([Audio(tmp_path / "gone.wav"), whole], 16_000)
    wait()
    assert capfd.readouterr() == ("", "")
    with pytest.raises(SpeechbenchError, match=r"gone\.wav is missing; put"):
        background.samples(Audio(tmp_path / "gone.wav"), 16_000)
    soundfile.write(tmp_path / "gone.wav", np.ones(1000), 16_000)
    assert len(background.samples(Audio(tmp_path / "gone.wav"), 16_000)) == 1000
    assert whole.threads == ["decoding"]


def test_without_threads_who_asks_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    background, audios = Background(2), recordings(2)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        background.begin(audios, 16_000)
        np.testing.assert_array_equal(background.samples(audios[0], 16_000), EXPECTED[0])
    background.begin([], 16_000)  # there are threads again
    wait()
    background.samples(audios[1], 16_000)
    assert [audio.threads for audio in audios] == [["MainThread"], ["decoding"]]


PRELUDE = """
import dataclasses, os, sys, threading, time
from pathlib import Path
import numpy as np
from speechbench.benchmarks import decoding
from speechbench.benchmarks.audio import Audio
assert threading.active_count() == 1
begun = threading.Event()
class Slow(Audio):
    def samples(self, rate):
        print("decoding", flush=True)
        begun.set()
        time.sleep(0.1)
        return np.full(7, rate, dtype=np.float32)
audios = [Slow(Path(str(number))) for number in range(500)]
decoding.begin(audios, 16_000)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PRELUDE + code], capture_output=True, text=True, timeout=60)


def test_the_end_of_the_program_does_not_wait_for_what_nobody_asks_for() -> None:
    done = run("begun.wait(30)\nraise KeyboardInterrupt")
    assert done.returncode != 0 and done.stderr.strip().endswith("KeyboardInterrupt")
    assert 0 < done.stdout.count("decoding") < 250
    done = run("")
    assert done.returncode == 0 and not done.stderr and done.stdout.count("decoding") < 250


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="the system has no fork")
def test_a_forked_process_has_a_background_of_its_own() -> None:
    done = run(
        "with decoding._background._changed:\n"  # as another thread may hold it at that moment
        "    child = os.fork()\n"
        "if child == 0:\n"
        "    assert decoding.samples(audios[0], 8_000)[0] == 8_000\n"
        "    decoding.begin(audios[:2], 8_000)\n"
        "    assert decoding.samples(audios[1], 8_000)[0] == 8_000\n"
        "    os._exit(7)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert done.returncode == 7, done.stderr


def test_a_model_is_told_of_each_batch_that_is_put_together() -> None:
    told: list[Sequence[Example]] = []
    example = Example("1", None, "", ("x",), None, "en", "de")
    assert telling(told.append)([example]) == [example]
    assert told == [[example]]
