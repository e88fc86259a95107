"""Measuring a model: every test example answered, every answer scored by every metric."""

from __future__ import annotations

import dataclasses
import resource
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.benchmarks.loading import load_benchmark
from speechbench.benchmarks.telling import refuse_or_tell
from speechbench.errors import SpeechbenchError
from speechbench.health import health
from speechbench.libraries import set_up
from speechbench.models.base import Sampling, SpeechModel
from speechbench.models.loading import load_model
from speechbench.progress import Progress
from speechbench.rewards.base import Reward, total_usage
from speechbench.rewards.loading import load_reward
from speechbench.rewards.measure import check_metric, measure, prepare
from speechbench.run_files import probe
from speechbench.run_schema import MetricInfo, Sample, Score
from speechbench.runs import write_samples

BATCH = 50  # examples per forward pass


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


def load_metrics(benchmark: Benchmark, specs: Sequence[str] | None = None) -> list[Reward]:
    """The benchmark's default metrics, or those that are named.

    Raises:
        UsageError: If there is no such metric, or it cannot measure.
    """
    metrics = [load_reward(spec, benchmark) for spec in specs or benchmark.metrics]
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
    )


def answer(
    model: SpeechModel, examples: Sequence[Example], sampling: Sampling, progress: Progress | None = None
) -> tuple[list[str], list[int], list[bool]]:
    """One answer per example.

    Returns:
        Hypotheses, their lengths in tokens, and whether each was cut at the limit.
    """
    texts: list[str] = []
    tokens: list[int] = []
    cut: list[bool] = []
    was_training = model.training
    model.eval()
    with torch.no_grad():
        model.expect(examples[:BATCH])
        for start in range(0, len(examples), BATCH):
            batch = examples[start : start + BATCH]
            model.expect(examples[start + BATCH : start + 2 * BATCH])
            completions = model.sample(model.embed(batch), 1, sampling)
            texts += [group[0] for group in model.texts_of(completions)]
            tokens += completions.mask[:, 0].sum(-1).tolist()
            cut += (~completions.finished[:, 0]).tolist()
            if progress is not None:
                progress.advance("evaluating", len(texts), len(examples))
    model.train(was_training)
    return texts, tokens, cut


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
    if not examples:
        raise SpeechbenchError("there is no example to evaluate: the split is empty")
    examples = list(examples)  # used again and again
    for metric in metrics:  # what one of them lacks is told before the answers are written
        prepare(metric, examples)
    texts, tokens, cut = answer(model, examples, sampling, progress)
    before = total_usage(metric.usage() for metric in metrics)
    measured = [measure(metric, texts, examples) for metric in metrics]
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
            hypothesis=texts[row],
            tokens=tokens[row],
            truncated=cut[row],
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
    temperature: float = 0.0,
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
        temperature: 0 is greedy.
        seed: Of sampling.
        samples: Where to write every answer with its scores, as JSON lines.
        progress: Told of each batch.
        strict: End at anything missing or broken in the data, instead of doing without.

    Returns:
        "metrics" by display name (by spec where two have one name) on the field's scale, their "signatures",
        "lower_is_better" (which of them count errors), "usage" (what they used up that someone pays for), "health",
        "examples", "model" and "benchmark".

    Raises:
        SpeechbenchError: If something named is wrong or missing.
    """
    set_up()
    loaded = load_benchmark(benchmark)
    scorers = load_metrics(loaded, metrics)
    loaded.prepare(None if progress is None else progress.advance)
    if samples is not None:
        probe(samples)
    speech_model = load_model(model)
    examples = loaded.load(split, limit)
    refuse_or_tell(loaded, progress or Progress(), strict)
    sampling = Sampling(temperature, loaded.max_completion_length, seed)
    measured = evaluate(speech_model, examples, scorers, sampling, progress)
    if samples is not None:
        write_samples(samples.parent, measured.samples, samples.name)
    displays = Counter(scorer.display for scorer in scorers)
    names = {scorer: scorer.display if displays[scorer.display] == 1 else str(scorer.spec) for scorer in scorers}
    return {
        "model": speech_model.name,
        "benchmark": loaded.name,
        "split": split,
        "examples": len(examples),
        "metrics": {name: measured.metrics[str(scorer.spec)] for scorer, name in names.items()},
        "signatures": {name: dict(scorer.signature()) for scorer, name in names.items()},
        "lower_is_better": [name for scorer, name in names.items() if scorer.lower_is_better],
        "usage": measured.usage,
        "health": dataclasses.asdict(health(measured.samples)),
    }
