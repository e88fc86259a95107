"""How long a leaderboard takes: many small runs tabulated, and few large ones tested.

Two boards of made-up runs, written as run folders are: 500 runs of 300 examples (100 rows of five seeds, five metrics),
and 20 runs of 15,000 segments (six metrics) with 2,000 resamples. Times are those of a process of its own, Python's
start and imports included and apart. The peer of the first reads the same files with pandas and averages them, which is
no test yet; the peer of the second is one table of the same resamples by numpy's fancy indexing, system by system, as a
straightforward script would do it, for one metric and a tenth of the resamples, times what is left.

    OMP_NUM_THREADS=2 python benches/board.py [--runs 500] [--segments 15000] [--rounds 3] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from speechbench.aggregate import AGGREGATES
from speechbench.run_schema import Health, MetricInfo, Result, RunInfo, Sample, Score
from speechbench.runs import write_result, write_run, write_samples

METRICS = (
    MetricInfo("bleu", "BLEU", "bleu", 100.0, {"name": "bleu"}, family="overlap"),
    MetricInfo("chrf", "chrF", "chrf", 100.0, {"name": "chrf"}, family="overlap"),
    MetricInfo("comet", "COMET", "mean", 100.0, {"name": "comet"}, family="learned"),
    MetricInfo("bertscore", "BERTScore", "mean", 100.0, {"name": "bertscore"}, family="embedding"),
    MetricInfo("binary", "binary", "mean", 100.0, {"name": "binary"}, family="exact"),
    MetricInfo("meteor", "METEOR", "mean", 100.0, {"name": "meteor"}, family="overlap"),
)
WORDS = [
    "der",
    "die",
    "das",
    "Mann",
    "Frau",
    "Kind",
    "liest",
    "sieht",
    "kauft",
    "Buch",
    "Haus",
    "heute",
    "gern",
    "morgen",
    "nicht",
    "immer",
    "alte",
    "neue",
    "Stadt",
]


def write(
    folder: Path, rows: int, seeds: int, examples: int, metrics: tuple[MetricInfo, ...], speakers: bool = False
) -> None:
    """A base row, an SFT row, and rows of GRPO whose rewards differ, of so many seeds each."""
    texts = np.random.default_rng(0)
    references = [" ".join(texts.choice(WORDS, size=11)) + "." for _ in range(examples)]
    for row in range(rows):
        for seed in range(seeds):
            trainer = "sft" if row == 0 else "grpo"
            reward = None if row == 0 else f"{row}.0*bleu" if row > 1 else "bleu"
            _run(folder, trainer, reward, seed, 0.6 + 0.002 * row, references, metrics, speakers)
    _run(folder, None, None, None, 0.5, references, metrics, speakers)


def _run(
    folder: Path,
    trainer: str | None,
    reward: str | None,
    seed: int | None,
    quality: float,
    references: list[str],
    metrics: tuple[MetricInfo, ...],
    speakers: bool,
) -> None:
    rng = np.random.default_rng([len(reward or ""), seed or 0, int(1000 * quality)])
    n = len(references)
    lengths = np.full(n, 11.0)
    orders = np.stack([rng.binomial(11 - k, quality ** (k + 1), n) for k in range(4)], 1).astype(float)
    columns = {"bleu": np.column_stack([orders, *(lengths - k for k in range(4)), lengths, lengths])}
    both = np.stack([rng.binomial(60 - k, quality ** (1 + k / 3), n) for k in range(6)], 1).astype(float)
    sides = np.stack([lengths * 5 - k for k in range(6)], 1)
    columns["chrf"] = np.stack([sides, sides, both], 2).reshape(n, 18)
    for metric in metrics[2:]:
        columns[metric.name] = np.column_stack([np.clip(rng.normal(100 * quality, 15, n), 0, 100), np.ones(n)])
    scores = {m.name: AGGREGATES[m.aggregate](columns[m.name]) for m in metrics}
    label = "base" if trainer is None else trainer if reward is None else f"{trainer}({reward})"
    info = RunInfo(
        id=f"{label}-{seed}".replace("*", "x"),
        label=label,
        trainer=trainer,
        reward=reward,
        seed=seed,
        model="tiny",
        model_fingerprint="weights",
        benchmark="bench",
        data_fingerprint="data",
        config={"seed": seed},
        metrics=metrics,
        provenance={"versions": {"torch": "2.13.0"}, "commit": "abc"},
    )
    samples = [
        Sample(
            id=f"e{index:05d}",
            source=f"source {index}",
            references=(reference,),
            instruction="<|audio|> translate",
            audio=f"clips/{index}.mp3",
            speaker=f"s{index % 700}" if speakers else None,
            target_language="de",
            hypothesis=reference[: int(len(reference) * quality)],
            tokens=12,
            truncated=False,
            metrics={m.name: Score(float(scores[m.name][index]), tuple(columns[m.name][index])) for m in metrics},
        )
        for index, reference in enumerate(references)
    ]
    target = folder / info.id
    write_run(target, info)
    write_samples(target, samples)
    (target / "train.jsonl").write_text(
        "".join(json.dumps({"step": s, "loss": 0.1, "reward": 0.5, "distinct": 0.9}) + "\n" for s in range(1, 101))
        if trainer
        else ""
    )
    corpus = {m.name: float(AGGREGATES[m.aggregate](columns[m.name].sum(0))) for m in metrics}
    seconds = {"sampling": 1.0, "scoring": 1.0, "learning": 1.0, "train": 3.0, "evaluation": 1.0, "total": 4.0}
    write_result(target, Result(corpus, Health(0, 0, 0, 0, 1.0, 0.0), seconds, 10**9, 100 if trainer else 0))


CODE = """
import time; start = time.perf_counter()
import sys, json
from speechbench.leaderboard import leaderboard
imported = time.perf_counter()
(board,) = leaderboard(sys.argv[1], resamples={resamples})
done = time.perf_counter()
print(json.dumps([imported - start, done - imported, len(board.rows), board.family, board.most_resamples]))
"""


def ours(folder: Path, resamples: int | None) -> tuple[float, float, str]:
    """Seconds to import, and to tabulate; and the size of the board."""
    code = CODE.format(resamples=resamples)
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    imported, worked, rows, family, most = json.loads(done.stdout)
    return imported, worked, f"{rows} rows, {family} tests, up to {most} resamples"


PANDAS = """
import time; start = time.perf_counter()
import sys, pathlib, pandas
means = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*/samples.jsonl")):
    frame = pandas.read_json(path, lines=True)
    scores = pandas.DataFrame([{name: its["score"] for name, its in row.items()} for row in frame["metrics"]])
    means[path.parent.name] = scores.mean()
