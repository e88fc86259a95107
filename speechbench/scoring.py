"""Plain files scored: what `speechbench score` does. Corpus scores, intervals, signatures, two systems compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import UsageError
from speechbench.grammar import split_outside_brackets
from speechbench.leaderboard.comparisons import PLANNED, Comparison, comparison
from speechbench.leaderboard.resampling import System, check_resamples
from speechbench.leaderboard.statistics import interval
from speechbench.leaderboard.testing import Pair, measured_and_tested
from speechbench.progress import Progress
from speechbench.rewards.base import Reward
from speechbench.rewards.loading import load_reward
from speechbench.rewards.measure import Measurement, check_metric, measure
from speechbench.text_files import STDIN, check_aligned, name_of, read_lines

RESAMPLES = 10_000
_LIGHT = ("overlap", "exact", "control")  # families that need no torch
_REMEDIES = {
    "reference": "needs references: give them with --ref FILE",
    "source": "needs the source texts: give them with --src FILE",
    "audio": "needs the speech, which plain files do not hold: use `speechbench eval` on a benchmark",
}


@dataclass(frozen=True)
class SystemScore:
    """One system in one metric, on the field's scale.

    Attributes:
        system: Its name: the file of its hypotheses.
        score: Of the corpus; `None` where the metric applies to no segment.
        interval: 95% bootstrap interval over segments.
        applies: To how many segments the metric applies.
        segments: Score of each; `None` where the metric does not apply.
        test: Against the first system, on the segments to which the metric applies for both.
    """

    system: str
    score: float | None
    interval: tuple[float, float] | None
    applies: int
    segments: tuple[float | None, ...]
    test: Comparison | None = None


@dataclass(frozen=True)
class MetricScores:
    """All systems in one metric.

    Attributes:
        metric: Its canonical spec.
        display: What its column is called.
        scale: Field's scale over unit scale.
        lower_is_better: Whether it counts errors.
        signature: Everything the scores depend on.
        systems: In the order they were given.
    """

    metric: str
    display: str
    scale: float
    lower_is_better: bool
    signature: Mapping[str, Any]
    systems: tuple[SystemScore, ...]


@dataclass(frozen=True)
class Scores:
    """What came out.

    Attributes:
        segments: How many each system has.
        references: How many lists of references there are.
        source_language: Of the source texts.
        target_language: Of hypotheses and references.
        resamples: B of the bootstrap.
        family: How many tests Holm's correction is over: metrics times systems besides the first.
        metrics: In the order they were asked for.
    """

    segments: int
    references: int
    source_language: str
    target_language: str
    resamples: int
    family: int
    metrics: tuple[MetricScores, ...]


class PlainFiles(Benchmark):
    """Lines of text as a benchmark, so that rewards choose checkpoints and tokenizers as on any other.

    Args:
        examples: The lines.
        source_language: Of the source texts.
        target_language: Of hypotheses and references.
    """

    name = "plain files"

    def __init__(self, examples: Sequence[Example], source_language: str, target_language: str) -> None:
        super().__init__()
        self._examples = list(examples)
        self.source_language, self.target_language = source_language, target_language

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        """The lines, whatever the split."""
        return self._examples[:limit]


def score(
    hyp: str | Path | Sequence[str | Path],
    ref: str | Path | Sequence[str | Path] = (),
    src: str | Path | None = None,
    reward: str | Sequence[str] = ("bleu", "chrf"),
    source_language: str = "en",
    target_language: str = "en",
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> Scores:
    """Scores text files, UTF-8 with one segment per line; "-" is standard input.

    Args:
        hyp: A file for each system; those after the first are compared with it.
        ref: Files of references. An empty line in one of several means that there are no more for that segment;
            an empty line in all of them, or in the only one, is an empty reference.
        src: The source texts, for rewards that need them.
        reward: Specs of the metrics, or one text with commas between them.
        source_language: Of the source texts.
        target_language: Of hypotheses and references: tokenizers and default checkpoints follow it.
        resamples: B of the bootstrap.
        progress: Told of each metric.

    Raises:
        UsageError: If a file is missing, empty, not UTF-8 or of another length than the others, or a reward does
            not exist, is no metric, or needs what is not given, or the number of resamples is not positive.
        SpeechbenchError: If a reward fails.
    """
    hyps, refs = _several(hyp), _several(ref)
    named = [*hyps, *refs, *([] if src is None else [src])]
    if sum(str(path) == STDIN for path in named) > 1:
        raise UsageError("standard input can be read once: give '-' for one file only")
    names = [name_of(path) for path in hyps]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--hyp {name} is given twice: give each system once")
    systems = {name: read_lines(path) for name, path in zip(names, hyps, strict=True)}
    references = [read_lines(path) for path in refs]
    sources = None if src is None else read_lines(src)
    texts = [*systems.values(), *references, *([] if sources is None else [sources])]
    check_aligned([(name_of(path), lines) for path, lines in zip(named, texts, strict=True)])
    return score_texts(systems, references, sources, reward, source_language, target_language, resamples, progress)


def score_texts(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[Sequence[str]] = (),
    sources: Sequence[str] | None = None,
    reward: str | Sequence[str] = ("bleu", "chrf"),
    source_language: str = "en",
    target_language: str = "en",
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> Scores:
    """Scores texts in memory; all else is as for `score`, and so is what it raises.

    Args:
        systems: For each system, by its name, the hypothesis of each segment.
        references: Lists of references, each with one for each segment.
        sources: The source text of each segment.
        reward: Specs of the metrics, or one text with commas between them.
        source_language: Of the source texts.
        target_language: Of hypotheses and references.
        resamples: B of the bootstrap.
        progress: Told of each metric.
    """
    names = list(systems)
    specs = split_outside_brackets(reward) if isinstance(reward, str) else list(reward)
    if not names or not specs:
        raise UsageError(f"there is nothing to score: name {'a reward' if names else 'hypotheses'}")
    check_resamples(resamples)  # before the work
    numbered = [(f"list {number} of references", lines) for number, lines in enumerate(references, 1)]
    check_aligned([*systems.items(), *numbered, *([] if sources is None else [("the source", sources)])])
    examples = [
        Example(
            id=f"line {row + 1}",
            audio=None,
            instruction="",
            references=_references(row, references),
            source=None if sources is None else sources[row],
            source_language=source_language,
            target_language=target_language,
        )
        for row in range(len(systems[names[0]]))
    ]
    loaded = _load(specs, PlainFiles(examples, source_language, target_language), bool(references), sources is not None)
    measured = []
    for done, metric in enumerate(loaded):
        if progress is not None:
            progress.advance(f"measuring {metric.display}", done, len(loaded))
        measured.append(_measure(metric, list(systems.values()), examples))
    family = len(measured) * (len(names) - 1)
    return Scores(
        segments=len(examples),
        references=len(references),
        source_language=source_language,
        target_language=target_language,
        resamples=resamples,
        family=family,
        metrics=_compared(measured, names, resamples, family),
    )


def _several(paths: str | Path | Sequence[str | Path]) -> list[str | Path]:
    return [paths] if isinstance(paths, (str, Path)) else list(paths)


def _references(row: int, references: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The references of a segment: those of several that are not empty, at least one."""
    texts = [lines[row] for lines in references]
    return tuple([text for text in texts if text.strip()] or texts[:1])


