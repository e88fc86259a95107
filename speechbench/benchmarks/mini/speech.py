"""Speech from espeak-ng, in memory, whose samples depend on the arguments alone.

The engine is called through its C interface, from the wheel of the `tts` extra (espeakng-loader) or from
a libespeak-ng of the system. It is GPL-3 software that is called, never linked or shipped.
"""

from __future__ import annotations

import _ctypes
import ctypes
import ctypes.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from speechbench.errors import MissingError

NATIVE_RATE = 22_050  # Hz, what espeak-ng synthesises at
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_CHARS_UTF8 = 1
_END_PAUSE_SAMPLES = int(0.05 * NATIVE_RATE)
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker.

    Attributes:
        name: espeak-ng's voice, accent first and variant behind the plus ("en-us+m3").
        words_per_minute: Speaking rate, 80 to 450.
        pitch: Base pitch, 0 to 99.
        pitch_range: 0 (monotone) to 99.
    """

    name: str
    words_per_minute: int = 165
    pitch: int = 50
    pitch_range: int = 50


@cache
def _location() -> tuple[str, bytes | None]:
    try:
        import espeakng_loader
    except ImportError:
        path, data = ctypes.util.find_library("espeak-ng"), None
    else:
        path, data = espeakng_loader.get_library_path(), espeakng_loader.get_data_path().encode()
    if path is None:
        raise MissingError(
            "the mini corpora are spoken by espeak-ng, which is not installed here: "
            "run `pip install 'speechbench[tts]'`, or install libespeak-ng with the system's packages"
        )
    return path, data


@contextmanager
def _opened() -> Iterator[tuple[ctypes.CDLL, bytes | None]]:
    """The engine, newly loaded: it keeps state in static variables that only unloading it clears."""
    path, data = _location()
    library = ctypes.CDLL(path)
    try:
        yield library, data
    finally:
        _ctypes.dlclose(library._handle)


def engine() -> str:
    """Name and version of the speech engine, for provenance."""
    with _opened() as (library, _):
        library.espeak_Info.restype = ctypes.c_char_p
        return "espeak-ng " + str(library.espeak_Info(None).decode())


def speak(text: str, voice: Voice, seed: int = 0) -> npt.NDArray[np.int16]:
    """Says a text.

    The engine is loaded anew and its noise seeded for each utterance, so that the samples do not
    depend on what was said before.

    Args:
        text: What to say, in the voice's language.
        voice: Who says it.
        seed: Of the engine's noise (breath, fricatives).

    Returns:
        Samples at `NATIVE_RATE`, mono, 16 bit.

    Raises:
        MissingError: If espeak-ng is not installed.
        ValueError: If espeak-ng has no such voice.
    """
    chunks: list[npt.NDArray[np.int16]] = []

    def collect(samples: Any, length: int, _events: Any) -> int:
        if samples and length > 0:
            chunks.append(np.ctypeslib.as_array(samples, shape=(length,)).copy())
        return 0

    callback = _CALLBACK(collect)  # held here, or it would be freed while the engine calls it
    with _opened() as (library, data):
        if library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data, 0) != NATIVE_RATE:
            raise MissingError(
                "espeak-ng is installed but does not start: its voice data is missing or of another version"
            )
        try:
            library.espeak_SetSynthCallback(callback)
            if library.espeak_SetVoiceByName(voice.name.encode()) != 0:
                raise ValueError(f"espeak-ng has no voice {voice.name!r}")
            for parameter, value in (
                (_RATE, voice.words_per_minute),
                (_PITCH, voice.pitch),
                (_RANGE, voice.pitch_range),
            ):
                library.espeak_SetParameter(parameter, value, 0)
            if hasattr(library, "espeak_ng_SetRandSeed"):
                library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
            ctypes.CDLL(None).srand(ctypes.c_uint(seed))
            raw = text.encode()
            library.espeak_Synth(raw, len(raw) + 1, 0, 0, 0, _CHARS_UTF8, None, None)
            library.espeak_Synchronize()
        finally:
            library.espeak_Terminate()
    return np.concatenate(chunks) if chunks else np.zeros(_END_PAUSE_SAMPLES, dtype=np.int16)
