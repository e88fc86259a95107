"""How much a group's shared reference saves: BLEU and chrF of groups of eight against sacrebleu one by one.

The hypotheses are the mini corpora's sentences, degraded in the ways that comet[tiny] learned from. The peers are
sacrebleu's metric objects, made once, and its functions `sentence_bleu` and `sentence_chrf`, which make one for each
sentence. All take turns, with new scorers each time, so that no tokenizer remembers the round before; what is printed
is the ratio of processor times in this run (above 1: ours is faster), median of several rounds. Scores must be
identical.

    OMP_NUM_THREADS=1 python benches/overlap_groups.py [--hypotheses 4096] [--group 8] [--rounds 9]
"""

from __future__ import annotations

import argparse
import functools
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import sacrebleu
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from speechbench.benchmarks.base import Example
from speechbench.rewards import Batch, load_reward
from speechbench.rewards.comet_tiny_data import degrade, draw_item, meanings

Sentence = Callable[[str, list[str]], Any]  # gives one of sacrebleu's scores

PEERS: dict[str, tuple[Callable[[], Sentence], Sentence]] = {
    "bleu": (lambda: BLEU(effective_order=True).sentence_score, sacrebleu.sentence_bleu),
    "chrf": (lambda: CHRF().sentence_score, sacrebleu.sentence_chrf),
    "chrf(word_order=2)": (
        lambda: CHRF(word_order=2).sentence_score,
        functools.partial(sacrebleu.sentence_chrf, word_order=2),
    ),
}


def groups(hypotheses: int, size: int) -> Batch:
    """Texts of `degrade`, in groups of one reference each."""
    rng = random.Random(0)
    texts: list[str] = []
    examples: list[Example] = []
    for number, meaning in enumerate(rng.sample(meanings("train"), hypotheses // size)):
        item = draw_item(meaning, rng)
        example = Example(str(number), None, "", (item.reference,), item.source, "en", item.language)
        texts += [degrade(item, rng)[1] for _ in range(size)]
        examples += [example] * size
    return Batch.of(texts, examples)


def timed(work: Callable[[], list[float | None]]) -> tuple[float, list[float | None]]:
    """Seconds of processor time, and what came out."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def one_by_one(score: Sentence, batch: Batch) -> list[float | None]:
    """sacrebleu's scores on unit scale."""
    references = [list(example.references) for example in batch.examples]
    return [score(text, texts).score / 100 for text, texts in zip(batch.hypotheses, references, strict=True)]


def main() -> None:
    """Prints a row for each scorer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("hypotheses", 4096), ("group", 8), ("rounds", 9)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    batch = groups(options.hypotheses, options.group)
    print(f"{len(batch.hypotheses)} hypotheses, {len(set(batch.hypotheses))} different, groups of {options.group}")
    print(f"{'':20}{'ours, ms':>10}{'peer, ms':>10}{'ratio':>8}  all{'':28}{'ratio to the functions':>24}")
    for name, (make, function) in PEERS.items():
        rows = []
        for _ in range(options.rounds):
            ours, scores = timed(functools.partial(load_reward(name).score, batch))
            peer, expected = timed(functools.partial(one_by_one, make(), batch))
            plain, again = timed(functools.partial(one_by_one, function, batch))
            assert scores == expected == again, f"{name}: the scores differ"
            rows.append((ours, peer, plain))
        ratios = sorted(peer / ours for ours, peer, _ in rows)
        median = [statistics.median(row[place] for row in rows) * 1000 for place in (0, 1)]
        against = statistics.median(plain / ours for ours, _, plain in rows)
        print(
            f"{name:20}{median[0]:10.0f}{median[1]:10.0f}{statistics.median(ratios):8.2f}  "
            f"{' '.join(f'{ratio:.2f}' for ratio in ratios):31}{against:24.2f}"
        )


if __name__ == "__main__":
    main()
