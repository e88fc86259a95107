"""Measuring a model: every test example answered, every answer scored by every metric."""

from __future__ import annotations

import dataclasses
import resource
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechbench.answering import PAPER, WHOLE, Answers, Drawing, answer
from speechbench.benchmarks.base import Benchmark, Example
from speechbench.benchmarks.loading import load_benchmark
from speechbench.benchmarks.telling import refuse_or_tell
from speechbench.curves import Drawn, numbers_of, thresholds_of
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.health import health
from speechbench.libraries import set_up
from speechbench.models.base import Sampling, SpeechModel
from speechbench.models.loading import load_model
from speechbench.progress import Progress
from speechbench.rewards.base import Reward, total_usage
from speechbench.rewards.loading import load_reward
from speechbench.rewards.measure import check_metric, measure, prepare
from speechbench.run_files import probe
from speechbench.run_schema import MetricInfo, Sample, Sampled, Score
from speechbench.runs import write_passes, write_samples


@dataclass(frozen=True)
class Evaluation:
    """A model's answers and their corpus scores.

    Attributes:
        samples: One per example, in the benchmark's order.
        metrics: Corpus score by the metric's name, on the field's scale; `None` where it applies to no example.
        usage: What measuring used up that someone pays for, as `Reward.usage` says it.
    """

    samples: tuple[Sample, ...]
    metrics: dict[str, float | None]
    usage: dict[str, float]


def load_metrics(
    benchmark: Benchmark, specs: Sequence[str] | None = None, known: Mapping[str, Reward] | None = None
) -> list[Reward]:
    """The benchmark's default metrics, or those that are named; what is known by its resolved spec is not made again.

    Raises:
        UsageError: If there is no such metric, or it cannot measure.
    """
    metrics = [load_reward(spec, benchmark, known) for spec in specs or benchmark.metrics]
    for metric in metrics:
        check_metric(metric)
    return metrics


def describe(metric: Reward) -> MetricInfo:
    """What a run folder keeps of a metric."""
    return MetricInfo(
        str(metric.spec),
        metric.display,
        metric.aggregate,
        metric.scale,
        dict(metric.signature()),
        metric.lower_is_better,
        metric.family,
    )


def evaluate(
    model: SpeechModel,
    examples: Sequence[Example],
    metrics: Sequence[Reward],
    sampling: Sampling,
    progress: Progress | None = None,
) -> Evaluation:
    """Answers every example and measures the answers.

    Args:
        model: Any model.
        examples: A split of a benchmark.
        metrics: Measured in this order.
        sampling: Greedy is temperature 0.
        progress: Told of each batch.

    Raises:
        SpeechbenchError: If there is no example, or a metric fails on one.
    """
    (only,) = evaluate_passes(model, examples, metrics, sampling, 1, progress)
    return only


