"""Recordings, decoded lazily, resampled and mixed to mono; what is broken is named, never passed on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from speechbench.benchmarks import sample_cache
from speechbench.benchmarks.sound_file import CUT, Unusable, in_memory, opened, sha256_of
from speechbench.errors import SpeechbenchError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SHORTEST = 0.025
"""Seconds that a recording must have: one window of the models' features."""
LONGEST = 3600.0
"""Seconds that it may have: beyond every model's hearing, and decoded it still fits into memory."""
MEND = "put a whole recording there, or take its example out of the data"
RENEW = "run `speechbench benchmarks prepare` for it, and what was trained before stands apart"


@dataclass(frozen=True)
class Examined:
    """What one reading of a recording tells, without decoding more of it than its header and its end.

    Attributes:
        sha256: Of the file's bytes, hexadecimal; empty where they cannot be read.
        seconds: Length, as the header gives it; 0 where it cannot be told.
        rate: Samples a second, in Hz; 0 likewise.
        channels: 0 likewise.
        defect: What is wrong with it, said after its name; `None` if nothing was found.
    """

    sha256: str
    seconds: float = 0.0
    rate: int = 0
    channels: int = 0
    defect: str | None = None


@dataclass(frozen=True)
class Audio:
    """A file of speech; subclasses read their bytes from elsewhere: they have a `content` and a `stamp` of their own.

    Attributes:
        path: FLAC, WAV, MP3, Ogg Vorbis or Opus.
        sha256: Of the bytes that it must have, hexadecimal; `None` where any will do.
    """

    path: Path
    sha256: str | None = field(default=None, compare=False)

    def samples(self, rate: int) -> npt.NDArray[np.float32]:
        """Decodes the file.

        Args:
            rate: Wanted sampling rate in Hz; resampled with soxr's high quality where the file's differs.

        Returns:
            Mono samples, shape [sample], in [-1, 1] but for what resampling overshoots.

        Raises:
            SpeechbenchError: If the file is missing, unreadable, cut off, shorter than `SHORTEST`, longer than
                `LONGEST`, is not the one that `sha256` says, or holds a NaN or an infinity; or if decoded audio
                cannot be kept where `sample_cache.cache_in` says.
        """
        with self._opened() as stream:
            is_hashed = self.sha256 is not None or sample_cache.folder() is not None
            found = sha256_of(stream) if is_hashed else ""
            if self.sha256 not in (None, found):
                raise SpeechbenchError(f"{self} has changed since the benchmark was read; {RENEW}")
            return sample_cache.kept(found, rate, lambda: self._decode(stream, rate))

    def _decode(self, stream: BinaryIO, rate: int) -> npt.NDArray[np.float32]:
        import numpy as np

        try:
            mono, native_rate = _mono(stream)
        except Unusable as error:
            raise SpeechbenchError(f"{self} {error}; {MEND}") from error
        if native_rate != rate:
            import soxr

            mono = soxr.resample(mono, native_rate, rate, quality="HQ")
        return np.ascontiguousarray(mono, dtype=np.float32)

    def seconds(self) -> float:
        """Length as the file's header gives it.

        Raises:
            SpeechbenchError: If the file is missing or no audio.
        """
        found = self.examine()
        if found.defect is not None and not found.rate:
            raise SpeechbenchError(f"{self} {found.defect}; {MEND}")
        return found.seconds

    def examine(self) -> Examined:
        """Reads the whole file once; raises nothing."""
        sha256, seconds, rate, channels = "", 0.0, 0, 0
        try:
            with self._opened() as stream:
                sha256 = sha256_of(stream)
                with opened(stream) as recording:
                    rate, channels = recording.file.samplerate, recording.file.channels
                    seconds = recording.frames / rate
                    _refuse_length(recording.frames, rate)
                    if not recording.reaches():
                        raise Unusable(CUT)
        except Unusable as error:
            return Examined(sha256, seconds, rate, channels, str(error))
        except SpeechbenchError as error:
            return Examined(sha256, defect=str(error).removeprefix(f"{self} ").removesuffix(f"; {MEND}"))
        return Examined(sha256, seconds, rate, channels)

    def content(self) -> bytes:
        """The file's bytes.

        Raises:
            SpeechbenchError: If they cannot be read.
        """
        with self._opened() as stream:
            return stream.read()

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """The bytes as a stream; a file is read piece by piece, however long it is."""
        if type(self).content is not Audio.content:
            with in_memory(self.content()) as stream:
                yield stream
            return
        try:
            with self.path.open("rb", buffering=0) as file:
                yield file
        except OSError as error:
            raise SpeechbenchError(f"{self} {unreadable(error)}; {MEND}") from error

    def stamp(self) -> tuple[int, int]:
        """Size and time of change: where both are as before, so are the bytes, as far as can be told unread.

        Raises:
            OSError: If there is no such file.
        """
        found = self.path.stat()
        return found.st_size, found.st_mtime_ns

    def __str__(self) -> str:
        """As sentences begin about it."""
        return f"audio file {self.path}"


def unreadable(error: OSError) -> str:
    """Why a file cannot be read, said after its name."""
    return "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"


def _mono(stream: BinaryIO) -> tuple[npt.NDArray[np.float32], int]:
    """All samples, shape [sample], the mean of the channels; and their rate in Hz."""
    import numpy as np

    with opened(stream) as recording:
        rate, is_integer = recording.file.samplerate, recording.file.subtype.startswith("PCM")
        _refuse_length(recording.frames, rate)
        data = recording.read()
    if len(data) < recording.promised:
        raise Unusable(CUT)
    _refuse_length(len(data), rate)
    if data.shape[1] > 1:
        mono = data.mean(axis=1)
    else:
        mono = data[:, 0]
        if not is_integer:
            mono += 0.0  # makes negative zeros positive, as the mean of several channels does
    if not is_integer and not np.isfinite(mono).all():
        raise Unusable("holds samples that are no finite numbers")
    return mono, rate


def _refuse_length(samples: int, rate: int) -> None:
    if samples < SHORTEST * rate:
        held = f"{samples} sample{'' if samples == 1 else 's'}" if samples else "no sample"
        raise Unusable(f"is too short: it holds {held} at {rate} Hz, less than {SHORTEST * 1000:.0f} ms")
    if samples > LONGEST * rate:
        raise Unusable(f"is too long: it holds {samples / rate / 60:.0f} minutes, more than {LONGEST / 60:.0f}")
