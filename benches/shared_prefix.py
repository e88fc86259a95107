"""How much the shared prefix saves: one packed forward and backward against repeating the prompt G times.

Both do the same work on the embedded model and the same real audio of covost2-mini; what is printed is the
ratio of their times in this run (above 1: the shared prefix is faster), median of several rounds.

    python benches/shared_prefix.py [--group 8] [--prompts 8] [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from speechbench.benchmarks.loading import load_benchmark
from speechbench.models.base import Completions, Prompts, Sampling
from speechbench.models.tiny import Tiny


def repeated(prompts: Prompts, group: int) -> Prompts:
    """Each prompt `group` times, as `num_return_sequences` and trainers without a shared prefix do."""
    return Prompts(
        prompts.embeddings.repeat_interleave(group, dim=0),
        prompts.mask.repeat_interleave(group, dim=0),
        tuple(id_ for id_ in prompts.ids for _ in range(group)),
    )


def main() -> None:
    """Prints both ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("group", 8), ("prompts", 8), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    model = Tiny()
    examples = load_benchmark("covost2-mini").load("train", options.prompts)
    with torch.no_grad():
        shared = model.embed(examples)
        many = repeated(shared, options.group)
        completions = model.sample(shared, options.group, Sampling())
    single = Completions(
        *(x.flatten(0, 1)[:, None] for x in (completions.tokens, completions.mask)), completions.finished
    )

    def learn(prompts: Prompts, written: Completions) -> None:
        model.zero_grad()
        torch.autograd.backward(model.logprobs(prompts, written).sum())

    def seconds(work: Callable[[], object]) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "learning": (lambda: learn(many, single), lambda: learn(shared, completions)),
        "sampling": (
            lambda: model.sample(many, 1, Sampling()),
            lambda: model.sample(shared, options.group, Sampling()),
        ),
    }
    for name, (peer, ours) in pairs.items():
        peer(), ours()  # warm
        ratios = [seconds(peer) / seconds(ours) for _ in range(options.rounds)]
        print(f"{name}: repeating the prompt takes {statistics.median(ratios):.2f} times as long", sorted(ratios))


if __name__ == "__main__":
    main()