def evaluate_passes(
    model: SpeechModel,
    examples: Sequence[Example],
    metrics: Sequence[Reward],
    sampling: Sampling,
    passes: int,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """Answers every example several times over and measures each pass by itself, as `evaluate` measures one.

    Args:
        passes: How many; more than one only where `sampling` draws. The others are `evaluate`'s, and so are the errors.
    """
    if not examples:
        raise SpeechbenchError("there is no example to evaluate: the split is empty")
    examples = list(examples)  # used again and again
    for metric in metrics:  # what one of them lacks is told before the answers are written
        prepare(metric, examples)
    return [_measured(its, examples, metrics) for its in answer(model, examples, sampling, passes, progress)]


def _measured(answers: Answers, examples: Sequence[Example], metrics: Sequence[Reward]) -> Evaluation:
    before = total_usage(metric.usage() for metric in metrics)
    measured = [measure(metric, answers.texts, examples) for metric in metrics]
    used = total_usage(metric.usage() for metric in metrics)
    samples = tuple(
        Sample(
            id=example.id,
            source=example.source,
            references=example.references,
            instruction=example.instruction,
            audio=None if example.audio is None else str(example.audio.path),
            speaker=example.speaker,
            target_language=example.target_language,
            hypothesis=answers.texts[row],
            tokens=answers.tokens[row],
            truncated=answers.truncated[row],
            metrics={m.name: Score(m.segments[row], tuple(map(float, m.statistics[row]))) for m in measured},
        )
        for row, example in enumerate(examples)
    )
    corpus = {m.name: None if np.isnan(m.corpus) else float(m.corpus) for m in measured}
    return Evaluation(samples, corpus, {what: amount - before.get(what, 0.0) for what, amount in used.items()})


def peak_memory_bytes() -> int:
    """The most memory this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def evaluate_model(
    model: str = "tiny",
    benchmark: str = "covost2-mini",
    split: str = "test",
    limit: int | None = None,
    metrics: Sequence[str] = (),
    temperature: float | None = None,
    top_p: float | None = None,
    passes: int = 1,
    best_of: Sequence[int] = (),
    pass_at: Sequence[str] = (),
    seed: int = 0,
    samples: Path | None = None,
    progress: Progress | None = None,
    strict: bool = False,
) -> dict[str, Any]:
    """Measures one model on one split: what `speechbench eval` does.

    Args:
        model: Spec, run folder or checkpoint folder.
        benchmark: Spec.
        split: "train", "validation" or "test".
        limit: At most so many examples.
        metrics: Specs; the benchmark's own if there are none.
        temperature: 0 is greedy. Left out, it is 0 for one pass, 0.9 for several, and 1 with `best_of`.
        top_p: Draws among the likeliest tokens whose probabilities sum to it. Left out, it is 0.9 for several
            passes and otherwise 1.
        passes: Answer all examples so many times over; each pass has its scores.
        best_of: The n and k of best-of-n and pass@k: as many passes are drawn as the largest of them.
        pass_at: For pass@k, a metric and the score on the field's scale from which on an answer passes, as
            "binary=100"; of a metric that counts errors, up to which. It is measured if it is not among `metrics`.
        seed: Of sampling.
        samples: Where to write every answer with its scores, as JSON lines.
        progress: Told of each batch.
        strict: End at anything missing or broken in the data, instead of doing without.

    Returns:
        "metrics" by display name (by spec where two have one name) on the field's scale, the mean over the passes;
        their "signatures", "lower_is_better" (which of them count errors), "usage" (what they used up that someone
        pays for), "health" of all answers, "examples", "model", "benchmark" and "sampling". Where there are several
        passes, by metric: "passes" (the score of each) and "spread" (their standard deviation, with n - 1). With
        `best_of`, by metric and n as text: "best_of" (`speechbench.curves.best_of_n`) and, by what was given as
        `pass_at`, "pass_at" (`speechbench.curves.pass_at_k`, from 0 to 1).

    Raises:
        UsageError: If something named is wrong, or does nothing beside the rest.
        SpeechbenchError: If something is missing or broken.
    """
    numbers, thresholds = numbers_of(best_of), thresholds_of(pass_at)
    drawing = _drawing(temperature, top_p, passes, numbers, thresholds)
    set_up()
    loaded = load_benchmark(benchmark)
    scorers = load_metrics(loaded, metrics)
    by_spec = {str(scorer.spec): scorer for scorer in scorers}
    passing = {name: _among(by_spec, name, loaded) for name in thresholds}
    scorers = list(by_spec.values())
    loaded.prepare(None if progress is None else progress.advance)
    if samples is not None:
        probe(samples)
    speech_model = load_model(model)
    examples = loaded.load(split, limit)
    refuse_or_tell(loaded, progress or Progress(), strict)
    sampling = drawing.sampling(loaded.max_completion_length, seed)
    found = evaluate_passes(speech_model, examples, scorers, sampling, drawing.passes, progress)
    if samples is not None and drawing.passes == 1:
        write_samples(samples.parent, found[0].samples, samples.name)
    elif samples is not None:
        write_passes(samples.parent, [its.samples for its in found], samples.name)
    displays = Counter(scorer.display for scorer in scorers)
    names = {scorer: scorer.display if displays[scorer.display] == 1 else str(scorer.spec) for scorer in scorers}
    by_pass = {name: [its.metrics[str(scorer.spec)] for its in found] for scorer, name in names.items()}
    sampled = Sampled(drawing.temperature, drawing.top_p, by_pass)
    measured: dict[str, Any] = {
        "model": speech_model.name,
        "benchmark": loaded.name,
        "split": split,
        "examples": len(examples),
        "sampling": {**dataclasses.asdict(drawing), "seed": seed},
        "metrics": {name: sampled.mean(name) for name in by_pass},
        "signatures": {name: dict(scorer.signature()) for scorer, name in names.items()},
        "lower_is_better": [name for scorer, name in names.items() if scorer.lower_is_better],
        "usage": total_usage(its.usage for its in found),
        "health": dataclasses.asdict(health([sample for its in found for sample in its.samples])),
    }
    if drawing.passes > 1:
        measured["passes"] = by_pass
        measured["spread"] = {name: sampled.spread(name) for name in by_pass}
    if numbers:
        drawn = {scorer: Drawn.of([its.samples for its in found], describe(scorer)) for scorer in scorers}
        measured["best_of"] = {name: _texts(drawn[scorer].best_of(numbers)) for scorer, name in names.items()}
        measured["pass_at"] = {
            f"{names[scorer]}={thresholds[name]:g}": _texts(drawn[scorer].pass_at(thresholds[name], numbers))
            for name, scorer in passing.items()
        }
    return measured


def _drawing(
    temperature: float | None, top_p: float | None, passes: int, numbers: Sequence[int], thresholds: Mapping[str, float]
) -> Drawing:
    """How answers are drawn, what was left out filled in."""
    if thresholds and not numbers:
        raise UsageError(f"pass_at={', '.join(thresholds)}: say for which k with best_of, as in 1,2,4,8")
    if numbers and passes != 1:
        raise UsageError(f"passes={passes} beside best_of, which draws {max(numbers)} passes: give one of the two")
    if numbers:
        usual = dataclasses.replace(WHOLE, passes=max(numbers))
    else:
        usual = Drawing() if passes == 1 else dataclasses.replace(PAPER, passes=passes)
    return Drawing(
        usual.temperature if temperature is None else temperature, usual.top_p if top_p is None else top_p, usual.passes
    )


def _among(metrics: dict[str, Reward], spec: str, benchmark: Benchmark) -> Reward:
    """A metric by its spec, which joins the others if it is not among them."""
    metric = load_reward(spec, benchmark, metrics)
    check_metric(metric)
    return metrics.setdefault(str(metric.spec), metric)


def _texts(by_number: Mapping[int, float | None]) -> dict[str, float | None]:
    """As JSON has it, whose keys are texts."""
    return {str(number): value for number, value in by_number.items()}
