"""LibriSpeech's tree: recordings by utterance id, and the transcripts beside them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import Progress
from speechbench.benchmarks.row_source import Note
from speechbench.errors import SpeechbenchError

_SUFFIXES = (".flac", ".wav")  # the first is preferred where there are both
_TRANSCRIPTS = ".trans.txt"
_TOLD_EVERY = 200  # folders


def speaker_of(utterance: str) -> str:
    """Who speaks: utterance ids are `<speaker>-<chapter>-<number>`."""
    return utterance.partition("-")[0]


class LibriSpeech:
    """The recordings below some folders, by utterance id: the name of a FLAC or WAV file without its suffix.

    FLAC goes before WAV, then the first in the order of folders and names. Links are followed to what lies below the
    same folders, and to nothing else.

    Args:
        folders: `LibriSpeech`, or any folders above or below it.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self.twice: dict[str, Path] = {}
        """Utterances that have a second file of the same format, and the last such."""
        self._found: dict[str, str] = {}
        self._chapters: dict[str, Path] = {}
        self._lines: dict[Path, dict[str, str]] = {}
        self._walked: list[Path] = []

    def __len__(self) -> int:
        """How many utterances `scan` has found."""
        return len(self._found)

    def scan(self, note: Note, progress: Progress | None = None) -> None:
        """Looks through the folders, and forgets what an earlier look has found.

        Args:
            note: Told of links out of the folders, links to nothing, and folders that cannot be read.
            progress: Called as `progress("looking through folders", done, known so far)`.
        """
        for known in (self.twice, self._found, self._chapters, self._lines, self._walked):
            known.clear()
        real_roots = [os.path.realpath(folder) for folder in self.folders]
        prefixes = tuple(os.path.join(root, "") for root in real_roots)
        walked: set[str] = set()
        for number, (root, real_root) in enumerate(zip(self.folders, real_roots, strict=True)):
            waiting = [""]  # folders below the root, the next one last
            while waiting:
                inner = waiting.pop()
                real = os.path.join(real_root, inner) if inner else real_root
                if real in walked:
                    continue  # one of the folders lies in another
                walked.add(real)
                folder = root / inner
                self._walked.append(folder)
                if progress is not None and len(walked) % _TOLD_EVERY == 0:
                    progress("looking through folders", len(walked), len(walked) + len(waiting))
                try:
                    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
                except OSError as error:
                    note(str(folder), f"the folder cannot be read: {error.strerror}", "unreadable folder")
                    continue
                for entry in entries:
                    if entry.is_symlink() and not _leads_inside(entry, prefixes, note):
                        continue
                    if entry.is_file():
                        self._add(number, os.path.join(inner, entry.name), entry.name)
                waiting += [
                    os.path.join(inner, e.name) for e in reversed(entries) if e.is_dir(follow_symlinks=False)
                ]  # what a link to a folder leads to is found where it lies

    def find(self, utterance: str) -> str | None:
        """What `audio` calls an utterance's recording; `None` if `scan` found none."""
        return self._found.get(utterance)

    def audio(self, name: str, sha256: str | None = None) -> Audio:
        """The recording that `find` calls so, which must have this hash."""
        number, _, inner = name.partition("/")
        return Audio(self.folders[int(number)] / inner, sha256)

    def transcript(self, utterance: str) -> str | None:
        """What is said, from the chapter's file: `<utterance id> <TEXT>` a line; `None` if it does not stand there.

        Bytes that are no UTF-8 are surrogates.

        Raises:
            SpeechbenchError: If the file cannot be read.
        """
        path = self._chapters.get(utterance.rpartition("-")[0])
        if path is None:
            return None
        if path not in self._lines:
            try:
                content = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
            except OSError as error:
                raise SpeechbenchError(f"{path} cannot be read: {error.strerror}; mend or remove it") from error
            lines = (line.split(maxsplit=1) for line in content.split("\n"))
            self._lines[path] = {line[0]: line[1].rstrip() for line in lines if len(line) == 2}
        return self._lines[path].get(utterance)

    def sources(self) -> Sequence[Path]:
        """The folders that `scan` has walked and the files of transcripts that were read."""
        return [*self._walked, *self._lines]

    def identity(self) -> Mapping[str, Any]:
        """The folders."""
        return {"recordings": [str(folder.absolute()) for folder in self.folders]}

    def _add(self, number: int, inner: str, name: str) -> None:
        if name.endswith(_TRANSCRIPTS):
            self._chapters.setdefault(name.removesuffix(_TRANSCRIPTS), self.folders[number] / inner)
            return
        stem, suffix = os.path.splitext(name)
        if suffix.lower() not in _SUFFIXES:
            return
        first = self._found.get(stem)
        if first is not None and first.lower().endswith(suffix.lower()):
            self.twice[stem] = self.folders[number] / inner
        elif first is None or suffix.lower() == _SUFFIXES[0]:
            self._found[stem] = f"{number}/{inner}"
            self.twice.pop(stem, None)


def _leads_inside(link: os.DirEntry[str], prefixes: tuple[str, ...], note: Note) -> bool:
    """Whether a link leads to something below the folders; if not and it may be wanted, that is noted."""
    target = os.path.realpath(link.path)
    there = os.path.exists(target)
    if there and target.startswith(prefixes):
        return True
    if os.path.isdir(target) or os.path.splitext(link.name)[1].lower() in ("", *_SUFFIXES):
        if not there:
            note(ascii(link.path)[1:-1], f"the link leads to {target!r}, where nothing is; left out", "broken link")
        elif target not in (prefix.rstrip(os.sep) for prefix in prefixes):  # what leads back to a root adds nothing
            outside = target if os.path.isdir(target) else os.path.dirname(target)
            note(
                ascii(link.path)[1:-1],
                f"the link leads out of the folder, to {target!r}; left out: if that is meant, name {outside!r} as one "
                f"more folder after {os.pathsep!r}",
                "path outside",
            )
    return False
