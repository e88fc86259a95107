"""What comet[tiny] is worth: its correlation with slot accuracy on the embedded model's own samples, beside BLEU's.

python benches/comet_tiny_worth.py [--group 8]
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt
import torch

from speechbench.benchmarks.loading import load_benchmark
from speechbench.models.base import Sampling
from speechbench.models.tiny import Tiny
from speechbench.rewards import Batch, load_reward


def ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Ranks from 0, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    return np.asarray((last - (counts - 1) / 2)[inverse])


def main() -> None:
    """Prints Pearson and Spearman for both corpora."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group", type=int, default=8, help="samples per validation example, at temperature 1")
    group = parser.parse_args().group
    model = Tiny()
    for name in ("covost2-mini", "librisqa-mini"):
        benchmark = load_benchmark(name)
        examples = benchmark.load("validation")
        texts = []
        with torch.no_grad():
            for start in range(0, len(examples), 20):
                prompts = model.embed(examples[start : start + 20])
                texts += [t for g in model.texts_of(model.sample(prompts, group, Sampling())) for t in g]
        batch = Batch.of(texts, [e for e in examples for _ in range(group)])
        scores = {
            metric: np.array(load_reward(metric, benchmark).score(batch), dtype=np.float64)
            for metric in ("slots", "comet", "bleu")
        }
        for metric in ("comet", "bleu"):
            pearson = np.corrcoef(scores[metric], scores["slots"])[0, 1]
            spearman = np.corrcoef(ranks(scores[metric]), ranks(scores["slots"]))[0, 1]
            print(f"{name}, {len(texts)} samples: {metric} and slots: Pearson {pearson:.3f}, Spearman {spearman:.3f}")


if __name__ == "__main__":
    main()
