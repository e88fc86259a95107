"""What `speechbench benchmarks list`, `show`, `prepare` and `check` print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from speechbench.tables import NOTHING, bare_table, counted, facts_table, parameter_facts, told_of

if TYPE_CHECKING:
    from rich.console import Console

    from speechbench.benchmarks.base import Problem
    from speechbench.benchmarks.checking import Check, CheckedSplit
    from speechbench.benchmarks.describing import Asking, Card, Listed, Shown
    from speechbench.benchmarks.preparing import Prepared

_PROBLEMS = 5  # that are shown; the file lists all
_HASH = 12  # characters of a hash or a long name: enough to tell two apart
_ID = 32  # likewise of an example's id, or a speaker's
# What would steer a terminal or cannot be written: control characters but ends of lines, halves of surrogate pairs.
_UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def listing(found: Mapping[str, Listed], as_json: bool) -> None:
    """All benchmarks: a line each."""
    if as_json:
        _json([asdict(listed) for listed in found.values()])
        return
    from rich.console import Console
    from rich.markup import escape

    table = bare_table()
    for title in ("name", "task", "languages", "what"):
        table.add_column(title, overflow="fold", no_wrap=title == "name")
    for listed in found.values():
        what = told_of(listed.summary, listed.where, listed.broken)
        table.add_row(listed.name, listed.task, listed.languages, escape(_plain(what)))
    Console().print(table)


def card(found: Card, as_json: bool) -> None:
    """What one benchmark is, and some examples."""
    if as_json:
        _json(asdict(found))
        return
    from rich.console import Console

    console = Console()
    _title(found.spec, console)
    for paragraph in (found.summary, *found.details):
        if paragraph:
            _say(paragraph, console)
            console.print()
    _rows(_facts(found), console)
    for number, example in enumerate(found.examples, 1):
        console.print()
        _title(f"{example.split} {number}", console)
        _rows(_example(example), console)


def _facts(found: Card) -> Iterator[tuple[str, str]]:
    yield from parameter_facts(found.parameters)
    yield "task", found.task
    yield "languages", found.languages or "as the data says"
    yield (
        "examples",
        _by_split({split: f"{count:,}" for split, count in found.counts.items()}) or "not known beforehand",
    )
    if found.hours:
        yield "hours", _by_split({split: f"{hours:g}" for split, hours in found.hours.items()})
    if found.casing:
        yield "transcripts", found.casing
    yield "licence", found.licence
    if found.licence_note:
        yield "", found.licence_note
    if found.citation:
        yield "citation", found.citation
    yield from _listed("seen by", found.seen_by)
    for number, metric in enumerate(found.metrics):
        yield "" if number else "metrics", f"{metric.spec}{_signature(metric.signature, metric.no_signature)}"
    yield from _listed("prompts", [line for asking in found.prompts for line in _asking(asking)])
    yield "answers", f"at most {counted(found.max_completion_length, 'token')}"
    broken = "work ends there" if found.strict else "told, counted and left out; --strict ends work there"
    yield "broken data", broken
    yield from found.provenance.items()
    yield "registered", found.where
    if found.no_examples:
        yield "no examples", found.no_examples


def _listed(title: str, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    for number, text in enumerate(texts):
        yield "" if number else title, text


def _asking(asking: Asking) -> Iterator[str]:
    which = "" if len(asking.templates) == 1 else f", one of {len(asking.templates)} by the id of each example"
    yield f"{asking.task} ({asking.origin}){which}:"
    yield from asking.templates


def _by_split(figures: Mapping[str, str]) -> str:
    return ", ".join(f"{split} {figure}" for split, figure in figures.items())


def _signature(signature: Mapping[str, Any] | None, why: str) -> str:
    from speechbench.leaderboard.notes import signature_text

    text = signature_text(signature) if signature is not None else f"cannot be had here, {why}" if why else ""
    return f": {text}" if text else ""


def _example(example: Shown) -> Iterator[tuple[str, str]]:
    seconds = "" if example.seconds is None else f", {example.seconds:.1f} s"
    yield "id", f"{example.id}{seconds}"
    yield "instruction", example.instruction
    yield "source", NOTHING if example.source is None else example.source
    yield from _listed("references" if len(example.references) > 1 else "reference", example.references)
    yield "speaker", _cut(example.speaker or NOTHING, _ID)


def prepared(found: Prepared, console: Console, as_json: bool) -> None:
    """What is ready, and where it lies."""
    if as_json:
        _json(asdict(found))
        return
    table = bare_table()
    for title in ("split", "examples", "hours", "fingerprint", "left out"):
        table.add_column(title, justify="left" if title in ("split", "fingerprint") else "right")
    for split, ready in found.splits.items():
        left_out = sum(count for what, count in found.excluded.items() if what.startswith(f"{split}: "))
        digest = NOTHING if ready.fingerprint is None else ready.fingerprint[:_HASH]
        table.add_row(split, str(ready.examples), f"{ready.seconds / 3600:.2f}", digest, str(left_out))
    _title(found.benchmark, console)
    console.print(table)
    _notes(found, console)
    facts = [*found.provenance.items(), *((what, str(path)) for what, path in found.artifacts.items())]
    if found.index is not None:
        facts.append(("index", str(found.index)))
    if facts:
        console.print()
    for what, text in facts:
        _say(f"{what}: {text}", console, whole=True)
    _problems(found.problems, found.problem_file, console)
    if found.problems and found.strict:
        console.print("Work on this benchmark ends at its problems: mend them first.")


def checked(found: Check, console: Console, as_json: bool) -> None:
    """What a benchmark's files hold, what is wrong with them and what is odd."""
    if as_json:
        _json(asdict(found))
        return
    _title(found.benchmark, console)
    table = bare_table()
    for title in ("split", "expected", "found", "differ.", "hours", "min/mean/max s", "speakers", "broken"):
        table.add_column(title, justify="left" if title == "split" else "right")
    for split, content in found.splits.items():
        table.add_row(split, *_figures(content))
    table.add_section()
    table.add_row("all", *_figures(found.total))
    console.print(table)
    unknown = [split for split in found.splits if split not in found.expected]
    if unknown:
        _say(f"How many there should be is not known of {', '.join(unknown)}.", console)
    _notes(found, console)
    for shared in found.shared_speakers:
        names = ", ".join(_cut(name, _HASH) for name in shared.first)
        more = ", …" if shared.count > len(shared.first) else ""
        _say(f"{counted(shared.count, 'speaker')} of both {' and '.join(shared.splits)}: {names}{more}", console)
    if found.oddities:
        from rich.markup import escape

        from speechbench.benchmarks.oddities import PREFIX

        console.print()
        odd = bare_table()
        odd.add_column("odd, though no problem", overflow="fold")
        odd.add_column("count", justify="right")
        odd.add_column("such as", overflow="fold")
        for remark in found.oddities:
            first = ", ".join(_cut(where, _ID) for where in remark.first)
            odd.add_row(remark.kind.removeprefix(PREFIX), str(remark.count), escape(_plain(first)))
        console.print(odd)
    _problems(found.problems, found.problem_file, console)