def _load(specs: Sequence[str], benchmark: Benchmark, has_references: bool, has_sources: bool) -> list[Reward]:
    """The metrics, each once.

    Raises:
        UsageError: If one needs what there is not.
    """
    given = {"reference": has_references, "source": has_sources, "audio": False}
    loaded: dict[str, Reward] = {}
    for spec in specs:
        metric = load_reward(spec, benchmark, loaded)
        check_metric(metric)
        for need in sorted(metric.needs):
            if not given.get(need, True):
                raise UsageError(f"reward {metric.spec} {_REMEDIES[need]}")
        loaded[str(metric.spec)] = metric
    if any(metric.family not in _LIGHT for metric in loaded.values()):
        from speechbench.libraries import set_up

        set_up()
    return list(loaded.values())


def _measure(metric: Reward, systems: Sequence[Sequence[str]], examples: Sequence[Example]) -> Measurement:
    """One metric of all systems in one go, those of a segment next to each other: its references are read once."""
    hypotheses = [lines[row] for row in range(len(examples)) for lines in systems]
    return measure(metric, hypotheses, [example for example in examples for _ in systems])


def _compared(
    measured: Sequence[Measurement], names: Sequence[str], resamples: int, family: int
) -> tuple[MetricScores, ...]:
    """Corpus scores and intervals of all systems, and the tests against the first, on one draw of segments."""
    systems = range(len(names))
    segments = {(m, s): its.segments[s :: len(names)] for m, its in enumerate(measured) for s in systems}
    rows = {}
    for (m, s), its in segments.items():
        applies = np.array([segment is not None for segment in its])
        rows[m, s] = [System(measured[m].statistics[s :: len(names)], applies, measured[m].aggregate)]
    pairs = {(m, s): Pair((m, s), (m, 0), PLANNED) for m, s in rows if s > 0}
    found, tested = measured_and_tested(rows, pairs, {PLANNED: family}, resamples)
    tests = {key: comparison(its, names[0], family, measured[key[0]].lower_is_better) for key, its in tested.items()}

    def one(metric: int, system: int) -> SystemScore:
        its = found.get((metric, system))
        return SystemScore(
            system=names[system],
            score=None if its is None else its.score,
            interval=None if its is None else interval(its.draws, its.clusters),
            applies=int(rows[metric, system][0].applies.sum()),
            segments=tuple(segments[metric, system]),
            test=tests.get((metric, system)),
        )

    return tuple(
        MetricScores(
            metric=measurement.name,
            display=measurement.display,
            scale=measurement.scale,
            lower_is_better=measurement.lower_is_better,
            signature=measurement.signature,
            systems=tuple(one(metric, system) for system in systems),
        )
        for metric, measurement in enumerate(measured)
    )
