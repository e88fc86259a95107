"""CoVoST 2: Common Voice's read speech, and what it means in another language."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from speechbench.benchmarks import templates
from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import Benchmark, Example, check_split
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.registry import register_benchmark

_INTO_ENGLISH = frozenset({"es", "fr", "it", "nl", "pt", "ru"})  # the other languages go both ways
_OTHERS = sorted(set(templates.LANGUAGES) - {"en"})
_DIRECTIONS = (*(f"en_{code}" for code in _OTHERS if code not in _INTO_ENGLISH), *(f"{code}_en" for code in _OTHERS))
_OFFICIAL_SPLITS = {"train": "train", "train_covost": "train", "dev": "validation", "test": "test"}
_JOINED_FILES = {"train": "train", "validation": "dev", "test": "test"}
_EXPECTED = {"en_de": {"train": 289_430, "validation": 15_531, "test": 15_531}}


def read_tsv(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Reads CoVoST's and Common Voice's TSV: tabs, no quoting, backslash escapes, nothing means NA.

    Yields:
        The line number and the wanted columns; of a row that is too short the columns it has.

    Raises:
        SpeechbenchError: If the file lacks a column, or is no such table.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE, escapechar="\\", strict=True)
        try:
            header = next(reader, [])
            lacking = [column for column in columns if column not in header]
            if lacking:
                raise SpeechbenchError(
                    f"{path} has no column {lacking[0]!r}, only {', '.join(header) or 'none'}; download it anew"
                )
            places = [(column, header.index(column)) for column in columns]
            for row in reader:
                if row:
                    yield reader.line_num, {column: row[place] for column, place in places if place < len(row)}
        except (csv.Error, UnicodeDecodeError) as error:
            raise SpeechbenchError(
                f"{path}, near line {reader.line_num}, cannot be read: {error}; download it anew"
            ) from error


@dataclass(frozen=True)
class _Row:
    """One joined row, and where its translation stands."""

    where: str
    path: str
    sentence: str
    translation: str
    client_id: str


@register_benchmark("covost2")
class Covost2(Benchmark):
    """CoVoST 2 (Wang et al. 2021), from a Common Voice folder and the translation files.

    Reads the released translations (`path, translation, split`), joined with `validated.tsv`, or the
    files that the official script makes of both (`path, sentence, translation, client_id` per split).
    The references are the translations, the source is the sentence as written, the speaker Common
    Voice's client id.

    Args:
        root: Common Voice's folder of the source language: `validated.tsv` and `clips/`.
        direction: Source and target language, "en_de".
        translations: Folder of `covost_v2.<direction>.tsv`, or of the joined files; `root` if not given.

    Raises:
        UsageError: If CoVoST 2 has no such direction.
    """

    name: str = "covost2"
    task: ClassVar[str] = "translation"
    licence: ClassVar[str] = "CC0-1.0 (CoVoST 2's translations and Common Voice)"
    citation: ClassVar[str] = (
        "Wang, Wu, Gu, Pino: CoVoST 2 and Massively Multilingual Speech Translation, Interspeech 2021"
    )
    metrics: tuple[str, ...] = ("bleu", "chrf", "comet", "binary")

    def __init__(self, root: str, direction: str = "en_de", translations: str | None = None) -> None:
        super().__init__()
        if direction not in _DIRECTIONS:
            nearest = difflib.get_close_matches(direction, _DIRECTIONS, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(_DIRECTIONS)}"
            raise UsageError(f"CoVoST 2 has no direction {direction!r}: {hint}")
        self.direction = direction
        self.source_language, self.target_language = direction.split("_")
        self.root = Path(root).expanduser()
        self.translations = Path(translations).expanduser() if translations else self.root
        self._joined: dict[str, list[_Row]] | None = None

    def expected_counts(self) -> Mapping[str, int]:
        """The official sizes, where they are known: those of en_de."""
        return _EXPECTED.get(self.direction, {})

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        """The examples of one split, in the order of `validated.tsv` (or of the joined file).

        Rows that give no example stand in `problems`: lost in the join, given twice, without translation,
        without audio or with an empty clip.
        """
        check_split(split)
        examples: list[Example] = []
        instruction = templates.translation(self.target_language)
        rows = self._rows(split)
        for row in rows:
            if limit is not None and len(examples) >= limit:
                break
            audio = Audio(self.root / "clips" / row.path)
            defect = audio.defect()
            if defect or not row.translation:
                self.note(row.where, f"{defect or f'{row.path} has no translation'}; left out")
                continue
            examples.append(
                Example(
                    id=Path(row.path).stem,
                    audio=audio,
                    instruction=instruction,
                    references=(row.translation,),
                    source=row.sentence or None,
                    source_language=self.source_language,
                    target_language=self.target_language,
                    speaker=row.client_id or None,
                )
            )
        if not rows:
            raise MissingError(
                f"CoVoST 2 {self.direction}: the {split} split is empty: {self.translations} has no translation of it "
                f"that is in {self.root / 'validated.tsv'} too; {self._how_to_get()}"
            )
        if not examples and limit != 0:
            raise MissingError(
                f"CoVoST 2 {self.direction}: none of the {len(rows)} rows of the {split} split has a translation and a "
                f"clip in {self.root / 'clips'}; {self._how_to_get()}"
            )
        return examples

    def _how_to_get(self) -> str:
        return (
            f"download Common Voice corpus 4, language {self.source_language!r}, from commonvoice.mozilla.org, unpack "
            f"it so that {self.root / 'validated.tsv'} and {self.root / 'clips'} exist, and put "
            f"covost_v2.{self.direction}.tsv, linked from github.com/facebookresearch/covost, into {self.translations}"
        )

    def _require(self, path: Path) -> Path:
        if not path.exists():
            raise MissingError(f"CoVoST 2 {self.direction}: there is no {path}; {self._how_to_get()}")
        return path

    def _rows(self, split: str) -> list[_Row]:
        """The rows of a split; whichever form the files have, read once."""
        self._require(self.root / "clips")
        if self._joined is None:
            self._joined = {}
        if split not in self._joined:
            joined_file = self.translations / f"covost_v2.{self.direction}.{_JOINED_FILES[split]}.tsv"
            released_file = self.translations / f"covost_v2.{self.direction}.tsv"
            if joined_file.is_file() and not released_file.is_file():
                self._joined[split] = self._read_joined(joined_file)
            else:
                self._joined = self._join(self._require(released_file), self._require(self.root / "validated.tsv"))
        return self._joined[split]

    def _read_joined(self, path: Path) -> list[_Row]:
        columns = ("path", "sentence", "translation", "client_id")
        rows: dict[str, _Row] = {}
        for line, row in read_tsv(path, columns):
            where = f"{path}:{line}"
            if len(row) < len(columns):
                self.note(where, f"the row has too few cells, it lacks {columns[len(row)]!r}; left out")
            elif row["path"] in rows:
                self.note(where, f"{row['path']} stands a second time; the first is used")
            else:
                rows[row["path"]] = _Row(where, row["path"], row["sentence"], row["translation"], row["client_id"])
        return list(rows.values())

    def _join(self, released: Path, validated: Path) -> dict[str, list[_Row]]:
        """Joins translations and sentences on `path`, as the official script does: in the order of the sentences."""
        translations: dict[str, tuple[str, str, str]] = {}
        for line, row in read_tsv(released, ("path", "translation", "split")):
            where = f"{released}:{line}"
            if len(row) < 3:
                self.note(where, "the row has too few cells; left out")
            elif row["split"] not in _OFFICIAL_SPLITS:
                self.note(where, f"{row['path']} is of an unknown split {row['split']!r}; left out")
            elif row["path"] in translations:
                self.note(where, f"{row['path']} stands a second time; the first is used")
            else:
                translations[row["path"]] = where, row["translation"], _OFFICIAL_SPLITS[row["split"]]
        rows: dict[str, list[_Row]] = {split: [] for split in _JOINED_FILES}
        found: set[str] = set()
        for line, row in read_tsv(validated, ("path", "sentence", "client_id")):
            path = row.get("path", "")
            if path not in translations:
                continue  # most of Common Voice is not in CoVoST: no problem
            if len(row) < 3 or path in found:
                what = "stands a second time; the first is used" if path in found else "has too few cells; left out"
                self.note(f"{validated}:{line}", f"{path} {what}")
                continue
            found.add(path)
            where, translation, split = translations[path]
            rows[split].append(_Row(where, path, row["sentence"], translation, row["client_id"]))
        for path, (where, _, split) in translations.items():
            if path not in found:
                self.note(
                    where,
                    f"{path} ({split}) is lost in the join: {validated} has no such row; CoVoST 2 was made from "
                    "Common Voice corpus 4",
                )
        return rows
