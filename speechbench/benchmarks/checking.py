"""What `speechbench benchmarks check` does: everything is read, counted and looked at."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from speechbench.benchmarks.base import Problem, Progress
from speechbench.benchmarks.loading import load_benchmark
from speechbench.benchmarks.oddities import Oddities
from speechbench.benchmarks.problem_file import write_problems
from speechbench.benchmarks.survey import SurveyedSplit, survey
from speechbench.errors import SpeechbenchError

SHOWN = 3
"""How many examples of a remark, and names of shared speakers, are told."""


@dataclass(frozen=True)
class CheckedSplit:
    """What is in a split.

    Attributes:
        found: Examples that can be used.
        expected: How many there should be; `None` where that is not known.
        seconds: Of all examples together.
        shortest: Seconds of the shortest recording; `None` where there is none.
        mean: Seconds of a recording on average; likewise.
        longest: Seconds of the longest; likewise.
        speakers: How many there are, where known.
        broken: Rows with a recording that cannot be used.
    """

    found: int
    expected: int | None
    seconds: float
    shortest: float | None
    mean: float | None
    longest: float | None
    speakers: int
    broken: int


@dataclass(frozen=True)
class SharedSpeakers:
    """Who is heard in two splits.

    Attributes:
        splits: Both.
        count: How many.
        first: Some of them, sorted.
    """

    splits: tuple[str, str]
    count: int
    first: tuple[str, ...]


@dataclass(frozen=True)
class Remark:
    """What is odd about some texts, or in how splits relate.

    Attributes:
        kind: What.
        count: How often.
        first: Where, some of them.
    """

    kind: str
    count: int
    first: tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """What was found in a benchmark's files.

    Attributes:
        benchmark: Its spec.
        found: Examples by split.
        expected: How many there should be, where that is known.
        problems: All that is missing or broken.
        splits: What is in each split.
        total: What is in all splits together; a speaker of several counts once.
        shared_speakers: Of each two splits that share some.
        oddities: What is odd, which is no problem: the most frequent first.
        excluded: How many examples were left out because they were asked to be, by split and reason.
        changed: How many recordings have changed since they were last read.
        warnings: What the benchmark has to say.
        problem_file: Where all problems and oddities stand, one by one; `None` if there are none.
    """

    benchmark: str
    found: Mapping[str, int]
    expected: Mapping[str, int]
    problems: tuple[Problem, ...]
    splits: Mapping[str, CheckedSplit]
    total: CheckedSplit
    shared_speakers: tuple[SharedSpeakers, ...]
    oddities: tuple[Remark, ...]
    excluded: Mapping[str, int]
    changed: int
    warnings: tuple[str, ...]
    problem_file: Path | None

    def refuse_problems(self) -> None:
        """What strictness asks for.

        Raises:
            SpeechbenchError: If there are problems; the message names the first and the file.
        """
        refuse(self.problems, self.problem_file)


def check(
    benchmark: str, progress: Progress | None = None, strict: bool = False, problems: str | Path | None = None
) -> Check:
    """Reads every recording and every text of a benchmark anew and tells what is there, missing, broken and odd.

    Args:
        benchmark: Spec.
        progress: Called as `progress(what, done, total)` while the data is made and read.
        strict: Make problems an error, after they are written to the file.
        problems: File for all problems and oddities, one by one; the cache folder's if not given.

    Raises:
        SpeechbenchError: If no split can be loaded, as where the data is not there; or with `strict` if there are
            problems.
        OSError: If the file cannot be written.
    """
    loaded = load_benchmark(benchmark)
    splits: dict[str, _Content] = {}
    oddities = Oddities(loaded.task)
    changed = 0
    for split, surveyed in survey(loaded, progress, again=True):
        splits[split] = _Content.of(split, surveyed, oddities)
        changed += surveyed.changed
    expected = dict(loaded.expected_counts())
    remarks = oddities.remarks()
    pairs = combinations(splits, 2)
    shared = [(pair, sorted(splits[pair[0]].speakers & splits[pair[1]].speakers)) for pair in pairs]
    everything = _Content.joined(splits.values())
    found = Check(
        benchmark=str(loaded.name),
        found={split: content.examples for split, content in splits.items()},
        expected=expected,
        problems=tuple(loaded.problems),
        splits={split: content.counted(expected.get(split)) for split, content in splits.items()},
        total=everything.counted(sum(expected.values()) if expected.keys() >= splits.keys() else None),
        shared_speakers=tuple(SharedSpeakers(pair, len(who), tuple(who[:SHOWN])) for pair, who in shared if who),
        oddities=_counted(remarks),
        excluded=dict(loaded.excluded),
        changed=changed,
        warnings=tuple(loaded.warnings),
        problem_file=write_problems(loaded, problems, [*remarks, *_as_remarks(shared)]),
    )
    if strict:
        found.refuse_problems()
    return found


def refuse(problems: Sequence[Problem], listed: Path | None) -> None:
    """Makes problems an error.

    Raises:
        SpeechbenchError: If there are some.
    """
    if problems:
        first, count = problems[0], len(problems)
        others = "" if count == 1 else f" (the first of {count} problems)"
        raise SpeechbenchError(f"{first.where}: {first.what}{others}; {listed} lists all")


@dataclass
class _Content:
    """What is in a split, one by one."""

    examples: int
    broken: int
    seconds: array[float]
    speakers: set[str]

    @staticmethod
    def of(split: str, surveyed: SurveyedSplit, oddities: Oddities) -> _Content:
        """Goes through the examples once; their texts go to `oddities`."""
        content = _Content(len(surveyed.examples), surveyed.broken, array("d"), set())
        for example, recording in surveyed.recorded():
            oddities.add(split, example, recording)
            if recording is not None:
                content.seconds.append(recording.seconds)
            if example.speaker is not None:
                content.speakers.add(example.speaker)
        return content

    @staticmethod
    def joined(parts: Iterable[_Content]) -> _Content:
        """Of several splits."""
        whole = _Content(0, 0, array("d"), set())
        for part in parts:
            whole.examples += part.examples
            whole.broken += part.broken
            whole.seconds.extend(part.seconds)
            whole.speakers |= part.speakers
        return whole

    def counted(self, expected: int | None) -> CheckedSplit:
        """In figures."""
        seconds = self.seconds
        return CheckedSplit(
            found=self.examples,
            expected=expected,
            seconds=sum(seconds),
            shortest=min(seconds, default=None),
            mean=sum(seconds) / len(seconds) if seconds else None,
            longest=max(seconds, default=None),
            speakers=len(self.speakers),
            broken=self.broken,
        )


def _counted(remarks: Sequence[Problem]) -> tuple[Remark, ...]:
    places: dict[str, list[str]] = {}
    for remark in remarks:
        places.setdefault(remark.kind, []).append(remark.where)
    counted = [Remark(kind, len(where), tuple(where[:SHOWN])) for kind, where in places.items()]
    return tuple(sorted(counted, key=lambda remark: -remark.count))


def _as_remarks(shared: Sequence[tuple[tuple[str, str], Sequence[str]]]) -> list[Problem]:
    return [Problem(" and ".join(pair), name, "oddity: speaker in two splits") for pair, who in shared for name in who]
