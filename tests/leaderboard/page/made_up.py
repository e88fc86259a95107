"""Runs whose texts are hostile, and the board that they amount to."""

from __future__ import annotations

import json
import wave
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from speechbench.leaderboard.store import Group, Row
from speechbench.run_schema import Health
from speechbench.runs import MetricInfo, Result, RunInfo, Sample, Score, write_result, write_run, write_samples

HOSTILE = "</script><img src=x onerror=alert(1)>"
METRICS = (
    MetricInfo("bleu", "BLEU", "mean", 100.0, {"name": "bleu", "tok": "13a"}),
    MetricInfo("comet(model=tiny)", "comet[tiny]", "mean", 100.0, {"name": "comet"}),
    MetricInfo("wer", "WER", "rate", 100.0, {"name": "wer"}, lower_is_better=True),
)
WORDS = ["der", "die", "das", "Mann", "Frau", "Kind", "liest", "sieht", "kauft", "Buch", "Haus", "heute", "gern"]
EXAMPLES = 60
ALPHA = 0.05


def sound(path: Path, seconds: float = 0.6) -> Path:
    """A tone as a WAV file."""
    rate = 8000
    tone = np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((tone * 8000).astype("<i2").tobytes())
    return path


def sample(index: int, quality: float, seed: int, audio: Path | None) -> Sample:
    """An example, of which about this share of the words is right."""
    words = np.random.default_rng(index).choice(WORDS, size=9).tolist()  # the reference is the index's alone
    rng = np.random.default_rng([index, seed, int(100 * quality)])
    kept = [word if rng.random() < quality else str(rng.choice(WORDS)) for word in words]
    wrong = float(sum(a != b for a, b in zip(words, kept, strict=True)))
    right = 100 * (1 - wrong / 9)
    scores = {
        "bleu": Score(right, (right, 1.0)),
        "comet(model=tiny)": Score(None if index == 7 else right / 2 + index % 5, (right / 2 + index % 5, 1.0)),
        "wer": Score(100 * wrong / 9, (wrong, 9.0)),
    }
    hypothesis = HOSTILE if index == 0 else "昨日私は本を読んだ" if index == 1 else " ".join(kept)
    return Sample(
        id=f"e{index:03d}{'<b>' if index == 0 else ''}",
        source=f"source {index}",
        references=("昨日彼は本を買った",) if index == 1 else (" ".join(words),),
        instruction="<|audio|> translate",
        audio=None if audio is None else str(audio),
        speaker=f"s{index % 4}",
        target_language="ja" if index == 1 else "de",
        hypothesis=hypothesis,
        tokens=9,
        truncated=index % 20 == 0,
        metrics=scores,
    )


def info_of(label: str, seed: int | None, **changes: Any) -> RunInfo:
    """What a run with this label is."""
    trainer, _, rest = label.partition("(")
    fields: dict[str, Any] = {
        "id": f"{label}-{seed}".replace("(", "-").replace(")", ""),
        "label": label,
        "trainer": None if label == "base" else trainer,
        "reward": rest[:-1] or None,
        "seed": None if label == "base" else seed,
        "model": "tiny",
        "model_fingerprint": "weights",
        "benchmark": "covost2-mini",
        "data_fingerprint": "data",
        "config": {} if label == "base" else {"max_steps": 30, "learning_rate": 1e-5, "limit": None, "bf16": False},
        "metrics": METRICS,
        "provenance": {
            "commit": "0123456789abcdef+",
            "processes": 1,
            "versions": {"torch": "2.6"},
            "accelerator": None,
        },
    }
    return RunInfo(**{**fields, **changes})


