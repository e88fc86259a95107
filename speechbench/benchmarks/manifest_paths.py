"""Which recordings the lines of a manifest may name: those below one folder, wherever links lead."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISLNK

from speechbench.benchmarks.manifest_files import shown


class Root:
    """The folder that paths are relative to, and below which all recordings lie.

    Args:
        folder: As the user names it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._real = os.path.realpath(folder)
        self._inside: dict[
            str, tuple[bool, str]
        ] = {}  # by folder as written: whether, and its real path with a separator
        self._awaited: dict[str, None] = {}

    def refusal(self, name: str) -> str | None:
        """Why a path may not be used; `None` if it may, whether there is such a file or not.

        Args:
            name: Relative or absolute, without NUL.
        """
        folder, file = os.path.split(name)
        if file in ("", os.curdir, os.pardir):
            return f"the field 'audio' is {shown(name)}, which names a folder: name a file"
        if folder not in self._inside:
            real = os.path.realpath(os.path.join(self.folder, folder))
            self._inside[folder] = self._holds(real), os.path.join(real, "")
        inside, prefix = self._inside[folder]
        if not inside:
            return (
                f"the field 'audio' is {shown(name)}, which lies outside of {self._real}: put the file there, or "
                f"give the manifest the parameter audio={_holder(prefix + file, self._real)}, which paths are then "
                "relative to"
            )
        path = prefix + file
        try:
            linked = S_ISLNK(os.lstat(path).st_mode)
        except OSError:
            self._awaited[prefix] = None
            return None
        if linked and not self._holds(os.path.realpath(path)):
            return (
                f"the field 'audio' is {shown(name)}, a link that leads out of {self._real}: put the file itself "
                "there, or write the path that it leads to and give the manifest the parameter audio=FOLDER that "
                "holds it"
            )
        return None

    def awaited(self) -> Sequence[Path]:
        """The folders in which there were files lacking: what appears there may be a link, and is looked at again."""
        return [Path(folder) for folder in self._awaited]

    def _holds(self, real: str) -> bool:
        return real == self._real or real.startswith(os.path.join(self._real, ""))


def _holder(path: str, root: str) -> str:
    """The nearest folder that holds a file as well as all that lies below the root."""
    try:
        return os.path.commonpath([path, root])
    except ValueError:  # of two drives of Windows there is none
        return os.path.dirname(path)
