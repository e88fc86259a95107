"""A synthetic ablation, written through the same functions as a real one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
from sacrebleu.metrics.bleu import BLEU

from speechbench.aggregate import AGGREGATES
from speechbench.health import health
from speechbench.runs import MetricInfo, Result, RunInfo, Sample, Score, write_result, write_run, write_samples

METRICS = (
    MetricInfo(
        "bleu",
        "BLEU",
        "bleu",
        100.0,
        {"name": "bleu", "metric": f"tok:13a|version:{sacrebleu.__version__}"},
        family="overlap",
    ),
    MetricInfo(
        "comet",
        "comet[tiny]",
        "mean",
        100.0,
        {"name": "comet", "checkpoint": "tiny", "revision": "3f2a"},
        family="learned",
    ),
    MetricInfo("binary", "binary", "mean", 100.0, {"name": "binary"}, family="exact"),
)
WER = MetricInfo("wer", "WER", "rate", 100.0, {"name": "wer"}, lower_is_better=True, family="overlap")
SEEDS = range(5)
"""Of a row whose difference is to count over seeds: from five on they are resampled too."""
WORDS = ["der", "die", "das", "Mann", "Frau", "Kind", "liest", "sieht", "kauft", "Buch", "Haus", "heute", "gern"]


def sample(index: int, quality: float, rng: np.random.Generator, metrics: tuple[MetricInfo, ...] = METRICS) -> Sample:
    """An example whose hypothesis keeps about this share of its reference's words."""
    words = np.random.default_rng(index).choice(WORDS, size=9).tolist()  # the reference is the index's alone
    kept = [w if rng.random() < quality else str(rng.choice(WORDS)) for w in words]
    reference, hypothesis = " ".join(words) + ".", " ".join(kept) + "."
    right = np.mean([a == b for a, b in zip(words, kept, strict=True)])
    mean = {"comet": 100 * right, "binary": 100.0 * (right == 1)}
    scores = {m.name: Score(mean.get(m.name, 50.0), (mean.get(m.name, 50.0), 1.0)) for m in metrics}
    wrong = sum(a != b for a, b in zip(words, kept, strict=True))
    scores.update({m.name: Score(100 * wrong / 9, (float(wrong), 9.0)) for m in metrics if m.aggregate == "rate"})
    segment = BLEU(effective_order=True)
    bleu = segment._extract_corpus_statistics([hypothesis], [[reference]])[0]
    # sacrebleu keeps [system length, reference length, correct.., total..]; the field's order here is ours
    scores["bleu"] = Score(
        segment.sentence_score(hypothesis, [reference]).score, tuple(map(float, [*bleu[2:], *bleu[:2]]))
    )
    return Sample(
        id=f"e{index:03d}",
        source=f"source {index}",
        references=(reference,),
        instruction="<|audio|> translate",
        audio=f"clips/{index}.mp3",
        speaker=f"s{index % 4}",
        target_language="de",
        hypothesis=hypothesis,
        tokens=len(kept),
        truncated=bool(index % 50 == 0),
        metrics=scores,
    )


def info(label: str, seed: int | None = 0, **changes: object) -> RunInfo:
    """What a run with this label would be."""
    trainer, _, rest = label.partition("(")
    fields: dict[str, object] = {
        "id": f"{label}-{seed}".replace("(", "-").replace(")", ""),
        "label": label,
        "trainer": None if label == "base" else trainer,
        "reward": rest[:-1] or None,
        "seed": None if label == "base" else seed,
        "model": "tiny",
        "model_fingerprint": "weights",
        "benchmark": "covost2-mini",
        "data_fingerprint": "data",
        "config": {"steps": 100, "seed": seed},
        "metrics": METRICS,
        "provenance": {"threads": 1},
    }
    return RunInfo(**{**fields, **changes})  # type: ignore[arg-type]


def result_of(samples: list[Sample], metrics: tuple[MetricInfo, ...] = METRICS) -> Result:
    """The result that these samples amount to."""
    corpus = {
        m.name: float(AGGREGATES[m.aggregate](np.sum([s.metrics[m.name].statistics for s in samples], axis=0)))
        for m in metrics
    }
    return Result(corpus, health(samples), {"train": 41.5, "evaluation": 5.0, "total": 46.5}, 2_000_000_000, 100)


MakeRun = Callable[..., Path]


@pytest.fixture
def with_wer() -> tuple[MetricInfo, ...]:
    """Metrics of which the last counts errors."""
    return (*METRICS, WER)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run folder: `make_run(label, quality, seed, ...)`; `finished=False` leaves its result out."""

    def make(
        label: str,
        quality: float = 0.6,
        seed: int | None = 0,
        ablation: str = "default",
        n: int = 60,
        finished: bool = True,
        reverse: bool = False,
        warnings: tuple[str, ...] = (),
        **changes: object,
    ) -> Path:
        run = info(label, seed, **changes)
        folder = tmp_path / "runs" / ablation / run.id
        write_run(folder, run)
        if finished:
            rng = np.random.default_rng([len(label), 0 if seed is None else seed])
            samples = [sample(index, quality, rng, run.metrics) for index in range(n)]
            write_samples(folder, samples[::-1] if reverse else samples)
            write_result(folder, replace(result_of(samples, run.metrics), warnings=warnings))
        return folder

    return make


@pytest.fixture
def ablation(make_run: MakeRun, tmp_path: Path) -> Path:
    """Base, SFT, two GRPO rows with five seeds each, a mixed one and a control; returns the folder of ablations."""
    make_run("grpo(random)", 0.5, has_control_reward=True)
    make_run("mixed-grpo(bleu)", 0.75)
    for seed in SEEDS:
        make_run("grpo(comet)", 0.78, seed)
        make_run("grpo(bleu)", 0.85, seed, reverse=seed == 1)
    make_run("sft", 0.65)
    make_run("base", 0.5, None)
    return tmp_path / "runs"


@pytest.fixture
def controlled(make_run: MakeRun, tmp_path: Path) -> Path:
    """What `--controls` makes: every kind of control, of two trainers; returns the folder of ablations."""
    for label, quality in (("base", 0.5), ("no-audio", 0.1), ("question-only", 0.2), ("gold-transcript", 1.0)):
        control = None if label == "base" else label
        make_run(label, quality, None, id=label, trainer=None, control=control)
    for seed in SEEDS:
        make_run("sft", 0.65, seed, id=f"sft-{seed}")
        for reward, quality in (("bleu", 0.8), ("random", 0.4), ("shuffled(bleu)", 0.45)):
            control = reward != "bleu"
            make_run(f"grpo({reward})", quality, seed, has_control_reward=control)
            start = f"sft-{seed}"
            make_run(
                f"sft+grpo({reward})", quality - 0.1 * (not control), seed, start=start, has_control_reward=control
            )
    return tmp_path / "runs"
