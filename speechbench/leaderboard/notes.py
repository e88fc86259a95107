"""The notes under a board: what a reader must know so as not to read more out of it than it holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from speechbench.leaderboard.comparisons import ALPHA, Comparisons
from speechbench.leaderboard.sampled import SampledComparisons, is_sharpening
from speechbench.leaderboard.store import Group
from speechbench.tables import counted, decimals_of, p_text

LOWER = "↓ lower is better"
ONE_SEED = "one seed: ranks checkpoints, not rewards"
CONTROLS = (
    "the base model hears silence under no-audio, reads the instruction alone under question-only, and the transcript "
    "in place of the speech, as a perfect recogniser would write it, under gold-transcript; none of them counts as best"
)


def notes(
    group: Group, comparisons: Comparisons, resamples: int, sampled: SampledComparisons | None = None
) -> Iterator[str]:
    """Yields the notes of a board, most important first."""
    runs = [run for row in group.rows for run in row.runs]
    unfinished = [run for run in runs if not run.finished]
    if unfinished:
        names = ", ".join(
            run.info.label if run.info.seed is None else f"{run.info.label} seed {run.info.seed}" for run in unfinished
        )
        yield f"{len(runs) - len(unfinished)} of {len(runs)} runs finished; not yet: {names}"
    trained = [row for row in group.rows if row.is_trained and row.finished]
    if trained and any(len(row.finished) == 1 for row in trained):
        single = [row.label for row in trained if len(row.finished) == 1]
        yield ONE_SEED if len(single) == len(trained) else f"{ONE_SEED} ({', '.join(single)})"
    if trained and any(len(row.finished) > 1 for row in trained):
        yield "scores are means over seeds; seeds ± is their standard deviation, apart from the interval over examples"
    yield from _warnings(group)
    if any(row.input_control is not None for row in group.rows):
        yield CONTROLS
    yield from _unbeaten_controls(group, comparisons)
    if sampled is not None:
        yield from _sharpening(group, comparisons, sampled)
    yield from _tests(group, comparisons, resamples)
    if sampled is not None:
        yield _how_sampled(sampled)
    for metric in group.metrics:
        counts = [
            (group.rows[place].label, its) for (place, name), its in comparisons.applies.items() if name == metric.name
        ]
        yield from applicability(metric.display, counts, comparisons.examples, f"{group.split} example")
    for metric in group.metrics:
        signature = signature_text(metric.signature)
        if signature:
            yield f"{metric.display}: {signature}"


def applicability(metric: str, counts: Sequence[tuple[str, Sequence[int]]], of: int, thing: str) -> Iterator[str]:
    """Yields the note on a metric that does not apply to everything.

    Args:
        metric: What it is called.
        counts: The label of each system, and to how many things the metric applies there, for each seed.
        of: How many there are.
        thing: What they are called, "segment".
    """
    labels: dict[str, list[str]] = {}  # by how many
    for label, its in counts:
        labels.setdefault(f"{min(its)}" if len(set(its)) == 1 else f"{min(its)} to {max(its)}", []).append(label)
    if not labels.keys() - {f"{of}"}:
        return
    first, *others = labels
    note = f"{metric} applies to {first} of {counted(of, thing)}"
    if others:
        note += f" ({_listed(labels[first])})"
        note += "".join(f", to {count} ({_listed(labels[count])})" for count in others)
    yield f"{note}; two are compared where it applies to both" if len(counts) > 1 else note


def _warnings(group: Group) -> Iterator[str]:
    """What the trainings warned of, once for all seeds of a row."""
    for row in group.rows:
        found: dict[str, list[int | None]] = {}
        for run in row.finished:
            for warning in run.result.warnings if run.result is not None else ():
                found.setdefault(warning, []).append(run.info.seed)
        for warning, seeds in found.items():
            yield f"{row.label}{f' seed {_listed(seeds)}' if len(row.finished) > 1 else ''}: {warning}"


def _unbeaten_controls(group: Group, comparisons: Comparisons) -> Iterator[str]:
    """Which rewards gained nothing over what their shuffled selves gain; the cells' marks do not say it."""
    for place, row in enumerate(group.rows):
        keys = [(place, metric.name, "control") for metric in group.metrics]
        tests = [comparisons.tests[key] for key in keys if key in comparisons.tests]
        if tests and all(test.verdict < 1 for test in tests):
            yield f"{row.label} is significantly better than its control {tests[0].against} in no metric"


