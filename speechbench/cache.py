"""Where this machine keeps what was made or paid for once."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The folder for made corpora and a judge's grades: $SPEECHBENCH_CACHE, or the platform's folder for caches."""
    if os.environ.get("SPEECHBENCH_CACHE"):
        return Path(os.environ["SPEECHBENCH_CACHE"]).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "speechbench"
    variable, otherwise = ("LOCALAPPDATA", "AppData/Local") if sys.platform == "win32" else ("XDG_CACHE_HOME", ".cache")
    return Path(os.environ.get(variable) or Path.home() / otherwise) / "speechbench"
