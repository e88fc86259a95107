"""Anyone's data: a JSONL or CSV file with one line per spoken example."""

from __future__ import annotations

import csv
import difflib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechbench.benchmarks import templates
from speechbench.benchmarks.audio import MEND, Audio
from speechbench.benchmarks.base import AUDIO_PLACEHOLDER, SEVERAL_LANGUAGES, SPLITS, Benchmark, Example, check_split
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.grammar import split_outside_brackets
from speechbench.registry import register_benchmark

_TASKS = ("translation", "question-answering", "other")
_TEXT_FIELDS = ("audio", "instruction", "source", "source_language", "target_language", "speaker", "split", "id")
_REFERENCE_FIELDS = ("references", "reference")


@dataclass(frozen=True)
class _Line:
    """One line's fields; what is empty is absent."""

    where: str
    number: int
    fields: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        """An optional text; numbers, as ids and speakers often are, count as text."""
        value = self.fields.get(name)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        raise UsageError(f"{self.where}: field {name!r} must be text, not {json.dumps(value)}")

    def required(self, name: str) -> str:
        """A text that must be there."""
        value = self.text(name)
        if value is None:
            raise UsageError(f"{self.where}: the field {name!r} is lacking; add it")
        return value

    def references(self) -> tuple[str, ...]:
        """The correct outputs, at least one."""
        value = self.fields.get("references", self.fields.get("reference"))
        if value is None or value == []:
            raise UsageError(f"{self.where}: the field 'references' is lacking; add one text or a list of texts")
        references = tuple(value) if isinstance(value, list) else (value,)
        if not all(isinstance(reference, str) and reference.strip() for reference in references):
            raise UsageError(f"{self.where}: the field 'references' must hold texts that are not empty")
        return references


