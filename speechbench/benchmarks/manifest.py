"""Anyone's data: a JSONL, CSV, TSV or Parquet file with one line per spoken example."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import Example
from speechbench.benchmarks.index import Index, Row
from speechbench.benchmarks.indexed import Examples, IndexedBenchmark
from speechbench.benchmarks.manifest_files import check_suffix, read_records
from speechbench.benchmarks.manifest_lines import BadLine, LineReader, task_of, unpacked
from speechbench.benchmarks.manifest_paths import Root
from speechbench.benchmarks.prompts import Prompts, prompts_for
from speechbench.benchmarks.templates import language_name
from speechbench.errors import MissingError, UsageError
from speechbench.grammar import split_outside_brackets
from speechbench.registry import register_benchmark
from speechbench.sources import code_hash_of

_TASKS = ("translation", "question-answering", "other")
_SUMMARY = "manifest"  # the index's fact with what all lines have in common


@register_benchmark("manifest")
class Manifest(IndexedBenchmark):
    """Anyone's own data: one example a line of a JSONL, CSV, TSV or Parquet file.

    Fields: `audio` (a path, relative to the manifest's folder), `references` (a text or, where there are lists, a
    list; also `reference`) and `split` ("train", "validation", "test"; lines without one are train once any line has
    one); optional: `instruction` (where it lacks `<|audio|>` that is put in front; without it `target_language`
    decides: translate, or write down what is said), `question` (what is asked without an instruction if the task is
    question answering), `source` (the transcript), `source_language` and `target_language` ("en" if not given),
    `speaker`, `id`. What else stands there is handed to rewards by name. `docs/manifest.md` has all of it.

    A line that cannot be used stands in `problems` with its number, and nothing is trained or measured. To load a split
    that no line is of is a `UsageError`.

    Args:
        path: The manifest.
        metrics: Comma-separated specs measured by default, "bleu,chrf(word_order=2)".
        task: "translation", "question-answering" or "other".
        audio: The folder that paths are relative to, and below which all recordings lie; the manifest's if not given.
        prompts: How lines without instruction are asked: "paper", "paraphrases" or a file (`prompts_for`).
        prompt: Which template of these all get, from 1.
        min_seconds: Recordings that are shorter are left out, and counted.
        max_seconds: Recordings that are longer are left out, and counted.

    Raises:
        MissingError: If there is no such file or folder.
        UsageError: If a parameter is wrong, or the file's name does not say how it is written.
    """

    name: str = "manifest"
    licence = "the manifest's own"
    strict: bool = True  # the file is the user's own claim of what is there

    def __init__(
        self,
        path: str,
        metrics: str | None = None,
        task: str = "other",
        audio: str | None = None,
        prompts: str = "paper",
        prompt: int | None = None,
        min_seconds: float | None = None,
        max_seconds: float | None = None,
    ) -> None:
        if task not in _TASKS:
            raise UsageError(f"manifest: task={task!r} is none of {', '.join(_TASKS)}")
        self._asked = prompts, prompt
        super().__init__(min_seconds, max_seconds, _sets(task, prompts, prompt))
        self.task = task  # type: ignore[misc]  # a class's constant elsewhere, the user's choice here
        self.path = Path(path).expanduser()
        self.folder = self.path.parent if audio is None else Path(str(audio)).expanduser()
        if metrics is not None:
            self.metrics = tuple(split_outside_brackets(metrics))
        if not self.path.is_file():
            raise MissingError(f"manifest: there is no file {self.path}; write one JSON object per line, or a table")
        if not self.folder.is_dir():
            raise MissingError(f"manifest: there is no folder {self.folder}; give audio=FOLDER that holds recordings")
        check_suffix(self.path)
        self._awaited: Sequence[Path] = ()
        self._summary: str | None = None

    @property
    def source_language(self) -> str:  # type: ignore[override]  # known when the file is read
        """Of all lines, or `SEVERAL_LANGUAGES`."""
        return str(self._common()["source_language"])

    @property
    def target_language(self) -> str:  # type: ignore[override]
        """Of all lines, or `SEVERAL_LANGUAGES`."""
        return str(self._common()["target_language"])

    def expected_counts(self) -> Mapping[str, int]:
        """How many lines say that they are of each split, those that cannot be used too."""
        return {split: count for split, count in self._common()["claims"].items() if count}

    def _load(self, split: str, limit: int | None) -> Sequence[Example]:
        # A split of which no line can be used is empty: `problems` says why, and `refuse_problems` refuses it.
        index = self.index()
        if index.count(split):
            return super()._load(split, limit)
        claims = self.expected_counts()
        if split not in claims and claims:
            first = "".join(f"; a line that cannot be used: {p.where}: {p.what}" for p in self.problems[:1])
            raise UsageError(
                f"{self.path}: no line is of the split {split!r}; mark some so (it has: "
                f"{', '.join(f'{count} {name}' for name, count in claims.items())}){first}"
            )
        return Examples(self, index, (), split)

    def index(self) -> Index:
        """The rows, with what they have in common."""
        index = super().index()
        if self._summary is not None:  # just read
            index.keep_fact(_SUMMARY, self._summary)
            self._summary = None
        return index

    def read(self) -> Iterator[Row]:
        """The rows of the lines; those that give none are noted, each with its number.

        Raises:
            UsageError: If the file as a whole is written wrongly, or no line has a field that is needed.
            SpeechbenchError: If it is damaged as a whole.
        """
        root = Root(self.folder)
        lines = LineReader(self.path, root, self.task == "question-answering")
        for record in read_records(self.path):
            try:
                row = lines.row(record)
            except BadLine as bad:
                self.note(f"{self.path}:{record.number}", bad.what, bad.kind)
            else:
                yield row
        lines.refuse_lacking()
        for task in sorted(lines.tasks):
            prompts_for(task, *self._asked)  # templates that only some tasks can do with are refused where others occur
        self._awaited, self._summary = root.awaited(), json.dumps(lines.summary())

    def sources(self) -> Sequence[Path]:
        """The manifest, and the folders in which recordings were lacking."""
        return [self.path, *self._awaited]

    def identity(self) -> Mapping[str, Any]:
        """Where the files lie and how the lines are understood."""
        return {
            "path": [str(self.path), str(self.path.absolute())],  # messages have the one, for whatever folder
            "audio": [str(self.folder), str(self.folder.absolute())],
            "asks": [self.task == "question-answering", *self.prompts],
            "code": [code_hash_of(part) for part in (read_records, LineReader, Root)],
        }

    def audio(self, name: str, sha256: str | None = None) -> Audio:
        """The recording that a line names."""
        return Audio(self.folder / name, sha256)

    def how_to_get(self) -> str:
        """What to do about recordings that are lacking."""
        return f"put the files there or mend the paths, which are relative to {self.folder.resolve()}"

    def example(self, row: Row, audio: Audio | None) -> Example:
        """The example of a line."""
        instruction, references, source_language, target_language, columns = unpacked(row)
        if instruction is None:
            task = task_of(self.task == "question-answering", source_language, target_language)
            instruction = self.prompts[task].instruction(
                row.id,
                language=language_name(target_language),
                source_language=language_name(source_language),
                question=str(columns.get("question", "")),
            )
        return Example(
            id=row.id,
            audio=audio,
            instruction=instruction,
            references=(row.reference, *references),
            source=row.source,
            source_language=source_language,
            target_language=target_language,
            speaker=row.speaker,
            columns=columns,
        )

    def _common(self) -> Mapping[str, Any]:
        """What the lines have in common, as `LineReader.summary` gives it."""
        known = self.index().fact(_SUMMARY)
        if known is None:  # whoever read the file ended before this was kept
            deque(self.read(), 0)
            known = self.index().fact(_SUMMARY)
        return dict(json.loads(known or ""))


def _sets(task: str, prompts: str, prompt: int | None) -> list[Prompts]:
    """The templates of all tasks that lines may need, those aside that the user's templates do not fit."""
    if task == "question-answering":
        return [prompts_for(task, prompts, prompt)]
    found = [prompts_for("translation", prompts, prompt)]
    with suppress(UsageError):
        found.append(prompts_for("transcription", prompts, prompt))
    return found
