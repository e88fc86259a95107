"""A small ablation, as the tests of sweeps share it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from speechbench.planning import Plan, plan
from speechbench.progress import Progress

TINY = {"per_device_train_batch_size": 2, "max_completion_length": 8, "warmup_ratio": 0.0}  # so that one step moves
CONFIG: dict[str, dict[str, Any]] = {"sft": TINY, "grpo": {**TINY, "num_generations": 2}}


class Told(Progress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def tell(self, text: str) -> None:
        self.texts.append(text)


def planned(out: Path, rewards: str = "bleu", trainers: str = "grpo", **grid: Any) -> Plan:
    grid = {"limit": 2, "steps": 1, "metrics": ["bleu"], "config": CONFIG, **grid}
    config = {key: value for key, value in grid.pop("config").items() if key in trainers.replace("+", " ").split()}
    return plan(rewards.split(), trainers.split(), config=config, out=out, **grid)