@register_benchmark("manifest")
class Manifest(Benchmark):
    """Examples from a file: one JSON object per line (`.jsonl`), or a CSV table with a header (`.csv`).

    Fields: `audio` (a path, relative to the manifest's folder), `references` (a text or in JSONL a list; also
    `reference`) and `split` ("train", "validation", "test"; lines without one are train once any line has one);
    optional: `instruction` (where it lacks `<|audio|>` that is put in front; without it `target_language`
    decides: translate, or write down what is said), `source` (the transcript), `source_language` and
    `target_language` ("en" if not given), `speaker`, `id`. What else stands there is handed to rewards
    by name.

    Args:
        path: The manifest.
        metrics: Comma-separated specs measured by default, "bleu,chrf(word_order=2)".
        task: "translation", "question-answering" or "other".

    Raises:
        MissingError: If there is no such file.
        UsageError: If a line is wrong: the message names file, line number and field.
    """

    name: str = "manifest"
    licence = "the manifest's own"
    strict: bool = True  # the file is the user's own claim of what is there

    def __init__(self, path: str, metrics: str | None = None, task: str = "other") -> None:
        super().__init__()
        if task not in _TASKS:
            raise UsageError(f"manifest: task={task!r} is none of {', '.join(_TASKS)}")
        self.task = task  # type: ignore[misc]  # a class's constant elsewhere, the user's choice here
        self.path = Path(path).expanduser()
        if metrics is not None:
            self.metrics = tuple(split_outside_brackets(metrics))
        if not self.path.is_file():
            raise MissingError(
                f"manifest: there is no file {self.path}; write one JSON object per line, or a CSV table"
            )
        lines = list(_read(self.path))
        if not lines:
            raise UsageError(f"{self.path} is empty: write one line per spoken example")
        if not any("split" in line.fields for line in lines):
            raise UsageError(
                f"{self.path}: no line has the field 'split'; add it, with one of {', '.join(SPLITS)}, "
                "so that training and test examples are told apart"
            )
        self._examples: dict[str, list[tuple[str, Example]]] = {split: [] for split in SPLITS}
        seen: dict[str, str] = {}
        for line in lines:
            example = self._example(line)
            if example.id in seen:
                raise UsageError(f"{line.where}: the id {example.id!r} stands already at {seen[example.id]}")
            seen[example.id] = line.where
            self._examples[_split_of(line)].append((line.where, example))
        self.source_language = self._common_language("source_language")
        self.target_language = self._common_language("target_language")

    def expected_counts(self) -> Mapping[str, int]:
        """How many lines each split has."""
        return {split: len(examples) for split, examples in self._examples.items() if examples}

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        """The examples of one split, in the order of the lines; those without audio stand in `problems`.

        Raises:
            UsageError: If no line is of the split.
            MissingError: If none of its lines has audio.
        """
        check_split(split)
        lines = self._examples[split]
        if not lines:
            raise UsageError(
                f"{self.path}: no line is of the split {split!r}; mark some so (it has: "
                f"{', '.join(f'{count} {name}' for name, count in self.expected_counts().items())})"
            )
        examples: list[Example] = []
        for where, example in lines:
            if limit is not None and len(examples) >= limit:
                break
            defect = example.audio.defect() if example.audio is not None else None
            if defect:
                self.note(where, f"{defect}; {MEND}")
            else:
                examples.append(example)
        if not examples and limit != 0:
            raise MissingError(
                f"{self.path}: none of the {len(lines)} lines of the split {split!r} has an audio file ({where}: "
                f"{defect}); put the files there or mend the paths, which are relative to {self.path.parent.resolve()}"
            )
        return examples

    def _example(self, line: _Line) -> Example:
        audio = self.path.parent / line.required("audio")
        source_language = line.text("source_language") or "en"
        instruction = line.text("instruction")
        if instruction is None:
            instruction = _default_instruction(source_language, line.required("target_language"))
        elif AUDIO_PLACEHOLDER not in instruction:
            instruction = f"{AUDIO_PLACEHOLDER} {instruction}"
        elif instruction.count(AUDIO_PLACEHOLDER) > 1:
            raise UsageError(f"{line.where}: the field 'instruction' has {AUDIO_PLACEHOLDER} more than once; keep one")
        return Example(
            id=line.text("id") or f"{audio.stem}-{line.number}",
            audio=Audio(audio),
            instruction=instruction,
            references=line.references(),
            source=line.text("source"),
            source_language=source_language,
            target_language=line.text("target_language") or "en",
            speaker=line.text("speaker"),
            columns={
                name: value for name, value in line.fields.items() if name not in (*_TEXT_FIELDS, *_REFERENCE_FIELDS)
            },
        )

    def _common_language(self, which: str) -> str:
        languages = Counter(getattr(example, which) for lines in self._examples.values() for _, example in lines)
        return str(next(iter(languages))) if len(languages) == 1 else SEVERAL_LANGUAGES


def _default_instruction(source_language: str, target_language: str) -> str:
    if source_language.split("-")[0] == target_language.split("-")[0]:
        return f"{AUDIO_PLACEHOLDER} write down what is said."
    return templates.translation(target_language)


def _split_of(line: _Line) -> str:
    split = line.text("split") or "train"
    if split not in SPLITS:
        nearest = difflib.get_close_matches({"dev": "validation"}.get(split, split), SPLITS, n=1, cutoff=0.3)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(SPLITS)}"
        raise UsageError(f"{line.where}: the field 'split' is {split!r}: {hint}")
    return split


def _read(path: Path) -> Iterator[_Line]:
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise UsageError(f"manifest {path}: the name must end in .jsonl or .csv, to tell how it is written")
    try:
        for number, fields in readers[path.suffix.lower()](path):
            filled = {name: value for name, value in fields.items() if value is not None and value != ""}
            yield _Line(f"{path}:{number}", number, filled)
    except UnicodeDecodeError as error:
        raise SpeechbenchError(f"{path} is not UTF-8: {error}; save it as UTF-8") from error


def _read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                fields = json.loads(text)
            except ValueError as error:
                raise UsageError(f"{path}:{number}: the line is no JSON: {error}") from error
            if not isinstance(fields, dict):
                raise UsageError(f"{path}:{number}: the line must be a JSON object, {{...}}")
            yield number, fields


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            for fields in reader:
                if None in fields:
                    raise UsageError(f"{path}:{reader.line_num}: the line has more cells than the header has names")
                yield reader.line_num, fields
        except csv.Error as error:
            raise UsageError(f"{path}:{reader.line_num}: the line is no CSV: {error}") from error