pandas.DataFrame(means).T
print(time.perf_counter() - start)
"""


def pandas_reads(folder: Path) -> float:
    """Seconds for pandas to read the same files and average the segments' scores."""
    done = subprocess.run([sys.executable, "-c", PANDAS, str(folder)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def fancy(segments: int, systems: int, resamples: int) -> float:
    """Seconds for one metric's resamples by indexing, as a script would have it."""
    rng = np.random.default_rng(0)
    values = rng.random((systems, segments, 10))
    start = time.perf_counter()
    for _ in range(resamples // 10):
        drawn = rng.integers(segments, size=segments)
        for system in values:
            AGGREGATES["bleu"](system[drawn].sum(axis=0))
    return 10 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--segments", type=int, default=15_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="Where the run folders are made, or are from before.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.keep or Path(scratch)
        os.environ["SPEECHBENCH_CACHE"] = str(folder / "cache")
        small, large = folder / "small" / "runs", folder / "large" / "runs"
        if not small.exists():
            write(small, asked.runs // 5, 5, 300, METRICS[:5])
        if not large.exists():
            write(large, 19, 1, asked.segments, METRICS)
        for name, runs, resamples in (
            ("small", small, 2000),
            ("small, as by default", small, None),
            ("large", large, 2000),
        ):
            first, again, imports = [], [], []
            for _ in range(1 if resamples is None else asked.rounds):
                subprocess.run(["rm", "-rf", os.environ["SPEECHBENCH_CACHE"]], check=True)
                imported, worked, size = ours(runs, resamples)
                first.append(worked)
                imports.append(imported)
                again.append(ours(runs, resamples)[1])
            print(
                f"{name}: {size}: first {statistics.median(first):.2f} s, again {statistics.median(again):.2f} s, "
                f"imports {statistics.median(imports):.2f} s",
                flush=True,
            )
        peer = pandas_reads(small)
        print(f"small, read and averaged by pandas without a test: {peer:.2f} s", flush=True)
        print(f"large, one metric of six resampled by indexing: {fancy(asked.segments, 20, 2000):.1f} s", flush=True)


if __name__ == "__main__":
    main()
