"""What every benchmark is: examples with lazily decoded audio, and what is known about them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from speechbench.errors import SpeechbenchError, UsageError

if TYPE_CHECKING:
    from speechbench.benchmarks.audio import Audio

AUDIO_PLACEHOLDER = "<|audio|>"
SPLITS = ("train", "validation", "test")
SEVERAL_LANGUAGES = "mul"
"""ISO 639-2's code, in place of a benchmark's language whose examples each name their own."""


def check_split(split: str) -> None:
    """Refuses what is not one of `SPLITS`.

    Raises:
        UsageError: If there is no such split.
    """
    if split not in SPLITS:
        raise UsageError(f"unknown split {split!r}: there are {', '.join(SPLITS)}")


Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, total)` while a long piece of work goes on."""


@dataclass(frozen=True)
class Example:
    """One item of a benchmark.

    Attributes:
        id: Unique within the benchmark.
        audio: The speech, decoded when asked for; `None` only for controls without it.
        instruction: What the model is told, with `AUDIO_PLACEHOLDER` where the audio stands, once;
            an example without audio may have none.
        references: Correct outputs, at least one; the first is the one that is trained on.
        source: The gold transcript of the speech, where known.
        source_language: Of the speech, as a code of two or three letters, with region where needed.
        target_language: Of the references.
        speaker: Who speaks, where known.
        columns: The example's other columns, handed to rewards by name.
    """

    id: str
    audio: Audio | None
    instruction: str
    references: tuple[str, ...]
    source: str | None
    source_language: str
    target_language: str
    speaker: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """One thing found wrong with a benchmark's files.

    Attributes:
        where: The file and line, or the example.
        what: What is wrong and how to mend it.
        kind: What others have in common with it, in the singular, as they are counted: "empty recording".
    """

    where: str
    what: str
    kind: str = "other"


class Benchmark(ABC):
    """A source of examples. Subclasses are registered and take their parameters as keyword arguments.

    Attributes:
        name: As registered, with its parameters (a spec): what the run folder records.
        task: "translation" or "question-answering" or "other".
        source_language: Of the speech.
        target_language: Of the references.
        licence: Of the data.
        licence_note: What one should know besides, as where sources contradict each other.
        citation: Whom to cite for the data.
        hours: Of speech by split, where the data's makers say it.
        casing: How transcripts are written, upper case and punctuation.
        seen_by: Models that were trained on this data, or on its recordings, and who says so; one sentence each.
        metrics: Specs of the metrics measured by default, in the order of the board's columns.
        strict: Whether work ends at what is missing or broken (`refuse_problems`), or does without it.
        max_completion_length: How many tokens an answer may take, the end token included; the paper's 200.
        comet_checkpoint: Which checkpoint the spec `comet` means on this benchmark.
        problems: What `load` found missing or broken so far; nothing is dropped without standing here.
        warnings: What a reader of the scores should know of how the examples were chosen, one sentence each.
        excluded: How many examples were left out because they were asked to be, by split and reason.
    """

    name: str
    task: ClassVar[str] = "other"
    source_language: str = "en"
    target_language: str = "en"
    licence: ClassVar[str] = "unknown"
    licence_note: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    hours: Mapping[str, float] = MappingProxyType({})
    casing: str = ""
    seen_by: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("bleu", "chrf", "binary")
    comet_checkpoint: str = "Unbabel/wmt22-comet-da"
    strict: bool = False
    max_completion_length: int = 200

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.excluded: Counter[str] = Counter()
        self._noted: set[Problem] = set()

    def note(self, where: str, what: str, kind: str = "other") -> None:
        """Adds to `problems`, once: loading a split twice finds the same things again."""
        problem = Problem(where, what, kind)
        if problem not in self._noted:
            self._noted.add(problem)
            self.problems.append(problem)

    def usable(self, examples: Iterable[Example], limit: int | None = None) -> list[Example]:
        """The examples whose recordings can be used; the others stand in `problems`.

        Each recording is read once, and again only when it has changed.

        Args:
            examples: In order.
            limit: At most so many, from the front; no more are read than it takes.
        """
        from speechbench.benchmarks.fingerprint import broken

        found: list[Example] = []
        ahead = iter(examples)
        while limit is None or len(found) < limit:
            some = list(islice(ahead, None if limit is None else limit - len(found)))
            if not some:
                break
            defects = {problem.where: problem for problem in broken(some)}
            for problem in defects.values():
                self.note(problem.where, f"{problem.what}; left out", problem.kind)
            found += [example for example in some if f"example {example.id!r}" not in defects]
        return found

    def refuse_problems(self) -> None:
        """Called after `load`, before anything is trained or measured.

        Raises:
            SpeechbenchError: If the benchmark is strict and has problems; the message names the first.
        """
        if not self.strict or not self.problems:
            return
        first, count = self.problems[0], len(self.problems)
        others = "" if count == 1 else f" (the first of {count} problems)"
        raise SpeechbenchError(
            f"{first.where}: {first.what}{others}; `speechbench benchmarks check {str(self.name)!r}` lists all"
        )

    @abstractmethod
    def load(self, split: str, limit: int | None = None) -> Sequence[Example]:
        """The examples of one split, in a fixed order.

        Args:
            split: "train", "validation" or "test".
            limit: At most so many, from the front.

        Raises:
            MissingError: If the data is not there; the message says how to get it.
            UsageError: If there is no such split.
        """

    def prepare(self, progress: Progress | None = None) -> None:
        """Makes or fetches the data, where this benchmark can; otherwise does nothing.

        Args:
            progress: Told of what takes long here, and in the calls of `load` that follow.
        """

    def artifacts(self) -> Mapping[str, Path]:
        """Files that `load` has written for people to share, by what they are: "validation split"."""
        return {}

    def provenance(self) -> Mapping[str, str]:
        """What was found of where the data comes from, as the revision of a data set on the hub."""
        return {}

    def expected_counts(self) -> Mapping[str, int]:
        """How many examples each split should have, where that is known."""
        return {}
