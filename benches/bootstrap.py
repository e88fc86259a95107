"""How much stored statistics save: the paired bootstrap of two systems' corpus BLEU against sacrebleu's own.

sacrebleu starts from text: it tokenises, counts n-grams, and then sums each resample's segments. The board has the
counts in the run folders, and resamples by one matrix product. Both do 1,000 resamples of 15,000 segments of
made-up text whose words are as frequent as in real text (Zipf) and whose sentences are as long as CoVoST2's. The
peer is timed twice: as `sacrebleu --paired-bs` does it, and its resampling alone, with its counts at hand. Medians
of rounds in turn; the scores must agree, and so must p by sacrebleu's formula, within what resampling leaves open.

    OMP_NUM_THREADS=1 python benches/bootstrap.py [--segments 15000] [--resamples 1000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.significance import PairedTest

from speechbench.benchmarks.base import Example
from speechbench.leaderboard.drawing import Array
from speechbench.leaderboard.resampling import bootstrap
from speechbench.leaderboard.statistics import interval, paired_p
from speechbench.rewards.base import Batch
from speechbench.rewards.overlap import Bleu

VOCABULARY = 30_000
QUALITIES = (0.800, 0.803)  # share of the reference's words that each system keeps: a difference that is no certainty
STANDARD_ERRORS = 4  # how far two estimates of one p may lie apart


def texts(segments: int) -> tuple[list[str], list[list[str]]]:
    """References and the hypotheses of the two systems."""
    rng = np.random.default_rng(0)
    letters = np.array(list("enisratdhulcgmobwfkzpv"))
    words = ["".join(rng.choice(letters, size=size)) for size in 2 + rng.poisson(4, VOCABULARY)]
    frequency = 1 / np.arange(1, VOCABULARY + 1)
    lengths = 4 + rng.poisson(6, segments)
    sentences = np.split(rng.choice(VOCABULARY, lengths.sum(), p=frequency / frequency.sum()), np.cumsum(lengths)[:-1])

    def written(sentence: Sequence[int]) -> str:
        return " ".join(words[word] for word in sentence).capitalize() + "."

    def system(quality: float) -> list[str]:
        return [
            written(
                np.where(rng.random(len(s)) < quality, s, rng.choice(VOCABULARY, len(s), p=frequency / frequency.sum()))
            )
            for s in sentences
        ]

    return [written(s) for s in sentences], [system(quality) for quality in QUALITIES]


class Counted(BLEU):
    """sacrebleu's BLEU with its counts at hand: what is left of its paired test is the resampling."""

    def __init__(self, systems: Sequence[list[str]], references: list[str]) -> None:
        super().__init__(references=[references])
        self.counts = {id(s): super(Counted, self)._extract_corpus_statistics(s, None) for s in systems}

    def _extract_corpus_statistics(self, hypotheses: Any, references: Any) -> Any:
        return self.counts[id(hypotheses)]


def one_sided(difference: float, draws: Array) -> float:
    """p as sacrebleu's bootstrap counts it: absolute values before the shift."""
    sizes = np.abs(draws)
    return (1 + int(np.sum(sizes - sizes.mean() > abs(difference)))) / (len(draws) + 1)


def main() -> None:
    """Prints times, their ratios, scores and p."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("segments", 15_000), ("resamples", 1_000), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    references, systems = texts(options.segments)
    examples = [Example(str(row), None, "", (r,), None, "en", "de") for row, r in enumerate(references)]
    stored = [Bleu().statistics(Batch.of(system, examples)) for system in systems]
    counted = Counted(systems, references)

    def peer(metric: BLEU) -> list[Any]:
        named = [(str(number), system) for number, system in enumerate(systems)]
        _, results = PairedTest(named, {"BLEU": metric}, None, test_type="bs", n_samples=options.resamples)()
        return list(results["BLEU"])

    def ours() -> tuple[Array, Array, float]:
        scores, draws = bootstrap(stored, ["bleu", "bleu"], options.resamples)
        difference = draws[1] - draws[0]
        for drawn in (*draws, difference):
            interval(drawn, len(examples))
        return scores, difference, paired_p(scores[1] - scores[0], difference, len(examples))

    works: dict[str, Callable[[], Any]] = {
        "sacrebleu from text": lambda: peer(BLEU(references=[references])),
        "sacrebleu's resampling alone": lambda: peer(counted),
        "speechbench from stored statistics": ours,
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    results: dict[str, Any] = {}
    for _ in range(options.rounds):
        for name, work in works.items():
            start = time.perf_counter()
            results[name] = work()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name, taken in seconds.items():
        print(f"{name}: {medians[name]:.3f} s, median of {[round(second, 3) for second in taken]}")
    text, alone, mine = medians.values()
    print(f"{text / mine:.0f} times as fast as from text, {alone / mine:.1f} times as fast as the resampling alone")

    scores, difference, p = results["speechbench from stored statistics"]
    theirs = results["sacrebleu from text"]
    assert np.allclose(scores, [result.score for result in theirs], rtol=1e-12), (scores, theirs)
    by_their_formula = one_sided(scores[1] - scores[0], difference)
    expected = theirs[1].p_value
    noise = math.sqrt(2 * max(expected * (1 - expected), 1 / options.resamples) / options.resamples)
    assert abs(by_their_formula - expected) <= STANDARD_ERRORS * noise, (by_their_formula, expected)
    print(f"BLEU {scores[0]:.4f} and {scores[1]:.4f} in both; p by sacrebleu's one-sided formula: sacrebleu's draws")
    print(
        f"{expected:.4f}, ours {by_their_formula:.4f} (standard error of the difference {noise:.4f}); two-sided {p:.4f}"
    )


if __name__ == "__main__":
    main()
