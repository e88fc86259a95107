"""LibriSQA: questions about LibriSpeech utterances, with free-form answers."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from speechbench.benchmarks import templates
from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import Benchmark, Example, check_split
from speechbench.benchmarks.speaker_split import validation_speakers
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.registry import register_benchmark

_NEEDED = ("speech_path", "question", "answer")
_AUDIO_SUFFIXES = (".flac", ".wav")  # the first is preferred where a tree holds both


def index_audio(folder: Path) -> dict[str, Path]:
    """Every FLAC and WAV file below a folder by its stem, which in LibriSpeech is the utterance id."""
    found: dict[str, Path] = {}
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        for file in sorted(files):
            stem, suffix = os.path.splitext(file)
            suffix = suffix.lower()
            if suffix == _AUDIO_SUFFIXES[0] and found.get(stem, Path()).suffix.lower() != suffix:
                found[stem] = Path(parent, file)
            elif suffix in _AUDIO_SUFFIXES:
                found.setdefault(stem, Path(parent, file))
    return found


@dataclass(frozen=True)
class _Row:
    """One question, and where it stands."""

    where: str
    id: str
    utterance: str
    question: str
    answer: str
    text: str | None

    @property
    def speaker(self) -> str:
        """LibriSpeech's utterance ids are `<speaker>-<chapter>-<number>`."""
        return self.utterance.split("-")[0]


