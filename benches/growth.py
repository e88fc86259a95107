"""How time and memory of a GRPO step grow with the group, the audio's length and the batch: docs/growth.png.

Each point is a run of `grpo_step.compare`: the plain loop and ours, in processes of their own.

    python benches/growth.py [--model granite] [--encoder frozen] [--steps 2] [--threads 2] [--out docs/growth.png]

What is measured is kept beside the plot's name, as docs/growth.json: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import grpo_step
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BASE = {"group": 8, "prompts": 1, "tokens": 32, "seconds": 10.0}
GROWS = {"group": (2, 4, 8, 16, 32), "seconds": (2.0, 5.0, 10.0, 20.0, 30.0), "prompts": (1, 2, 4, 8)}
CALLED = {"group": "completions per prompt (G)", "seconds": "seconds of audio", "prompts": "prompts in the batch"}


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Every point, by what grows."""
    points: dict[str, list[dict[str, Any]]] = {name: [] for name in GROWS}
    kept = options.out.with_suffix(".json")
    known: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else {}
    for name, values in GROWS.items():
        for value in values:
            setting = {**BASE, name: value, **_common(options)}
            key = json.dumps(setting, sort_keys=True)
            if key not in known:
                known[key] = grpo_step.compare(argparse.Namespace(**setting))
                kept.write_text(json.dumps(known, indent=1))
                print(name, value, known[key]["ratios"], flush=True)
            points[name].append({"at": value, **{side: known[key][side] for side in ("plain", "ours")}})
    return points


def _common(options: argparse.Namespace) -> dict[str, Any]:
    return {key: getattr(options, key) for key in ("model", "encoder", "steps", "threads")}


def draw(points: dict[str, list[dict[str, Any]]], out: Path) -> None:
    """Time above, memory below, one column for each thing that grows."""
    figure, rows = plt.subplots(2, len(GROWS), figsize=(10, 5.5), sharex="col", layout="constrained")
    for column, (name, found) in enumerate(points.items()):
        for row, (key, unit, scale) in enumerate((("step", "seconds a step", 1.0), ("peak_mb", "peak, GB", 1024.0))):
            axes = rows[row][column]
            for side, label, style in (("plain", "repeated prompts", "o--"), ("ours", "speechbench", "o-")):
                axes.plot([p["at"] for p in found], [p[side][key] / scale for p in found], style, label=label)
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
            if column == 0:
                axes.set_ylabel(unit)
            if row == 1:
                axes.set_xlabel(CALLED[name])
    rows[0][0].legend()
    figure.savefig(out, dpi=110)


def main() -> None:
    """Measures and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="granite")
    parser.add_argument("--encoder", default="frozen")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/growth.png"))
    options = parser.parse_args()
    draw(measure(options), options.out)


if __name__ == "__main__":
    main()
