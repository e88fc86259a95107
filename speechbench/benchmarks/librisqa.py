"""LibriSQA: questions about LibriSpeech utterances, with free-form answers or four options."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import Example
from speechbench.benchmarks.examination import unwritable
from speechbench.benchmarks.index import Index, Row
from speechbench.benchmarks.indexed import IndexedBenchmark
from speechbench.benchmarks.librispeech import LibriSpeech
from speechbench.benchmarks.librisqa_files import FILES, LibriSQAFolder, source_of
from speechbench.benchmarks.librisqa_rows import KEYS, Question, questions
from speechbench.benchmarks.prompts import prompts_for
from speechbench.benchmarks.speaker_split import SHARE, WAYS, Division, ValidationSplit
from speechbench.benchmarks.tsv import damage
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.registry import register_benchmark

_HUB = "ZihanZhao/LibriSQA"
_ROWS = {"train": 104_014, "test": 2_620}  # in each part; those of Part II by inference, see `expected_counts`
_LISTING = "validation-split.txt"
_TASKS = {1: "question-answering", 2: "multiple-choice"}


@register_benchmark("librisqa")
class LibriSQA(IndexedBenchmark):
    """LibriSQA (Zhao et al. 2023): its JSON rows, and LibriSpeech's recordings.

    In Part I the reference is the free-form answer. In Part II the question has four options, and the reference is
    the letter of the right one with the analysis: `binary(mode=option)` scores the letter, the other metrics the whole
    text.

    Rows find their recording by utterance id, the stem of `speech_path`, so `.wav` names find `.flac` files, with or
    without a leading `LibriSpeech/`, and no path in a row can lead out of the folders. The source is the row's `text`,
    or LibriSpeech's `*.trans.txt` where that is missing, in the casing that is found there.

    There is no official validation split: it is taken out of train, and listed in a file (`artifacts`).

    Args:
        part: 1, the free-form part, or 2, multiple choice.
        root: Folder that holds `LibriSQA-PartI/` and `LibriSQA-PartII/`, a data set saved by `datasets`, or a name on
            the hub.
        audio: Folder below which LibriSpeech's `train-clean-360` and `test-clean` lie, or several, separated as in
            PATH; `root` if that is a folder of JSON and this is not given.
        validation_share: Of train's rows, at least this share goes to validation; 0 up to but without 1.
        split_seed: Another seed draws others.
        split_by: "speaker" for whole speakers; "random" for single rows, whoever speaks. arXiv 2509.16990 held out 0.2
            and does not say how.
        speakers: File that lists who goes to validation, or which rows, as another LibriSQA has written it
            (`artifacts`), instead of a draw.
        revision: Of the data set on the hub.
        min_seconds: Recordings that are shorter are left out, and counted.
        max_seconds: Recordings that are longer are left out, and counted.
        prompts: Whose templates ask: "paper", "paraphrases", or a file (`prompts_for`).
        prompt: Which of them asks everything, from 1; if not given, one is chosen by each example's id.

    Raises:
        UsageError: If a parameter is none of these, or a revision of a folder is asked for.
    """

    name: str = "librisqa"
    task: ClassVar[str] = "question-answering"
    licence: ClassVar[str] = "CC BY 4.0 (LibriSpeech); LibriSQA's questions and answers: see its data card"
    citation: ClassVar[str] = (
        "Zhao et al.: LibriSQA: A Novel Dataset and Framework for Spoken Question Answering with Large Language "
        "Models, arXiv 2308.10390; Panayotov et al.: LibriSpeech, ICASSP 2015"
    )
    hours: Mapping[str, float] = MappingProxyType({"train and validation": 363.6, "test": 5.4})  # LibriSpeech's paper
    casing: str = "LibriSpeech's transcripts are upper case without punctuation; `text` is kept as LibriSQA has it"
    seen_by: tuple[str, ...] = (
        "Granite Speech 3.3 was trained on the 1,000 hours of LibriSpeech with their transcripts "
        "(github.com/ibm-granite/granite-speech-models)",
    )
    metrics: tuple[str, ...] = ("bleu", "chrf", "rouge1", "rouge2", "rougeL", "binary")

    def __init__(
        self,
        part: int = 1,
        root: str = _HUB,
        audio: str | None = None,
        validation_share: float = SHARE,
        split_seed: int = 0,
        split_by: str = WAYS[0],
        speakers: str | None = None,
        revision: str | None = None,
        min_seconds: float | None = None,
        max_seconds: float | None = None,
        prompts: str = "paper",
        prompt: int | None = None,
    ) -> None:
        if part not in _TASKS or isinstance(part, bool):
            raise UsageError(f"LibriSQA has no part {part!r}: use part=1 or part=2")
        super().__init__(min_seconds, max_seconds, [prompts_for(_TASKS[part], prompts, prompt)])
        self.part = part
        self._root = root
        self.split = ValidationSplit(
            split_by, validation_share, split_seed, None if speakers is None else Path(speakers).expanduser()
        )
        self.questions = source_of(part, root, revision)
        below = root if audio is None and isinstance(self.questions, LibriSQAFolder) else audio
        self.recordings = LibriSpeech([] if below is None else _folders(below))
        if part == 2:
            self.metrics = ("binary(mode=option)", "bleu", "chrf", "rougeL")
        self._division: Division | None = None

    def expected_counts(self) -> Mapping[str, int]:
        """The official sizes, where they do not depend on who is drawn.

        Part I has 104,014 and 2,620 rows, one for each utterance of train-clean-360 and test-clean. Of Part II no
        figure was found; its authors count both parts as large, so it should have as many.
        """
        return {**self.split.expected_counts(_ROWS["train"]), "test": _ROWS["test"]}

    def load(self, split: str, limit: int | None = None) -> Sequence[Example]:
        """The examples of one split, in the order of the rows.

        Raises:
            MissingError: If the files are not there, or leave the split no example; the message says why.
            UsageError: If there is no such split.
        """
        try:
            return super().load(split, limit)
        except MissingError:
            if self._opened is None or self._opened.count(split):
                raise
            raise MissingError(f"{self.name}: the {split} split is empty: {self._why_empty(split)}") from None

    def index(self) -> Index:
        """As of every `IndexedBenchmark`; beside it the validation split is listed.

        Raises:
            MissingError: If the files are not there, or no folder of recordings is named: told before a download.
        """
        if not self.recordings.folders:
            raise MissingError(f"{self.name}: no folder of recordings is named; {self.how_to_get()}")
        index = super().index()
        listing, warnings = index.path.with_name(_LISTING), index.fact("warnings")
        if warnings is None or not listing.is_file():
            division = self._division or self._divide(list(questions(self.questions, self.part, _unheard)))
            try:
                listing.write_text(division.listing, encoding="utf-8")
            except OSError as error:
                raise SpeechbenchError(unwritable(listing, error)) from None
            warnings = json.dumps(division.warnings)
            index.keep_fact("warnings", warnings)
        self._division = None  # it is only true of the files as they were read
        self.warnings += [warning for warning in json.loads(warnings) if warning not in self.warnings]
        return index

    def artifacts(self) -> Mapping[str, Path]:
        """The list of what was taken out of train for validation: for `speakers`, here or elsewhere."""
        return {} if self._opened is None else {"validation split": self.index().path.with_name(_LISTING)}

    def read(self) -> Iterator[Row]:
        """The rows; what gives none is noted: said twice, incomplete, damaged, or without a recording.

        Who is in validation depends on the JSON alone, not on which recordings are there. Of a file none of whose
        rows has a recording nothing is noted: its splits are empty, and `load` says so.
        """
        asked = list(questions(self.questions, self.part, self.note, self._progress))
        if not asked:
            return  # the splits are empty, and `load` says why
        for folder in self.recordings.folders:
            if not folder.is_dir():
                raise MissingError(f"{self.name}: there is no folder {folder}; {self.how_to_get()}")
        self.recordings.scan(self.note, self._progress)
        if not self.recordings:
            raise MissingError(f"{self.name}: there is no FLAC or WAV file below {self._below()}; {self.how_to_get()}")
        self._division = self._divide(asked)
        for file in FILES:
            of_file = [question for question in asked if question.file == file]
            if any(self.recordings.find(question.utterance) for question in of_file):
                for question in of_file:
                    yield from self._row_of(question, self._division)

    def sources(self) -> Sequence[Path]:
        """The JSON, the folders of recordings, the transcripts that were read, and the list of the split."""
        listed = [] if self.split.file is None else [self.split.file]
        return [*self.questions.sources(), *self.recordings.sources(), *listed]

    def identity(self) -> Mapping[str, Any]:
        """The part, where everything is, and the split."""
        return {
            "part": self.part,
            **self.questions.identity(),
            **self.recordings.identity(),
            "split": self.split.identity(),
        }

    def provenance(self) -> Mapping[str, str]:
        """Of the rows."""
        return self.questions.provenance()

    def audio(self, name: str, sha256: str | None = None) -> Audio:
        """A recording of LibriSpeech's."""
        return self.recordings.audio(name, sha256)

    def how_to_get(self) -> str:
        """Where LibriSpeech is, and where it belongs."""
        below = f"below {self._below()}" if self.recordings.folders else "into a folder that audio=FOLDER names"
        return f"unpack LibriSpeech's train-clean-360.tar.gz and test-clean.tar.gz (openslr.org/12) {below}"

    def example(self, row: Row, audio: Audio | None) -> Example:
        """A question to answer; the columns are the question and, in Part II, the letter of the answer."""
        columns = json.loads(row.more or "{}")
        return Example(
            id=row.id,
            audio=audio,
            instruction=self.prompts[_TASKS[self.part]].instruction(row.id, question=columns["question"]),
            references=(row.reference,),
            source=row.source,
            source_language=self.source_language,
            target_language=self.target_language,
            speaker=row.speaker,
            columns=columns,
        )

    def _row_of(self, question: Question, division: Division) -> Iterator[Row]:
        """The row of a question, if it has a recording."""
        recording, twice = self.recordings.find(question.utterance), self.recordings.twice.get(question.utterance)
        if recording is None:
            what = f"no recording of {question.utterance!r} is below {self._below()}; left out"
            self.note(question.where, what, "no recording")
            return
        if twice is not None:
            what = f"the same utterance is in {self.audio(recording).path}, which is used"
            self.note(str(twice), what, "recording there twice")
        source = question.text or self.recordings.transcript(question.utterance)
        if source is None or damage((source,)):
            what = "no transcript" if source is None else "a damaged transcript"
            self.note(question.where, f"{question.utterance} has {what}, but neither `text`; kept", "no transcript")
            source = None
        held_out = "validation" if question.id in division.held_out else "train"
        columns = {"question": question.question}
        if question.letter is not None:
            columns["answer"] = question.letter
        yield Row(
            "test" if question.file == "test" else held_out,
            question.id,
            recording,
            question.where,
            question.reference,
            source,
            question.speaker,
            json.dumps(columns),
        )

    def _divide(self, asked: Sequence[Question]) -> Division:
        train = [(question.id, question.speaker) for question in asked if question.file == "train"]
        return self.split.divide(train, f"LibriSQA part {self.part}")

    def _why_empty(self, split: str) -> str:
        name = "test" if split == "test" else "train"
        asked = list(questions(self.questions, self.part, _unheard))
        of_file = [question for question in asked if question.file == name]
        path, mend = Path(self._root, name), "name another data set"
        if isinstance(self.questions, LibriSQAFolder):
            path, mend = self.questions.path(self.part, name), self.questions.how_to_get()
            if not path.exists():
                return f"there is no {path}; {mend}"
        if not of_file:
            first = next((f" ({p.where}: {p.what})" for p in self.problems), "")
            return f"{path} has no row with {', '.join(KEYS[self.part])}{first}; {mend}"
        if split != "test":
            held_out = self._divide(asked).held_out
            of_file = [question for question in of_file if (question.id in held_out) == (split == "validation")]
            if not of_file:
                use = "less" if split == "train" else "more"
                other = f"a validation_share that is {use}" if self.split.file is None else "another list"
                return f"with {self.split}, {path} leaves it nothing; use {other}"
        return f"none of its {len(of_file)} rows in {path} has a recording; {self.how_to_get()}"

    def _below(self) -> str:
        return os.pathsep.join(map(str, self.recordings.folders))


def _unheard(where: str, what: str, kind: str) -> None:
    """A note for rows that were noted when they were read first."""


def _folders(named: str) -> list[Path]:
    """The folders that one text names, separated as in PATH, unless there is a folder of just that name."""
    if named and Path(named).expanduser().is_dir():  # an empty name would be the working directory
        return [Path(named).expanduser()]
    return [Path(part).expanduser() for part in named.split(os.pathsep) if part]
