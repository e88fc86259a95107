"""Every recording of a benchmark looked at, split by split: what `prepare` and `check` have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from speechbench.benchmarks.audio import Audio, Examined
from speechbench.benchmarks.base import SPLITS, Benchmark, Example, Problem, Progress
from speechbench.benchmarks.examination import examine, kind_of, stamp_of
from speechbench.benchmarks.index_file import DamagedError
from speechbench.benchmarks.indexed import IndexedBenchmark, part_of
from speechbench.errors import SpeechbenchError, UsageError


@dataclass(frozen=True)
class SurveyedSplit:
    """A split and what is known of its recordings.

    Attributes:
        examples: Those that can be used, in order; none where the split cannot be loaded.
        recordings: What was read of each recording, by `str` of its `Audio`; also of those that cannot be used.
        broken: How many rows have a recording that cannot be used.
        changed: How many recordings are not what they were when they were last read.
    """

    examples: Sequence[Example] = ()
    recordings: Mapping[str, Examined] = field(default_factory=dict)
    broken: int = 0
    changed: int = 0

    def recorded(self) -> Iterator[tuple[Example, Examined | None]]:
        """The examples with what is known of their recordings; `None` where there is none."""
        for example in self.examples:
            yield example, None if example.audio is None else self._of(example.audio)

    def _of(self, audio: Audio) -> Examined:
        known = self.recordings.get(str(audio))
        return examine([audio])[0] if known is None else known  # of a row that has come since


def survey(
    benchmark: Benchmark, progress: Progress | None = None, again: bool = False
) -> Iterator[tuple[str, SurveyedSplit]]:
    """Makes or fetches the data, then loads one split after the other and looks at its recordings.

    A split that cannot be loaded stands in the benchmark's `problems`, unless nobody claims that there is one; so does
    a benchmark without any example.

    Args:
        benchmark: Nothing of which need be loaded.
        progress: Told while recordings are read.
        again: Read all recordings, also those that are known and have not changed by size and date.

    Yields:
        Each split's name and what was found.

    Raises:
        SpeechbenchError: After the last one, if no split can be loaded and no problem says more: why the first cannot.
    """
    benchmark.prepare(progress)
    errors: dict[str, SpeechbenchError] = {}
    is_empty = True
    for split in SPLITS:
        found = SurveyedSplit()
        try:
            if isinstance(benchmark, IndexedBenchmark):
                try:
                    found = _read_of_index(benchmark, split, progress, again)
                except DamagedError:  # of the index, which `load` makes anew
                    benchmark.load(split)
                    found = _read_of_index(benchmark, split, progress, again)
                found = replace(found, examples=benchmark.load(split))
            else:
                found = _read_of_examples(benchmark, split, progress, again)
        except SpeechbenchError as error:
            errors[split] = error
        if len(errors) == len(SPLITS) and not benchmark.problems:
            raise errors[SPLITS[0]]
        is_empty = is_empty and not len(found.examples)
        yield split, found
    for split, why in errors.items():
        if not isinstance(why, UsageError):  # that one says that nobody claims such a split
            benchmark.note(split, str(why), "missing split")
    if is_empty and not benchmark.problems:
        benchmark.note(str(benchmark.name), "no split has an example; see that its parameters name the right place")


def _read_of_examples(benchmark: Benchmark, split: str, progress: Progress | None, again: bool) -> SurveyedSplit:
    unusable = _recordings_in(benchmark.problems)  # some benchmarks look themselves
    examples = benchmark.load(split)
    audios = [example.audio for example in examples if example.audio is not None]
    read = dict(zip(audios, examine(audios, part_of(progress, split), again), strict=True))
    usable = []
    for example in examples:
        found = None if example.audio is None else read[example.audio]
        if found is None or found.defect is None:
            usable.append(example)
        else:
            benchmark.note(f"example {example.id!r}", f"{example.audio} {found.defect}", kind_of(found))
    recordings = {str(audio): found for audio, found in read.items()}
    return SurveyedSplit(usable, recordings, _recordings_in(benchmark.problems) - unusable)


def _read_of_index(benchmark: IndexedBenchmark, split: str, progress: Progress | None, again: bool) -> SurveyedSplit:
    """Looks at each row's recording, and keeps in the index what is new, before examples are made of it."""
    index = benchmark.index()
    recordings: dict[str, Examined] = {}
    broken = changed = done = 0
    for entries in index.entries(split):
        audios = {entry.position: benchmark.audio(entry.audio) for entry in entries if entry.audio}
        stamps = {position: stamp_of(audio) for position, audio in audios.items()}
        due = [e for e in entries if e.position in audios and (again or e.stamp != stamps[e.position])]
        read = examine([audios[e.position] for e in due], part_of(progress, split, done, index.count(split)), again)
        fresh = {e.position: found for e, found in zip(due, read, strict=True)}
        changed += sum(e.examined is not None and _kept(e.examined) != _kept(fresh[e.position]) for e in due)
        index.note((position, stamps[position], found) for position, found in fresh.items())
        for entry in entries:
            found = fresh.get(entry.position, entry.examined)
            if found is not None and entry.position in audios:
                recordings[str(audios[entry.position])] = found
                broken += found.defect is not None
        done += len(entries)
    return SurveyedSplit((), recordings, broken, changed)


def _recordings_in(problems: Sequence[Problem]) -> int:
    return sum(problem.kind in ("empty recording", "broken recording") for problem in problems)


def _kept(examined: Examined | None) -> tuple[str, float, str | None] | None:
    """What counts of it: all that an index keeps."""
    return None if examined is None else (examined.sha256, examined.seconds, examined.defect)
