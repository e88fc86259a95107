"""Audio files, decoded lazily, resampled and mixed to mono; what is broken is named, never passed on."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from speechbench.errors import SpeechbenchError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import soundfile

SHORTEST = 0.025
"""Seconds that a recording must have: one window of the models' features."""
MEND = "put a whole recording there, or take its example out of the data"
_SLACK = 0.1  # seconds that may lack at the end of what a header promises: decoders round, and nobody hears it
_DENSEST = 5000  # samples a byte: FLAC's largest block of one value, and far beyond every other format
_UNKNOWN_LENGTH = 0x7FFFF000  # WAV writers that stream put this much or more, or 0, where the length belongs


@dataclass(frozen=True)
class Audio:
    """A file of speech.

    Attributes:
        path: FLAC, WAV, MP3, Ogg Vorbis or Opus.
    """

    path: Path

    def samples(self, rate: int) -> npt.NDArray[np.float32]:
        """Decodes the file.

        Args:
            rate: Wanted sampling rate in Hz; resampled with soxr's high quality where the file's differs.

        Returns:
            Mono samples, shape [sample], in [-1, 1] but for what resampling overshoots.

        Raises:
            SpeechbenchError: If the file is missing, unreadable, cut off, shorter than `SHORTEST`, or holds a
                NaN or an infinity.
        """
        import numpy as np

        content = self._content()
        try:
            with _decoder(content) as file:
                native_rate, promised = file.samplerate, _promised(file, content)
                data = file.read(dtype="float32", always_2d=True)
            if len(data) < promised:
                raise _Unusable(_CUT)
            _refuse_short(len(data), native_rate)
            mono = data.mean(axis=1)
            if not np.isfinite(mono).all():
                raise _Unusable("holds samples that are no finite numbers")
        except _Unusable as error:
            raise self._error(str(error)) from error
        if native_rate != rate:
            import soxr

            mono = soxr.resample(mono, native_rate, rate, quality="HQ")
        return np.ascontiguousarray(mono, dtype=np.float32)

    def defect(self) -> str | None:
        """What is wrong with the file as far as can be told without opening it; `None` if nothing is."""
        try:
            size = self.path.stat().st_size
        except OSError as error:
            return f"audio file {self.path} {_unreadable(error)}"
        return None if size else f"audio file {self.path} is empty (0 bytes)"

    def seconds(self) -> float:
        """Length as the file's header gives it.

        Raises:
            SpeechbenchError: If the file is missing or no audio.
        """
        try:
            with _decoder(self._content()) as file:
                return float(file.frames / file.samplerate)
        except _Unusable as error:
            raise self._error(str(error)) from error

    def examine(self) -> tuple[str, str | None]:
        """Reads the whole file once, without decoding more of it than its header and its end.

        Returns:
            SHA-256 of the bytes, hexadecimal, empty where they cannot be read; and what is wrong, `None` if
            nothing was found.
        """
        try:
            content = self.path.read_bytes()
        except OSError as error:
            return "", f"audio file {self.path} {_unreadable(error)}"
        fingerprint, defect = hashlib.sha256(content).hexdigest(), None
        try:
            with _decoder(content) as file:
                _refuse_short(file.frames, file.samplerate)
                if not _reaches(file, _promised(file, content)):
                    raise _Unusable(_CUT)
        except _Unusable as error:
            defect = f"audio file {self.path} {error}"
        return fingerprint, defect

    def _content(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise self._error(_unreadable(error)) from error

    def _error(self, defect: str) -> SpeechbenchError:
        return SpeechbenchError(f"audio file {self.path} {defect}; {MEND}")


_CUT = "is cut off: it holds less than its header promises"
_DAMAGED = "is damaged: its header promises more than a file of this size can hold"


def _unreadable(error: OSError) -> str:
    return "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"


def _undecodable(error: soundfile.LibsndfileError) -> str:
    said = str(error.error_string).removeprefix("Error : ").rstrip(".")
    if "does not exist" in said:  # libsndfile's word for what none of its decoders takes
        said = "format not recognised"
    if "seek" in said or "lost sync" in said:  # of FLAC and Ogg, whose end is looked for
        said += ", as happens where a file is cut off or damaged"
    return f"cannot be decoded: {said}"


class _Unusable(Exception):
    """What is wrong with a file's content, to be said after its name."""


@contextmanager
def _decoder(content: bytes) -> Iterator[soundfile.SoundFile]:
    """An open file; what libsndfile finds wrong with it, then or in reading on, is `_Unusable`."""
    import soundfile

    if not content:
        raise _Unusable("is empty (0 bytes)")
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            if not 0 <= file.frames <= _DENSEST * len(content):  # else it asks for memory that it cannot fill
                raise _Unusable(_DAMAGED)
            yield file
    except soundfile.LibsndfileError as error:
        raise _Unusable(_undecodable(error)) from error
    except ValueError as error:  # of numpy, asked for fewer than no samples: seen of a damaged MP3
        raise _Unusable(_DAMAGED) from error


def _refuse_short(samples: int, rate: int) -> None:
    if samples < SHORTEST * rate:
        held = f"{samples} sample{'' if samples == 1 else 's'}" if samples else "no sample"
        raise _Unusable(f"is too short: it holds {held} at {rate} Hz, less than {SHORTEST * 1000:.0f} ms")


def _promised(file: soundfile.SoundFile, content: bytes) -> int:
    """How many samples the header says there are, less `_SLACK`; 0 where nothing can be told from it."""
    frames: int = file.frames
    if content.startswith(b"RIFF"):  # where a WAV is cut, libsndfile corrects the number in silence
        length = 8 + int.from_bytes(content[4:8], "little")
        frames = frames * length // len(content) if 8 < length < _UNKNOWN_LENGTH else 0
    elif file.format == "MP3" and not _counts_its_frames(content):
        return 0  # libsndfile guesses, and for a varying bit rate it guesses wrong
    return max(0, frames - int(_SLACK * file.samplerate))


def _reaches(file: soundfile.SoundFile, promised: int) -> bool:
    """Whether there is a sample where the promised ones end; a FLAC that is cut raises in looking for it."""
    if promised >= file.frames:
        return False
    file.seek(promised)
    return len(file.read(1, dtype="float32")) > 0


def _counts_its_frames(mp3: bytes) -> bool:
    """Whether an MP3's first frame is a Xing or Info header, which says how many follow."""
    start = 0
    if mp3.startswith(b"ID3"):  # tags stand first; their length has seven bits a byte
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(mp3[6:10], (21, 14, 7, 0), strict=False))
    head = mp3[start : start + 200]
    return b"Xing" in head or b"Info" in head
