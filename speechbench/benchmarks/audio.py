"""Audio files, decoded lazily, resampled and mixed to mono."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from speechbench.errors import SpeechbenchError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


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
            SpeechbenchError: If the file is missing, unreadable or empty.
        """
        import numpy as np
        import soundfile

        if not self.path.is_file():
            raise SpeechbenchError(f"audio file {self.path} is missing")
        try:
            data, native_rate = soundfile.read(self.path, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise SpeechbenchError(f"audio file {self.path} cannot be decoded: {error}") from error
        if len(data) == 0:
            raise SpeechbenchError(f"audio file {self.path} is empty: it holds no sample")
        mono = data.mean(axis=1)
        if native_rate != rate:
            import soxr

            mono = soxr.resample(mono, native_rate, rate, quality="HQ")
        return np.ascontiguousarray(mono, dtype=np.float32)

    def defect(self) -> str | None:
        """What is wrong with the file as far as can be told without opening it; `None` if nothing is."""
        try:
            size = self.path.stat().st_size
        except OSError:
            return f"audio file {self.path} is missing"
        return None if size else f"audio file {self.path} is empty (0 bytes)"

    def seconds(self) -> float:
        """Length as the file's header gives it.

        Raises:
            SpeechbenchError: If the file is missing or no audio.
        """
        import soundfile

        if not self.path.is_file():
            raise SpeechbenchError(f"audio file {self.path} is missing")
        try:
            return float(soundfile.info(self.path).duration)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise SpeechbenchError(f"audio file {self.path} cannot be read: {error}") from error

    def fingerprint(self) -> str:
        """SHA-256 of the file's bytes, hexadecimal.

        Raises:
            SpeechbenchError: If the file is missing.
        """
        if not self.path.is_file():
            raise SpeechbenchError(f"audio file {self.path} is missing")
        return hashlib.sha256(self.path.read_bytes()).hexdigest()
