"""The notes under a board: what a reader must know so as not to read more out of it than it holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from speechbench.leaderboard.comparisons import Comparisons
from speechbench.leaderboard.entries import Entry
from speechbench.leaderboard.ranks import ranked, reward_terms
from speechbench.leaderboard.sampled import SampledComparisons, is_sharpening
from speechbench.leaderboard.statistics import ALPHA, POWER
from speechbench.leaderboard.store import Group
from speechbench.leaderboard.systems import FEWEST
from speechbench.tables import counted, decimals_of, p_text

LOWER = "↓ lower is better"
ONE_SEED = "one seed: ranks checkpoints, not rewards"
CONTROLS = (
    "the base model hears silence under no-audio, reads the instruction alone under question-only, and the transcript "
    "in place of the speech, as a perfect recogniser would write it, under gold-transcript; none of them counts as best"
)


def notes(
    group: Group, comparisons: Comparisons, runs: Sequence[Entry], sampled: SampledComparisons | None = None
) -> Iterator[str]:
    """Yields the notes of a board, most important first."""
    yield from _unfinished(runs, group.unknown)
    for each in group.broken:
        yield f"not read: {each.reason}"
    trained = [row for row in group.rows if row.is_trained and row.finished]
    if trained and any(len(row.finished) == 1 for row in trained):
        single = [row.label for row in trained if len(row.finished) == 1]
        yield ONE_SEED if len(single) == len(trained) else f"{ONE_SEED} ({', '.join(single)})"
    if trained and any(len(row.finished) > 1 for row in trained):
        yield (
            "scores are means over seeds; seeds ± is their standard deviation, apart from the interval over examples; "
            "a difference counts only if it holds over examples and over seeds (t test)"
        )
    yield from _unmeasured(group)
    yield from _warnings(group)
    yield from _made_differently(runs)
    if any(row.input_control is not None for row in group.rows):
        yield CONTROLS
    yield from _unbeaten_controls(group, comparisons)
    if sampled is not None:
        yield from _sharpening(group, comparisons, sampled)
    yield from _tests(group, comparisons)
    yield from _power(group, comparisons)
    yield from _ranks(group)
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


def _unfinished(runs: Sequence[Entry], unknown: int) -> Iterator[str]:
    left = [run for run in runs if run.state != "finished"]
    if left or unknown:
        names = [*(run.name for run in left), *([f"{unknown} that cannot be read"] if unknown else [])]
        yield f"{len(runs) - len(left)} of {len(runs) + unknown} runs finished; not yet: {_listed(names)}"
    for run in left:
        if run.state == "failed":
            yield f"{run.name} failed: {run.reason}"


def _made_differently(runs: Sequence[Entry]) -> Iterator[str]:
    """In which versions, commits and machines the runs differ: what they may differ in for no other reason."""
    finished = [run.provenance for run in runs if run.state == "finished"]
    told: dict[str, set[str]] = {}
    for provenance in finished:
        versions = provenance.get("versions")
        facts = {**(versions if isinstance(versions, Mapping) else {}), "processor": provenance.get("processor")}
        facts["accelerator"], facts["threads"] = provenance.get("accelerator"), provenance.get("threads")
        facts["commit"] = str(provenance.get("commit") or "unknown")[:12]
        for what, value in facts.items():
            told.setdefault(what, set()).add(str(value))
    differing = [f"{what} {_listed(sorted(values))}" for what, values in told.items() if len(values) > 1]
    if differing:
        yield f"the runs were not all made alike: {'; '.join(differing)}"
    changed = sum(str(provenance.get("commit") or "").endswith("+") for provenance in finished)
    if changed:
        yield f"{counted(changed, 'run')} made from a checkout with changes that no commit holds"


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


def _unmeasured(group: Group) -> Iterator[str]:
    """Which seeds of a row lack a metric that its others have: the row has no score in it."""
    for row in group.rows:
        for metric in group.metrics:
            lacking = [run.info.seed for run in row.finished if metric not in run.info.metrics]
            if 0 < len(lacking) < len(row.finished):
                yield f"{metric.display} is not measured for {row.label} seed {_listed(lacking)}, so the row has none"


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


def _tests(group: Group, comparisons: Comparisons) -> Iterator[str]:
    clusters = comparisons.clusters
    if clusters is None:
        return
    marks = "* the row was trained on this metric; bold: the best of its column, and what is not separable from it"
    if comparisons.family:
        marks += (
            f"; ▲ better, ▼ worse than base; † better, ‡ worse than sft (p < {ALPHA} after Holm over "
            f"{counted(comparisons.family, 'planned test')}); ! health is worse than sft's"
        )
    yield marks
    drawn = counted(comparisons.examples, f"{group.split} example")
    if clusters.level != "example":
        drawn += f", drawn by {clusters.level} ({clusters.number})"
    method = f"{drawn}; 95% intervals over examples from {counted(comparisons.resamples, 'bootstrap resample')}"
    if comparisons.family:
        smallest, corrected = comparisons.smallest_p
        how = "paired for p" if comparisons.test == "bootstrap" else "p from approximate randomisation"
        more = (
            f" (up to {comparisons.most} where that left a verdict open)"
            if comparisons.most > comparisons.resamples
            else ""
        )
        method += f", {how}{more}; smallest attainable p {smallest:.2g} ({corrected:.2g} after Holm)"
    yield method
    if clusters.number < FEWEST:
        yield (
            f"{counted(clusters.number, clusters.level)} to draw from: so few (below {FEWEST}) that intervals and "
            "tests lean on differences being distributed normally"
        )
    if clusters.too_few:
        yield (
            f"{_listed(clusters.too_few)}: too few to be drawn (at least {FEWEST}), so intervals and tests hold for "
            "these and not for others"
        )
    for baseline in ("base", "sft"):  # a control is not missed where none was asked for
        count = sum(row.trainer == baseline for row in group.rows)
        if count != 1:
            yield f"{'no' if not count else 'more than one'} {baseline} row: {_untested(baseline, count)}"


def _power(group: Group, comparisons: Comparisons) -> Iterator[str]:
    """What this test set could show at all."""
    figures = []
    for metric in group.metrics:
        its = [
            test.detectable
            for (_, name, baseline), test in comparisons.tests.items()
            if name == metric.name and baseline != "control" and test.detectable is not None
        ]
        if its:
            figures.append(f"{metric.display} {median(its):.{decimals_of(metric.scale)}f}")
    if figures:
        yield (
            "power: the smallest difference from base or sft that these examples show with probability "
            f"{POWER:g} after the correction (median of the tests): {_listed(figures)}"
        )


def _ranks(group: Group) -> Iterator[str]:
    if ranked(group):
        yield (
            "ranks are intervals: 1 + how many rows are significantly better, to n − how many are worse (Holm over all "
            "pairs of a column); the rank over all leaves out the families of the reward's own metrics, and families "
            "weigh equally"
        )
    rewards = {term for row in group.rows if row.reward and not row.is_control for term in reward_terms(row.reward)}
    learned = [metric for metric in group.metrics if metric.family == "learned"]
    if rewards and not learned:
        yield "no learned metric is measured: add one that no row is trained on, as with --metrics"
    elif learned and all(metric.name in rewards for metric in learned):
        names = _listed(metric.display for metric in learned)
        yield f"each learned metric is some row's reward ({names}): add one that is none, which nothing here could game"


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
