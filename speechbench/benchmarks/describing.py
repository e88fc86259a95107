"""What `speechbench benchmarks list` and `show` do: tell what the benchmarks are, and show some examples."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.benchmarks.examination import examine
from speechbench.benchmarks.indexed import IndexedBenchmark
from speechbench.benchmarks.loading import load_benchmark
from speechbench.docstrings import paragraphs
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.grammar import parse
from speechbench.hub import without_downloads
from speechbench.parameters import Parameter, parameters_of, place_of
from speechbench.registry import BENCHMARKS
from speechbench.specs import Spec

SHOWN = 3
"""How many examples are shown."""


@dataclass(frozen=True)
class Listed:
    """One line of the list of benchmarks.

    Attributes:
        name: As in a spec.
        task: As in `Benchmark`; empty for what was not imported.
        languages: Of speech and references, "en → de"; empty likewise.
        summary: The first paragraph of its docstring.
        where: Where it is registered.
        broken: Why it cannot be imported; empty where it can.
    """

    name: str
    task: str
    languages: str
    summary: str
    where: str
    broken: str = ""


@dataclass(frozen=True)
class Metric:
    """A metric measured by default.

    Attributes:
        spec: As the benchmark declares it.
        signature: All that its scores depend on, its tokenizer among it; `None` if it cannot be had here.
        no_signature: Why not; empty where the benchmark itself lacks parameters.
    """

    spec: str
    signature: Mapping[str, Any] | None
    no_signature: str = ""


@dataclass(frozen=True)
class Asking:
    """How examples of a task are asked.

    Attributes:
        task: As in `prompts_for`.
        origin: Where the templates come from.
        templates: Of which each example gets one by its id.
    """

    task: str
    origin: str
    templates: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """An example, as a model and a scorer see it.

    Attributes:
        split: That it is of.
        id: Its own.
        instruction: What the model is told.
        source: The transcript; `None` where it is not known.
        references: Correct answers.
        speaker: `None` where it is not known.
        seconds: Of its recording; `None` if it has none.
    """

    split: str
    id: str
    instruction: str
    source: str | None
    references: tuple[str, ...]
    speaker: str | None
    seconds: float | None


@dataclass(frozen=True)
class Card:
    """What a benchmark is.

    Attributes:
        spec: What is shown.
        task: As in `Benchmark`.
        languages: Of speech and references, "en → de".
        summary: The first paragraph of its docstring.
        details: The paragraphs after it, without the sections on arguments and errors.
        parameters: In their order.
        counts: How many examples each split should have, where that is known.
        hours: Of speech by split, where the data's makers say it.
        licence: Of the data.
        licence_note: What one should know besides.
        citation: Whom to cite.
        casing: How transcripts are written; empty where that is not declared.
        seen_by: Models that were trained on this data, and who says so.
        metrics: Measured by default.
        prompts: How a model is asked; empty where the benchmark words each example itself.
        max_completion_length: In tokens.
        strict: Whether work ends at what is missing or broken.
        provenance: Where the data here comes from.
        where: Where it is registered.
        examples: The first of the test split, or of another if that cannot be had.
        no_examples: Why there are none, and how to get them.
    """

    spec: str
    task: str
    languages: str
    summary: str
    details: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    counts: Mapping[str, int]
    hours: Mapping[str, float]
    licence: str
    licence_note: str
    citation: str
    casing: str
    seen_by: tuple[str, ...]
    metrics: tuple[Metric, ...]
    prompts: tuple[Asking, ...]
    max_completion_length: int
    strict: bool
    provenance: Mapping[str, str]
    where: str
    examples: tuple[Shown, ...]
    no_examples: str = ""


def listing() -> dict[str, Listed]:
    """All registered benchmarks by name, sorted; one that cannot be imported says why, and hinders no other.

    Of those that installed packages declare only the place is told: nobody imports a package by looking at a list.
    """
    return {name: _listed(name) for name in BENCHMARKS.names()}


def show(spec: str) -> Card:
    """What a benchmark is, and some examples where its data is there; nothing is made or downloaded to be shown.

    Args:
        spec: As in `covost2`, `covost2(en_ja, root=cv)`, `path/to/file.py:name`. A name alone is shown even if the
            benchmark cannot be used as it stands, because it needs parameters.

    Raises:
        UsageError: If there is no such benchmark, or it takes no such parameters.
    """
    with without_downloads():  # gigabytes, only to be looked at
        return _card(parse(spec))


def _card(asked: Spec) -> Card:
    place = BENCHMARKS.where(asked.name) or asked.name
    plug = BENCHMARKS.get(asked.name)
    benchmark: Benchmark | None = None
    examples: Sequence[Shown] = ()
    why = ""
    try:
        benchmark = load_benchmark(asked)
    except SpeechbenchError as error:
        why = str(error)
        is_bare = not asked.parameters and not asked.arguments
        if not _is_class(plug) or (isinstance(error, UsageError) and not is_bare):
            raise
    else:
        asked = asked.named(plug, "benchmark")
        examples, why = _examples(benchmark)
    of: Any = plug if benchmark is None else benchmark
    summary, *details = paragraphs(plug)
    return Card(
        spec=str(asked),
        task=_text(of, "task"),
        languages=_languages(of),
        summary=summary,
        details=tuple(details),
        parameters=tuple(parameters_of(plug, asked)),
        counts={} if benchmark is None else dict(benchmark.expected_counts()),
        hours=dict(of.hours),
        licence=of.licence,
        licence_note=of.licence_note,
        citation=of.citation,
        casing=of.casing,
        seen_by=tuple(of.seen_by),
        metrics=tuple(Metric(spec, None) for spec in of.metrics) if benchmark is None else tuple(_metrics(benchmark)),
        prompts=() if benchmark is None else _asking(benchmark),
        max_completion_length=of.max_completion_length,
        strict=of.strict,
        provenance={} if benchmark is None or not examples else dict(benchmark.provenance()),
        where=place_of(plug, place),
        examples=tuple(examples),
        no_examples=why,
    )


def _listed(name: str) -> Listed:
    place = BENCHMARKS.where(name)
    if not BENCHMARKS.is_at_hand(name):  # a package is imported only for who asks for its plugs
        return Listed(name, "", "", "", place)
    try:
        plug = BENCHMARKS.get(name)
        where = place_of(plug, place)
        of = plug
        if where.startswith("speechbench.") and not _required(plug):  # then its parameters' defaults are known too
            of = load_benchmark(name)
        task, languages = (_text(of, "task"), _languages(of)) if _is_class(plug) else ("", "")
        return Listed(name, task, languages, paragraphs(plug)[0], where)
    except Exception as error:  # whatever a module does when it is imported
        said = " ".join(f"{type(error).__name__}: {error}".split())
        return Listed(name, "", "", "", place, str(error) if isinstance(error, SpeechbenchError) else said)


def _is_class(plug: object) -> bool:
    return inspect.isclass(plug) and issubclass(plug, Benchmark)


def _required(plug: Any) -> bool:
    """Whether it must be given parameters."""
    parameters = inspect.signature(plug).parameters.values()
    return any(p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def _languages(of: Any) -> str:
    """Of a benchmark, or of its class; empty where only the data says it."""
    source, target = _text(of, "source_language"), _text(of, "target_language")
    return f"{source} → {target}" if source and target else ""


def _text(of: Any, name: str) -> str:
    """An attribute of a benchmark, or of its class; empty where a class does not know it."""
    value = getattr(of, name, "")
    return value if isinstance(value, str) else ""


def _metrics(benchmark: Benchmark) -> Iterator[Metric]:
    from speechbench.rewards.loading import load_reward

    for spec in benchmark.metrics:
        try:
            yield Metric(spec, dict(load_reward(spec, benchmark).signature()))
        except SpeechbenchError as error:
            yield Metric(spec, None, str(error))


def _asking(benchmark: Benchmark) -> tuple[Asking, ...]:
    sets = benchmark.prompts.values() if isinstance(benchmark, IndexedBenchmark) else ()
    return tuple(Asking(s.task, s.origin, tuple(template.text for template in s.templates)) for s in sets)


def _examples(benchmark: Benchmark) -> tuple[Sequence[Shown], str]:
    """Some examples, or why there are none."""
    why = ""
    for split in ("test", "validation", "train"):
        try:
            return [_shown(split, example) for example in benchmark.load(split, SHOWN)], ""
        except (SpeechbenchError, OSError) as error:
            why = why or str(error)
    return (), why


def _shown(split: str, example: Example) -> Shown:
    seconds = None if example.audio is None else examine([example.audio])[0].seconds
    return Shown(split, example.id, example.instruction, example.source, example.references, example.speaker, seconds)