def _figures(content: CheckedSplit) -> Iterator[str]:
    known = content.expected is not None
    yield str(content.expected) if known else NOTHING
    yield str(content.found)
    yield f"{content.found - (content.expected or 0):+d}".replace("+0", "0") if known else NOTHING
    yield f"{content.seconds / 3600:.2f}"
    lengths = [length for length in (content.shortest, content.mean, content.longest) if length is not None]
    yield "/".join(f"{length:.1f}" for length in lengths) or NOTHING
    yield str(content.speakers) if content.speakers else NOTHING
    yield str(content.broken)


def _notes(found: Check | Prepared, console: Console) -> None:
    for what, count in found.excluded.items():
        _say(f"{counted(count, 'example')} left out as asked: {what}", console)
    if found.changed:
        _say(f"{counted(found.changed, 'recording')} changed since last read, so that fingerprints differ.", console)
    for warning in found.warnings:
        _say(warning, console)


def _problems(problems: Sequence[Problem], listed: Any, console: Console) -> None:
    console.print()
    if not problems:
        console.print("No problems.")
    else:
        kinds = Counter(problem.kind for problem in problems).most_common()
        counts = ", ".join(f"{kind} {count}" for kind, count in kinds)
        _say(f"{counted(len(problems), 'problem')} ({counts})", console)
        for problem in problems[:_PROBLEMS]:
            _say(f"{problem.where}: {problem.what}", console, whole=True)
        if len(problems) > _PROBLEMS:
            console.print("…")
    if listed is not None:
        _say(f"All, one by one: {listed}", console, whole=True)


def _title(text: str, console: Console) -> None:
    from rich.text import Text

    console.print(Text(_plain(text), style="bold"))


def _say(text: str, console: Console, whole: bool = False) -> None:
    """Prints it; `whole` lines are for copying and not broken."""
    console.print(_plain(text), markup=False, highlight=False, soft_wrap=whole)


def _rows(rows: Iterator[tuple[str, str]], console: Console) -> None:
    console.print(facts_table(((name, _plain(text)) for name, text in rows), 12))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _plain(text: str) -> str:
    """With what must not go to a terminal as Python writes it."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _json(content: Any) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False, default=str)
    click.echo(text.encode("utf-8", "backslashreplace").decode())  # halves of surrogate pairs, as JSON escapes them