@register_benchmark("librisqa")
class LibriSQA(Benchmark):
    """LibriSQA Part I (Zhao et al. 2023), from its JSON files and LibriSpeech's audio.

    Rows find their audio by utterance id, the stem of `speech_path`, so `.wav` names find `.flac` files, with
    or without a leading `LibriSpeech/`. The source is the row's `text`, or LibriSpeech's `*.trans.txt` where
    that is missing: upper case without punctuation, which is what COMET will see.

    There is no official validation split: whole speakers are taken out of train.

    Args:
        root: Folder that holds `LibriSQA-PartI/`.
        audio: Folder below which LibriSpeech's `train-clean-360` and `test-clean` lie; `root` if not given.
        part: 1, the free-form part.
        validation_share: Of train's rows, at least this share goes to validation; 0 up to but without 1.
        split_seed: Another seed takes other speakers.

    Raises:
        UsageError: If the part or the share is out of range.
    """

    name: str = "librisqa"
    task: ClassVar[str] = "question-answering"
    licence: ClassVar[str] = "CC BY 4.0 (LibriSpeech); LibriSQA's questions and answers: see its data card"
    citation: ClassVar[str] = (
        "Zhao et al.: LibriSQA: A Novel Dataset and Framework for Spoken Question Answering with Large Language "
        "Models, arXiv 2308.10390; Panayotov et al.: LibriSpeech, ICASSP 2015"
    )

    def __init__(
        self,
        root: str,
        audio: str | None = None,
        part: int = 1,
        validation_share: float = 0.05,
        split_seed: int = 0,
    ) -> None:
        super().__init__()
        if part == 2:
            raise UsageError("LibriSQA Part II (multiple choice) cannot be loaded yet: use part=1")
        if part != 1:
            raise UsageError(f"LibriSQA has no part {part!r}: use part=1")
        if not 0 <= validation_share < 1:
            raise UsageError(f"validation_share={validation_share!r} must be at least 0 and less than 1")
        self.root = Path(root).expanduser()
        self.audio = Path(audio).expanduser() if audio else self.root
        self.validation_share = validation_share
        self.split_seed = split_seed
        self._index: dict[str, Path] | None = None
        self._files: dict[str, list[_Row]] = {}
        self._transcripts: dict[Path, dict[str, str]] = {}

    def expected_counts(self) -> Mapping[str, int]:
        """The official size of test; train and validation share 104,014 rows by speaker."""
        return {"test": 2620}

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        """The examples of one split, in the order of the JSON file.

        The k-th question about an utterance has the id `<utterance>#k`. Rows that give no example (no audio,
        an empty file, a key missing) stand in `problems`.
        """
        check_split(split)
        rows = self._rows(split)
        examples: list[Example] = []
        for row in rows:
            if limit is not None and len(examples) >= limit:
                break
            path = self._audio_files().get(row.utterance)
            if path is None:
                self.note(row.where, f"no audio for {row.utterance} below {self.audio}; left out")
                continue
            audio = Audio(path)
            defect = audio.defect()
            if defect:
                self.note(row.where, f"{defect}; left out")
                continue
            examples.append(self._example(row, audio))
        if not rows:
            raise MissingError(f"LibriSQA: the {split} split is empty: {self._why_empty(split)}")
        if not examples and limit != 0:
            raise MissingError(f"LibriSQA: none of the {len(rows)} rows of {split} has audio; {self._how_to_get()}")
        return examples

    def _why_empty(self, split: str) -> str:
        path = self._path("test" if split == "test" else "train")
        if split == "test" or not self._file("train"):
            return f"{path} has no row with {', '.join(_NEEDED)}; {self._how_to_get()}"
        share = f"validation_share={self.validation_share}"
        return f"with {share}, {path} leaves it no speaker; use {'less' if split == 'train' else 'more'}"

    def _example(self, row: _Row, audio: Audio) -> Example:
        source = row.text or self._transcript(row.utterance, audio.path)
        if source is None:
            self.note(row.where, f"{row.utterance} has no transcript, neither `text` nor in a *.trans.txt; kept")
        return Example(
            id=row.id,
            audio=audio,
            instruction=templates.question(row.question),
            references=(row.answer,),
            source=source,
            source_language=self.source_language,
            target_language=self.target_language,
            speaker=row.speaker,
            columns={"question": row.question},
        )

    def _how_to_get(self) -> str:
        return (
            f"run `hf download ZihanZhao/LibriSQA --repo-type dataset --local-dir {self.root}`, and unpack "
            f"LibriSpeech's train-clean-360.tar.gz and test-clean.tar.gz (openslr.org/12) below {self.audio}"
        )

    def _audio_files(self) -> dict[str, Path]:
        if self._index is None:
            self._index = index_audio(self.audio)
            if not self._index:
                raise MissingError(f"LibriSQA: there is no FLAC or WAV file below {self.audio}; {self._how_to_get()}")
        return self._index

    def _rows(self, split: str) -> list[_Row]:
        """The rows of a split. Who is in validation depends on the JSON file alone, not on which audio is there."""
        rows = self._file("test" if split == "test" else "train")
        if split == "test":
            return rows
        speakers = Counter(row.speaker for row in rows)
        held_out = validation_speakers(speakers, self.validation_share, self.split_seed)
        return [row for row in rows if (row.speaker in held_out) == (split == "validation")]

    def _path(self, name: str) -> Path:
        return self.root / "LibriSQA-PartI" / f"LibriSQA-PartI-{name}.json"

    def _file(self, name: str) -> list[_Row]:
        if name not in self._files:
            path = self._path(name)
            if not path.is_file():
                raise MissingError(f"LibriSQA: there is no {path}; {self._how_to_get()}")
            self._files[name] = self._read(path)
        return self._files[name]

    def _read(self, path: Path) -> list[_Row]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SpeechbenchError(f"{path} is no JSON: {error}; download it anew") from error
        if not isinstance(content, list):
            raise SpeechbenchError(f"{path} holds no JSON list, as LibriSQA's files do; download it anew")
        rows: list[_Row] = []
        asked: Counter[str] = Counter()
        for number, row in enumerate(content, 1):
            where = f"{path}, row {number}"
            if not isinstance(row, dict):
                self.note(where, "the row is no JSON object; left out")
                continue
            lacking = [key for key in _NEEDED if not isinstance(row.get(key), str) or not row[key]]
            if lacking:
                self.note(where, f"the row has no {lacking[0]!r}; left out")
                continue
            utterance = Path(row["speech_path"]).stem
            asked[utterance] += 1
            identity = f"{utterance}#{asked[utterance]}"
            rows.append(_Row(where, identity, utterance, row["question"], row["answer"], row.get("text") or None))
        return rows

    def _transcript(self, utterance: str, audio: Path) -> str | None:
        """LibriSpeech's own transcript: one file per chapter, `<utterance id> <TEXT>` a line."""
        path = audio.parent / f"{utterance.rpartition('-')[0]}.trans.txt"
        if path not in self._transcripts:
            lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
            self._transcripts[path] = {key: text for key, _, text in (line.partition(" ") for line in lines)}
        return self._transcripts[path].get(utterance)
