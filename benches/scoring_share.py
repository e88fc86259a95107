"""What share of a training step scoring takes: GRPO of the embedded model on the embedded corpus.

    python benches/scoring_share.py [--rewards bleu,chrf] [--steps 20]

The peer is the rest of the step, sampling and learning. The first step is left out: it loads libraries.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import speechbench
from speechbench.grammar import split_outside_brackets


def share(reward: str, steps: int) -> tuple[float, float]:
    """Scoring's share of the steps after the first, and seconds per step.

    Args:
        reward: Spec.
        steps: Optimizer steps.
    """
    with tempfile.TemporaryDirectory() as out:
        trained = speechbench.train("grpo", reward, steps=steps, limit=200, out=Path(out))
        log = (trained.model_folder.parents[1] / "train.jsonl").read_text(encoding="utf-8").splitlines()
    first, last = (json.loads(log[place])["seconds"] for place in (0, -1))
    spent = {kind: last[kind] - first[kind] for kind in ("sampling", "scoring", "learning")}
    return spent["scoring"] / sum(spent.values()), sum(spent.values()) / (steps - 1)


def main() -> None:
    """Prints a line for each reward."""
    parser = argparse.ArgumentParser(description="scoring's share of a training step")
    parser.add_argument(
        "--rewards", default="bleu,chrf,0.5*bleu + 0.5*comet,comet", help="specs (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps (default: %(default)s)")
    arguments = parser.parse_args()
    print(f"{'reward':<28}{'scoring':>9}{'s per step':>12}")
    for reward in split_outside_brackets(arguments.rewards):
        part, seconds = share(reward, arguments.steps)
        print(f"{reward:<28}{part:>9.2%}{seconds:>12.2f}")


if __name__ == "__main__":
    main()
