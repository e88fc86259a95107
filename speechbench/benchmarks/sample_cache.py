"""Decoded recordings kept on disk, where that is asked for: by content, so that one that moved is found again."""

from __future__ import annotations

import io
import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from speechbench.errors import SpeechbenchError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

VARIABLE = "SPEECHBENCH_AUDIO_CACHE"
"""The environment variable that names the folder."""
_CHECK = 4  # bytes of the CRC-32 that follows the array; `numpy.load` does not look at them


def cache_in(folder: Path | None) -> None:
    """Says where decoded recordings are kept, for this process and those that it starts.

    Args:
        folder: It is made when the first recording is decoded; `None` keeps nothing.
    """
    if folder is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = str(folder)


def folder() -> Path | None:
    """Where decoded recordings are kept, as `cache_in` or `VARIABLE` says; `None` if they are not."""
    named = os.environ.get(VARIABLE)
    return Path(os.path.expanduser(named)) if named else None


def kept(sha256: str, rate: int, decode: Callable[[], npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """A recording's samples, decoded only if they are not in the folder.

    Each is a file that `numpy.load` reads, below the versions of the libraries that decoded it.

    Args:
        sha256: Of the recording's bytes, hexadecimal.
        rate: Sampling rate of the samples in Hz.
        decode: Gives the samples; what it raises is raised.

    Returns:
        Shape [sample].

    Raises:
        SpeechbenchError: If there is a folder and it cannot be written.
    """
    place = folder()
    if place is None:
        return decode()
    path = place / _decoders() / sha256[:2] / f"{sha256}-{rate}.npy"
    samples = _read(path)
    if samples is None:
        samples = decode()
        try:
            _write(path, samples)
        except OSError as error:
            raise SpeechbenchError(
                f"decoded audio cannot be kept in {place}: {error.strerror or error}; make room there or make it "
                f"writable, set {VARIABLE} to another folder, or unset it to keep nothing"
            ) from error
    return samples


def _decoders() -> str:
    import soundfile
    import soxr

    return f"libsndfile-{soundfile.__libsndfile_version__} soxr-{soxr.__version__}-{soxr.__libsoxr_version__}"


def _read(path: Path) -> npt.NDArray[np.float32] | None:
    """What `_write` wrote; `None` if there is nothing, or not the whole of it, or something else."""
    import numpy as np

    try:
        content = path.read_bytes()
    except OSError:
        return None
    if len(content) < _CHECK or _check(memoryview(content)[:-_CHECK]) != content[-_CHECK:]:
        return None
    samples: npt.NDArray[np.float32] = np.load(io.BytesIO(content), allow_pickle=False)
    return samples


def _write(path: Path, samples: npt.NDArray[np.float32]) -> None:
    """Writes a whole file or none."""
    import numpy as np

    stream = io.BytesIO()
    np.save(stream, samples, allow_pickle=False)
    content = stream.getbuffer()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.write(_check(content))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _check(content: memoryview) -> bytes:
    return zlib.crc32(content).to_bytes(_CHECK, "little")
