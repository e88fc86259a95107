"""The speech of an example, as the page refers to it."""

from __future__ import annotations

import base64
import hashlib
import os
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

MODES = ("link", "embed", "none", "serve")

_UNKNOWN = "application/octet-stream"

_TYPES = {
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
    ".webm": "audio/webm",
}


def link(audio: str, folder: Path) -> str:
    """Where a browser finds a file, seen from the page's folder; from another drive, its absolute address.

    It never has a scheme of its own, nor is it taken for a host: it begins with a dot.
    """
    parent, name = os.path.split(os.path.abspath(audio))
    return f"{_way(parent, os.path.abspath(folder))}/{quote(name, safe='', errors='replace')}"


@lru_cache(maxsize=1024)
def _way(to: str, start: str) -> str:
    """From one folder to another, quoted; recordings are many and their folders few."""
    try:
        relative = os.path.relpath(to, start)
    except ValueError:  # another drive
        return Path(to).as_uri()
    quoted = quote(relative.replace(os.sep, "/"), safe="/", errors="replace")
    return quoted if quoted in (".", "..") or quoted.startswith("../") else f"./{quoted}"


def served(audio: str) -> str:
    """Where a page that is served finds a file: a name that says nothing of the machine's folders."""
    name = hashlib.sha256(os.path.abspath(audio).encode("utf-8", "replace")).hexdigest()[:24]
    return f"./audio/{name}{Path(audio).suffix.lower() if kind_of(audio) != _UNKNOWN else ''}"


def kind_of(audio: str) -> str:
    """The media type of a recording by its suffix."""
    return _TYPES.get(Path(audio).suffix.lower(), _UNKNOWN)


def is_recording(audio: str) -> bool:
    """Whether a name is that of a file of sound: a run folder from elsewhere must not have others given away."""
    return kind_of(audio) != _UNKNOWN and os.path.isfile(audio)


def embedded(audio: str) -> tuple[str, str] | None:
    """Type and content in base64 of a recording; `None` where there is no such file, or it cannot be read."""
    if not is_recording(audio):
        return None
    try:
        content = Path(audio).read_bytes()
    except OSError:
        return None
    return kind_of(audio), base64.b64encode(content).decode("ascii")
