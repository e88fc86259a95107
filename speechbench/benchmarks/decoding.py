"""Recordings decoded in the background, beside the model's work, before they are asked for.

Whoever knows what comes next says so with `begin`; whoever needs the samples asks for them with `samples` and gets
exactly what `Audio.samples` gives, from the background or, where nothing is there, decoded at once. What went wrong
is told to whoever asks. `soundfile` and `soxr` work outside of the interpreter's lock, so threads suffice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import Example

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BYTES = 256 << 20
"""Of decoded recordings that wait to be asked for; where there are as many, decoding rests."""
MOST_THREADS = 8


@dataclass
class _Wanted:
    """A recording that was begun.

    Attributes:
        call: Number of the call of `begin`.
        is_taken: Whether a thread decodes it, or has done so.
        samples: `None` until then.
    """

    call: int
    is_taken: bool = False
    samples: npt.NDArray[np.float32] | None = None


class Background:
    """Threads that decode in the order in which recordings were begun, and end when nothing is left to do.

    They are started when there is work, and end with the program's main thread, after the recording at hand.

    Args:
        threads: At most so many.
        most_bytes: Of decoded recordings that wait; above it no thread begins another.
    """

    def __init__(self, threads: int, most_bytes: int = BYTES) -> None:
        self._most_threads, self._most_bytes = threads, most_bytes
        self._threads = self._bytes = self._calls = 0
        self._wanted: dict[tuple[Audio, int], _Wanted] = {}
        self._changed = threading.Condition()

    def begin(self, audios: Iterable[Audio], rate: int) -> None:
        """Starts to decode what will be asked for next, and after what was begun before.

        Args:
            audios: In the order in which they will be asked for.
            rate: Of the samples that will be asked for, in Hz.
        """
        with self._changed:
            self._calls += 1
            for audio in audios:
                self._wanted.setdefault((audio, rate), _Wanted(self._calls))
            self._start()

    def samples(self, audio: Audio, rate: int) -> npt.NDArray[np.float32]:
        """`audio.samples(rate)`, from the background where it is there. What earlier calls began is given up.

        Raises:
            SpeechbenchError: As `Audio.samples`.
        """
        found = self._take((audio, rate))
        return audio.samples(rate) if found is None else found

    def _take(self, key: tuple[Audio, int]) -> npt.NDArray[np.float32] | None:
        with self._changed:
            wanted = self._wanted.get(key)
            if wanted is None:
                return None
            for stale in [*takewhile(lambda other: self._wanted[other].call < wanted.call, self._wanted)]:
                self._forget(stale)
            while wanted.is_taken and self._wanted.get(key) is wanted and wanted.samples is None:
                self._changed.wait()
            if self._wanted.get(key) is not wanted:  # it failed, and does so again for who asks
                return None
            self._forget(key)
            self._start()  # there is room again
            return wanted.samples

    def _forget(self, key: tuple[Audio, int]) -> None:
        gone = self._wanted.pop(key)
        self._bytes -= 0 if gone.samples is None else gone.samples.nbytes

    def _start(self) -> None:
        """As many threads as there is work for; `_changed` is held."""
        untaken = (wanted for wanted in self._wanted.values() if not wanted.is_taken)
        useful = sum(1 for _ in islice(untaken, self._most_threads)) if self._bytes < self._most_bytes else 0
        while self._threads < useful:
            try:
                threading.Thread(target=self._work, name="decoding").start()
            except RuntimeError:  # the system has no more of them: whoever asks decodes
                return
            self._threads += 1

    def _work(self) -> None:
        while (key := self._next()) is not None:
            try:
                samples = key[0].samples(key[1])
            except Exception:  # whoever asks for it decodes it once more, and meets the error there
                samples = None
            with self._changed:
                wanted = self._wanted.get(key)
                if wanted is not None and wanted.is_taken and wanted.samples is None:
                    if samples is None:
                        del self._wanted[key]
                    else:
                        wanted.samples = samples
                        self._bytes += samples.nbytes
                self._changed.notify_all()

    def _next(self) -> tuple[Audio, int] | None:
        """The first that nobody decodes; `None` if there is none, or no room for it: then the thread has ended."""
        with self._changed:
            if self._bytes < self._most_bytes and threading.main_thread().is_alive():
                for key, wanted in self._wanted.items():
                    if not wanted.is_taken:
                        wanted.is_taken = True
                        return key
            self._threads -= 1
            return None


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_background = Background(min(cores(), MOST_THREADS))


def begin(audios: Iterable[Audio], rate: int) -> None:
    """`Background.begin` of this process."""
    _background.begin(audios, rate)


def samples(audio: Audio, rate: int) -> npt.NDArray[np.float32]:
    """`Background.samples` of this process.

    Raises:
        SpeechbenchError: As `Audio.samples`.
    """
    return _background.samples(audio, rate)


def telling(expect: Callable[[Sequence[Example]], None]) -> Callable[[list[Example]], list[Example]]:
    """What puts a batch together for a training loop, and tells a model's `expect` of it: a batch ahead of its use.

    Accelerate's loader fetches one more than it gives out, to know which is the last.
    """

    def collate(examples: list[Example]) -> list[Example]:
        expect(examples)
        return examples

    return collate


def _after_fork() -> None:
    """Threads do not come along into a forked process, and locks may be held there for ever."""
    global _background
    _background = Background(min(cores(), MOST_THREADS))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
