"""What share of a GRPO step is spent outside the model: all but its modules' forward and the backward pass.

Outside are the choice of tokens, the log-softmax over the vocabulary, packing, rewards, loss, clipping, the optimizer,
the log and Python between them. The setting is that of `grpo_step.py`.

    python benches/step_share.py [--model granite|qwen2-audio] [--encoder trained|frozen] [--steps 5] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpo_step
import shaped
import torch
from torch.nn.modules import module as modules

from speechbench.models.base import SpeechModel


class Stopwatch:
    """Seconds within the outermost of nested calls, by kind."""

    def __init__(self) -> None:
        self.seconds = {"forward": 0.0, "backward": 0.0}
        self._depth = 0
        self._since = 0.0

    def enter(self) -> None:
        """Begins a call."""
        if self._depth == 0:
            self._since = time.perf_counter()
        self._depth += 1

    def leave(self, kind: str) -> None:
        """Ends it."""
        self._depth -= 1
        if self._depth == 0:
            self.seconds[kind] += time.perf_counter() - self._since


@contextmanager
def watched() -> Iterator[Stopwatch]:
    """Watches every module of torch and transformers, and `Tensor.backward`."""
    watch = Stopwatch()

    def before(module: torch.nn.Module, _: Any) -> None:
        if not isinstance(module, SpeechModel):
            watch.enter()

    def after(module: torch.nn.Module, *_: Any) -> None:
        if not isinstance(module, SpeechModel):
            watch.leave("forward")

    backward = torch.Tensor.backward

    def timed(self: torch.Tensor, *args: Any, **options: Any) -> None:
        watch.enter()
        try:
            backward(self, *args, **options)
        finally:
            watch.leave("backward")

    handles = [
        modules.register_module_forward_pre_hook(before),
        modules.register_module_forward_hook(after, always_call=True),
    ]
    torch.Tensor.backward = timed  # type: ignore[method-assign]
    try:
        yield watch
    finally:
        torch.Tensor.backward = backward  # type: ignore[method-assign]
        for handle in handles:
            handle.remove()


def main() -> None:
    """Prints median seconds of a step and of its parts, and the share outside."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["granite", "qwen2-audio"], default="granite")
    parser.add_argument("--encoder", choices=list(grpo_step.PARTS), default="frozen")
    for name, default in (("group", 8), ("prompts", 2), ("tokens", 32), ("steps", 5), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch, watched() as watch:
        folder = Path(scratch)
        model = grpo_step.shaped_model(options, folder / "model")
        examples = shaped.examples(folder, options.prompts, options.seconds)
        found = grpo_step.ours(model, examples, options, folder, lambda: dict(watch.seconds))
    outside = 1 - (found["forward"] + found["backward"]) / found["step"]
    print(json.dumps({"setting": vars(options), **found, "outside": round(outside, 4)}, indent=1))


if __name__ == "__main__":
    main()