def _sharpening(group: Group, comparisons: Comparisons, sampled: SampledComparisons) -> Iterator[str]:
    """Whose gains over base only sampling shows, with both differences: how far they are apart is for the reader."""
    for place, row in enumerate(group.rows):
        found = []
        for metric in group.metrics:
            test, greedy = sampled.tests.get((place, metric.name)), comparisons.tests.get((place, metric.name, "base"))
            if test is not None and greedy is not None and is_sharpening(test, greedy):
                decimals = decimals_of(metric.scale)
                figures = (f"{its.difference:+.{decimals}f}, {p_text(its.p_holm)}" for its in (test, greedy))
                found.append(f"{metric.display} ({'; greedy '.join(figures)})")
        if found:
            yield f"sharpening: {row.label} is significantly better than base only when sampled, in {_listed(found)}"


def _how_sampled(sampled: SampledComparisons) -> str:
    how = sampled.how
    note = f"sampled: mean over passes ({how.passes}) at temperature {how.temperature:g}, top-p {how.top_p:g}"
    if how.family:
        note += (
            f", ▲ better, ▼ worse than base sampled alike (p < {ALPHA} after Holm over "
            f"{counted(how.family, 'planned test')}); what ranks is greedy, and a gain over base that is significant "
            "only when sampled is called sharpening"
        )
    return note


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def _tests(group: Group, comparisons: Comparisons, resamples: int) -> Iterator[str]:
    if not comparisons.examples:
        return
    marks = "* the row was trained on this metric; bold: best of its column"
    if any(metric.lower_is_better for metric in group.metrics):
        marks += f"; {LOWER}"
    smallest = 1 / (resamples + 1)
    if comparisons.family:
        marks += (
            f"; ▲ better, ▼ worse than base; † better, ‡ worse than sft (p < {ALPHA} after Holm over "
            f"{counted(comparisons.family, 'planned test')})"
        )
    yield marks
    method = f"{counted(comparisons.examples, f'{group.split} example')}; 95% intervals over examples from "
    method += counted(resamples, "bootstrap resample")
    if comparisons.family:
        corrected = min(1.0, comparisons.family * smallest)
        method += f", paired for p; smallest attainable p {smallest:.2g} ({corrected:.2g} after Holm)"
    yield method
    for baseline in ("base", "sft"):  # a control is not missed where none was asked for
        count = sum(row.trainer == baseline for row in group.rows)
        if count != 1:
            yield f"{'no' if not count else 'more than one'} {baseline} row: {_untested(baseline, count)}"


def _untested(baseline: str, count: int) -> str:
    if not count:
        return f"nothing is tested against {baseline}"
    return "rows are tested against the one they go on from, else the only one that started from the same weights"


def signature_text(signature: Mapping[str, Any]) -> str:
    """A metric's signature in one line: sacrebleu's own string where there is one."""
    if isinstance(signature.get("metric"), str):
        return str(signature["metric"])
    parts = (
        f"{key} {_shown(value)}"
        for key, value in signature.items()
        if key != "name" and value not in (None, "", {}, []) and not (key == "reward" and isinstance(value, str))
    )
    return ", ".join(parts)


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value[:12] if re.fullmatch(r"[0-9a-f]{40,}", value) else value  # a hash: enough to tell two apart
    if isinstance(value, Mapping) and "name" in value:  # the signature of a reward that this one is made of
        return f"{value['name']} ({signature_text(value)})"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_shown(part) for part in value)}]"
    return json.dumps(value, default=str)
