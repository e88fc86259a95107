"""A Common Voice folder and CoVoST 2's translations of its sentences."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.index import Row
from speechbench.benchmarks.row_source import Note
from speechbench.benchmarks.tsv import damage, read_tsv
from speechbench.errors import MissingError, SpeechbenchError

OFFICIAL_SPLITS = {"train": "train", "train_covost": "train", "dev": "validation", "test": "test"}
"""As CoVoST 2 calls the splits, and as we do."""
_JOINED = {"train": "train", "validation": "dev", "test": "test"}


class CommonVoiceFolder:
    """What the official downloads leave behind.

    Reads the released translations (`path, translation, split`), joined with `validated.tsv`, or the files that
    the official script makes of both (`path, sentence, translation, client_id` per split).

    Args:
        root: Common Voice's folder of the source language, with `validated.tsv` and `clips/`; or the folder of
            several languages, by their codes.
        direction: Source and target language, "en_de".
        translations: Folder of `covost_v2.<direction>.tsv`, or of the joined files; the language's if not given.
        clips: Folder of the recordings; the language's `clips/` if not given.
    """

    def __init__(self, root: Path, direction: str, translations: Path | None = None, clips: Path | None = None) -> None:
        self.direction = direction
        self.language = direction.split("_")[0]
        inner = root / self.language
        self.root = inner if inner.is_dir() and not (root / "clips").exists() else root
        self.translations = translations or self.root
        self.clips = clips or self.root / "clips"
        self._read: list[Path] = []

    def read(self, note: Note) -> Iterator[Row]:
        """The rows in the order of `validated.tsv`, as the official script has them, or of the joined files.

        Raises:
            MissingError: If a file or folder is not there; the message says how to get it.
            SpeechbenchError: If it cannot be read.
        """
        released, validated = self.translations / f"covost_v2.{self.direction}.tsv", self.root / "validated.tsv"
        stem = released.with_suffix("")
        joined = {split: Path(f"{stem}.{name}.tsv") for split, name in _JOINED.items()}
        there = {split: path for split, path in joined.items() if path.is_file()}
        clips = _Clips(self._required(self.clips), note)
        if there and not (released.is_file() and validated.is_file()):
            self._read = [self.clips, *joined.values(), released, validated]
            yield from self._joined(there, clips, note)
        else:
            self._read = [self.clips, self._required(released), self._required(validated)]
            yield from self._join(released, validated, clips, note)

    def sources(self) -> Sequence[Path]:
        """The tables and the folder of clips."""
        return self._read

    def identity(self) -> Mapping[str, Any]:
        """The folders, as messages name them and in full, and the direction."""
        folders = {"root": self.root, "translations": self.translations, "clips": self.clips}
        return {
            "direction": self.direction,
            **{name: [str(folder), str(folder.absolute())] for name, folder in folders.items()},
        }

    def provenance(self) -> Mapping[str, str]:
        """Nothing: the folders do not say which release they hold."""
        return {}

    def audio(self, name: str, sha256: str | None = None) -> Audio:
        """The clip of this name."""
        return Audio(self.clips / name, sha256)

    def how_to_get(self) -> str:
        """Where the downloads are, and where they belong."""
        return (
            f"download Common Voice corpus 4, language {self.language!r}, from commonvoice.mozilla.org, unpack it so "
            f"that {self.root / 'validated.tsv'} and {self.clips} exist, and put covost_v2.{self.direction}.tsv, "
            f"linked from github.com/facebookresearch/covost, into {self.translations}"
        )

    def _required(self, path: Path) -> Path:
        if not path.exists():
            raise MissingError(f"CoVoST 2 {self.direction}: there is no {path}; {self.how_to_get()}")
        return path

    def _joined(self, files: Mapping[str, Path], clips: _Clips, note: Note) -> Iterator[Row]:
        given: set[str] = set()
        for split, path in files.items():
            for line, cells in read_tsv(path, ("path", "sentence", "translation", "client_id")):
                where = f"{path}:{line}"
                if len(cells) != 4:
                    _note_length(where, cells, 4, note)
                elif cells[0] in given:
                    note(where, f"{_shown(cells[0])} stands a second time; the first is used", "duplicate row")
                else:
                    given.add(cells[0])
                    clip, sentence, translation, client = cells
                    if clips.usable(where, clip, translation, sentence, client):
                        yield Row(split, clips.id_of(clip), clip, where, translation, sentence or None, client or None)

    def _join(self, released: Path, validated: Path, clips: _Clips, note: Note) -> Iterator[Row]:
        translations = self._translations(released, note)
        front = f"{released}:"
        for line, cells in read_tsv(validated, ("path", "sentence", "client_id")):
            clip = cells[0] if cells else ""
            if clip not in translations:
                continue  # most of Common Voice is not in CoVoST: no problem
            known, translations[clip] = translations[clip], None
            if known is None:
                note(f"{validated}:{line}", f"{clip} stands a second time; the first is used", "duplicate row")
            elif len(cells) != 3:
                _note_length(f"{validated}:{line}", cells, 3, note)
            else:
                at, translation, split = known
                where = f"{front}{at}"
                _, sentence, client = cells
                what = damage((sentence, client))
                if what is not None:
                    note(f"{validated}:{line}", f"{_shown(clip)} {what}; left out", "damaged text")
                elif clips.usable(where, clip, translation):
                    yield Row(split, clips.id_of(clip), clip, where, translation, sentence or None, client or None)
        for clip, left in translations.items():
            if left is not None:
                what = f"{_shown(clip)} ({left[2]}) is lost in the join: {validated} has no such row; CoVoST 2 was made"
                note(f"{released}:{left[0]}", f"{what} from Common Voice corpus 4", "lost in the join")

    def _translations(self, released: Path, note: Note) -> dict[str, tuple[int, str, str] | None]:
        """Line, translation and split of each clip."""
        found: dict[str, tuple[int, str, str] | None] = {}
        for line, cells in read_tsv(released, ("path", "translation", "split")):
            if len(cells) != 3:
                _note_length(f"{released}:{line}", cells, 3, note)
                continue
            clip, translation, official = cells
            split = OFFICIAL_SPLITS.get(official)
            if split is None:
                what = f"{_shown(clip)} is of an unknown split {_shown(official)!r}; left out"
                note(f"{released}:{line}", what, "unknown split")
            elif clip in found:
                note(f"{released}:{line}", f"{_shown(clip)} stands a second time; the first is used", "duplicate row")
            else:
                found[clip] = line, translation, split
        return found


class _Clips:
    """The files of a folder of clips, and which rows can use them."""

    def __init__(self, folder: Path, note: Note) -> None:
        self.folder = folder
        self.note = note
        self.real = os.path.realpath(folder)
        self.files: set[str] = set()
        self.others: set[str] = set()  # links, folders and the like
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    (self.files if entry.is_file(follow_symlinks=False) else self.others).add(entry.name)
        except OSError as error:
            raise SpeechbenchError(f"{folder}, the folder of clips, cannot be read: {error.strerror}") from error

    def id_of(self, clip: str) -> str:
        """An example's id: the clip's name without ".mp3", unless another clip is called so."""
        stem = clip.removesuffix(".mp3")
        return clip if stem in self.files or stem in self.others else stem

    def usable(self, where: str, clip: str, translation: str, *others: str) -> bool:
        """Whether a row gives an example, as far as can be told without opening the clip; else that is noted.

        Args:
            where: The row.
            clip: Its file.
            translation: Its reference.
            *others: What else stands in the row.
        """
        what = damage((clip, translation, *others))
        if what is not None:
            self.note(where, f"{_shown(clip)} {what}; left out", "damaged text")
        elif not translation or translation.isspace():
            self.note(where, f"{clip} has no translation; left out", "empty translation")
        elif clip in self.files:
            return True
        elif clip in self.others:
            return self._is_inside(where, clip)
        elif not clip:
            self.note(where, "the row names no clip; left out", "no recording")
        elif "/" in clip or "\\" in clip or clip in (".", ".."):
            self.note(where, f"{clip!r} is no name of a file in {self.folder}; left out", "path outside")
        else:
            self.note(where, f"there is no {self.folder / clip}; left out", "no recording")
        return False

    def _is_inside(self, where: str, clip: str) -> bool:
        """Whether what is no plain file is a link to one below the folder."""
        path = self.folder / clip
        if not Path(os.path.realpath(path)).is_relative_to(self.real):
            what = f"{path} is a link out of its folder; left out: name the folder that it leads to with clips="
            self.note(where, what, "path outside")
        elif not path.is_file():
            self.note(where, f"{path} is no file; left out", "no recording")
        else:
            return True
        return False


def _note_length(where: str, cells: Collection[str], wanted: int, note: Note) -> None:
    """Of a row that does not fit the header of its table."""
    few = len(cells) < wanted
    what = "has too few cells, or is cut off" if few else "has more cells than its table has columns"
    note(where, f"{_shown(next(iter(cells), '')) or 'the row'} {what}; left out", "short row" if few else "long row")


def _shown(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()[:200]