def write(folder: Path, info: RunInfo, quality: float, audio: Path | None, finished: bool = True) -> None:
    """A run folder as a training leaves it."""
    write_run(folder, info)
    if info.trainer is not None:
        rng = np.random.default_rng(info.seed or 0)
        steps = 30 if finished else 11
        lines = [
            {"step": n + 1, "loss": 0.5 / (n + 1), "reward": 0.3 + 0.01 * n + rng.normal(0, 0.01), "kl": 0.1,
             "entropy": 0.8, "completion_length": 12.0, "zero_variance_groups": 0.1, "seconds": {"sampling": 1.0}}
            for n in range(steps)
        ]  # fmt: skip
        (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if finished:
        samples = [sample(index, quality, info.seed or 0, audio) for index in range(EXAMPLES)]
        corpus = {
            m.name: float(np.mean([s.metrics[m.name].score for s in samples if s.metrics[m.name].score is not None]))
            for m in METRICS
        }
        write_samples(folder, samples)
        seconds = {"sampling": 10.0, "scoring": 1.0, "learning": 30.0, "train": 41.0, "evaluation": 5.0, "total": 46.0}
        result = Result(corpus, Health(0.0, 0.05, 0.0, 0.0, 1.0), seconds, 2_000_000_000, 30)
        write_result(folder, replace(result, warnings=(f"a warning {HOSTILE}",) if info.seed == 1 else ()))


def make_site(folder: Path) -> Path:
    """Base, SFT with two seeds, two rewards, a control, and a run that is not finished; returns the folder of runs."""
    audio = sound(folder / "clips" / "it's a #1 clip.wav")
    runs = folder / "runs" / "an ablation & more"
    plan = [
        ("base", None, 0.5), ("sft", 0, 0.7), ("sft", 1, 0.68), ("grpo(bleu)", 0, 0.9), ("grpo(bleu)", 1, 0.88),
        ("grpo(bleu)", 2, 0.86), ("grpo(comet(model=tiny))", 0, 0.8), ("grpo(random)", 0, 0.4),
    ]  # fmt: skip
    for label, seed, quality in plan:
        info = info_of(label, seed, has_control_reward=label == "grpo(random)")
        write(runs / info.id, info, quality, audio)
    info = info_of("mixed-grpo(bleu)", 0)
    write(runs / info.id, info, 0.8, audio, finished=False)
    return folder / "runs"


COLUMNS = [
    *({"key": m.name, "title": m.display, "kind": "metric", "unit": "points", "decimals": 1,
       "lower_is_better": m.lower_is_better, "family": "overlap"} for m in METRICS),
    {"key": "rank", "title": "rank", "kind": "rank", "unit": "rank", "decimals": 1, "lower_is_better": False},
    {"key": "truncated", "title": "truncated", "kind": "health", "unit": "share", "decimals": 1},
    {"key": "seconds", "title": "training s", "kind": "cost", "unit": "s", "decimals": 0},
    {"key": "memory", "title": "peak GB", "kind": "cost", "unit": "bytes", "decimals": 1},
]  # fmt: skip


def board_of(group: Group) -> dict[str, Any]:
    """A board of the schema that the page is made for; its tests' figures are made up, but for the differences."""
    scores = {row.label: _scores(row) for row in group.rows}
    rows = [_row(row, scores) for row in group.rows]
    trained = [row for row in rows if row["reward"] and row["cells"]["bleu"]["value"] is not None]
    return {
        "schema": 2, "ablation": group.ablation, "benchmark": group.benchmark, "split": group.split,
        "data_fingerprint": group.data_fingerprint, "examples": EXAMPLES,
        "clusters": {"level": "speaker", "number": 4}, "resamples": 2000, "test": "bootstrap", "family": 21,
        "alpha": ALPHA, "smallest_p": {"raw": 0.0005, "holm": 0.01}, "columns": COLUMNS, "rows": rows,
        "goodhart": [_goodhart(row, scores) for row in trained],
        "runs": [
            {"id": run.info.id, "label": row.label, "seed": run.info.seed, "folder": str(run.folder),
             "state": "finished" if run.finished else "unfinished",
             "reason": None if run.finished else "11 of 30 steps done"}
            for row in group.rows for run in row.runs
        ],
        "broken": [{"folder": "/runs/<i>broken</i>", "reason": f"run.json is broken: {HOSTILE}"}],
        "notes": ["one seed: ranks checkpoints, not rewards", f"a note {HOSTILE}"],
    }  # fmt: skip


def _scores(row: Row) -> dict[str, float]:
    results = [run.result for run in row.finished if run.result is not None]
    return {m.name: float(np.mean([r.metrics[m.name] for r in results])) for m in METRICS} if results else {}


def _test(against: str, difference: float, lower: bool, p: float) -> dict[str, Any]:
    return {
        "against": against, "difference": difference, "interval": [difference - 2, difference + 2], "p": p / 10,
        "p_holm": p, "examples": EXAMPLES, "resamples": 2000, "detectable": 4.5,
        "seeds": {"n": 3, "difference": difference, "interval": [difference - 3, difference + 3], "p": p / 5},
        "pigeonhole": [difference - 4, difference + 4], "lower_is_better": lower,
    }  # fmt: skip


def _row(row: Row, scores: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    mine = scores[row.label]
    cells: dict[str, Any] = {}
    for metric in METRICS:
        cell: dict[str, Any] = {"value": mine.get(metric.name), "trained_on": row.reward == metric.name}
        if mine:
            value = mine[metric.name]
            its = [other[metric.name] for other in scores.values() if other]
            cell["interval"] = [value - 2.5, value + 2.5]
            cell["best"] = value == (min(its) if metric.lower_is_better else max(its))
            cell["rank"] = [1, 2]
            for baseline in ("base", "sft"):
                if row.label != baseline and not (row.is_control and baseline == "sft"):
                    difference = value - scores[baseline][metric.name]
                    p = 0.004 if abs(difference) > 8 else 0.34
                    cell[baseline] = _test(baseline, difference, metric.lower_is_better, p)
            if len(row.finished) > 1:
                cell["seeds"] = {"standard_deviation": 1.2, "interval": [value - 3, value + 3]}
        cells[metric.name] = cell
    finished = bool(mine)
    cells["rank"] = {"value": None}
    cells["truncated"] = {"value": 0.05 if finished else None, "worse_than_sft": row.trainer == "grpo" and finished}
    cells["seconds"] = {"value": 41.0 if finished and row.is_trained else None}
    cells["memory"] = {"value": 2e9 if finished else None}
    return {
        "label": row.label, "trainer": row.trainer, "reward": row.reward, "control": row.is_control,
        "seeds": [run.info.seed for run in row.finished if run.info.seed is not None],
        "run_ids": [run.info.id for run in row.finished], "cells": cells,
        "overall": {"low": 1.0, "high": 2.5, "families": ["overlap"], "left_out": []} if finished else None,
    }  # fmt: skip


def _goodhart(row: Mapping[str, Any], scores: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    gains = {}
    for metric in METRICS:
        base, mine = scores["sft"][metric.name], scores[row["label"]][metric.name]
        relative = (base - mine if metric.lower_is_better else mine - base) / base
        gains[metric.name] = {"relative": relative, "difference": mine - base, "p_holm": 0.01}
    return {
        "label": row["label"], "reward": row["reward"], "against": "sft", "own": [row["reward"]], "own_gain": 0.2,
        "others_gain": -0.04, "gains": gains,
        "flag": "gains on its own metrics alone" if row["reward"] == "bleu" else None,
    }  # fmt: skip
