"""What libsndfile reads, and what it overlooks: cut ends, and headers that promise what cannot be there."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from speechbench.benchmarks.mpeg import Uncounted, uncounted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import soundfile

CUT = "is cut off: it holds less than its header promises"
_CUT_OGG = "is cut off: the last page of its Ogg stream is missing or not whole"
_DAMAGED = "is damaged: its header promises more than a file of this size can hold"
_SLACK = 0.1  # seconds that may lack at the end of what a header promises: decoders round, and nobody hears it
_DENSEST = 5000  # samples a byte: FLAC's largest block of one value, and far beyond every other format
_UNKNOWN_LENGTH = 0x7FFFF000  # WAV writers that stream put this much or more, or 0, where the length belongs
_BLOCK = 1 << 20  # bytes read at once
_PAGE = 65307  # bytes of Ogg's largest page: RFC 3533, section 6


class Unusable(Exception):
    """What is wrong with a recording, to be said after its name."""


def in_memory(content: bytes) -> BinaryIO:
    """Bytes as a stream.

    On Linux as a file without a name: there libsndfile reads by itself, as it does from disk. Otherwise it calls the
    interpreter for every few hundred bytes, and threads that decode wait for each other.
    """
    if not hasattr(os, "memfd_create"):
        return io.BytesIO(content)
    stream = os.fdopen(os.memfd_create("recording"), "w+b", buffering=0)
    unwritten = memoryview(content)
    while unwritten:
        unwritten = unwritten[stream.write(unwritten) :]
    return stream


def sha256_of(stream: BinaryIO) -> str:
    """Hash of the whole stream, hexadecimal, read piece by piece."""
    digest = hashlib.sha256()
    stream.seek(0)
    while block := stream.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Opened:
    """A recording that can be decoded.

    Attributes:
        file: Where to read from.
        frames: How many samples there are in each channel, as far as can be told without decoding them.
        promised: How many there must be: what the header says, less `_SLACK`; 0 where it says nothing.
        mp3: Where libsndfile guesses how many there are.
    """

    file: soundfile.SoundFile
    frames: int
    promised: int
    mp3: Uncounted | None

    def read(self) -> npt.NDArray[np.float32]:
        """All samples, in [-1, 1]; shape [sample, channel]."""
        with ExitStack() as held:
            file = self.file
            if self.mp3 is not None and file.frames < self.frames:
                file = held.enter_context(_sound_file(held.enter_context(in_memory(self.mp3.guessed_longer()))))
            samples: npt.NDArray[np.float32] = file.read(self.frames, dtype="float32", always_2d=True)
            return samples

    def reaches(self) -> bool:
        """Whether there is a sample where the promised ones end; a FLAC that is cut raises in looking for it."""
        if self.promised >= self.frames:
            return False
        self.file.seek(self.promised)
        return len(self.file.read(1, dtype="float32")) > 0


@contextmanager
def opened(stream: BinaryIO) -> Iterator[Opened]:
    """A recording to decode.

    Raises:
        Unusable: For what libsndfile finds wrong with it, then or in reading on.
    """
    import soundfile

    size = stream.seek(0, io.SEEK_END)
    if not size:
        raise Unusable("is empty (0 bytes)")
    stream.seek(0)
    head = stream.read(8)
    if head.startswith(b"OggS") and not _is_ended(stream, size):
        raise Unusable(_CUT_OGG)
    mp3 = uncounted(stream)
    try:
        with _sound_file(stream) as file:
            frames = mp3.samples if mp3 is not None and mp3.frames else file.frames
            if not 0 <= frames <= _DENSEST * size:  # else it asks for memory that it cannot fill
                raise Unusable(_DAMAGED)
            promised = frames if mp3 is None else 0
            if head.startswith(b"RIFF"):  # where a WAV is cut, libsndfile corrects the number in silence
                length = 8 + int.from_bytes(head[4:], "little")
                promised = promised * length // size if 8 < length < _UNKNOWN_LENGTH else 0
            yield Opened(file, frames, max(0, promised - int(_SLACK * file.samplerate)), mp3)
    except soundfile.LibsndfileError as error:
        raise Unusable(_undecodable(error)) from error
    except ValueError as error:  # of numpy, asked for fewer than no samples: seen of a damaged MP3
        raise Unusable(_DAMAGED) from error


def _sound_file(stream: BinaryIO) -> soundfile.SoundFile:
    import soundfile

    stream.seek(0)  # where libsndfile takes the file to begin
    has_number = sys.platform != "win32" and not isinstance(stream, io.BytesIO)  # there each library has its own
    return soundfile.SoundFile(stream.fileno() if has_number else stream, closefd=False)


def _is_ended(stream: BinaryIO, size: int) -> bool:
    """Whether the last page of an Ogg is marked as the last and is whole; libsndfile ends with any page in silence."""
    stream.seek(max(0, size - 2 * _PAGE))
    end = stream.read()
    page = end[end.rfind(b"OggS") :]
    return len(page) >= 27 and page[5] & 4 != 0 and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _undecodable(error: soundfile.LibsndfileError) -> str:
    said = str(error.error_string).removeprefix("Error : ").rstrip(".")
    if "does not exist" in said:  # libsndfile's word for what none of its decoders takes
        said = "format not recognised"
    if "seek" in said or "lost sync" in said:  # of FLAC and Ogg, whose end is looked for
        said += ", as happens where a file is cut off or damaged"
    return f"cannot be decoded: {said}"
