"""A whole GRPO step of this package against a plain loop over transformers, on the same model and the same lengths.

The plain loop does what the audio trainer R1-AQA does: `generate` with its KV cache and `num_return_sequences=G`,
one forward of the policy and one of the reference model over repeated audio and prompts, backward, AdamW. Ours is
`GrpoTrainer`, with all that it does around the step. Models have random weights; every completion has full length.

    python benches/grpo_step.py [--model granite|qwen2-audio] [--encoder trained|frozen] [--group 8] [--prompts 2]
                                [--seconds 10] [--tokens 32] [--steps 5] [--threads 2]

Printed as JSON: seconds of sampling, learning and of the step, peak memory of either, and their ratios in this run
(above 1: ours is better), after a check that loss and gradients agree.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PARTS = {"trained": "encoder+projector+language_model", "frozen": "projector+language_model"}
BETA = 0.02
Seconds = Callable[[], dict[str, float]]


def shaped_model(options: argparse.Namespace, folder: Path) -> Any:
    """The model that the options name, whose every completion has full length."""
    import shaped

    make = {"granite": shaped.granite, "qwen2-audio": shaped.qwen2_audio}[options.model]
    model = make(folder, PARTS[options.encoder])
    model._suppressed[model.end_token] = True
    return model


class Plain:
    """The plain loop. Its policy and reference are modules of transformers, in the modes that our trainer uses."""

    def __init__(self, model: Any, examples: list[Any], group: int, tokens: int) -> None:
        import torch

        self.group, self.tokens = group, tokens
        self.policy, self.reference = model.network, copy.deepcopy(model.network).requires_grad_(False).eval()
        self.inputs = _inputs(model, examples)
        self.width = self.inputs["input_ids"].shape[1]
        learning = [p for p in self.policy.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(learning, 1e-6)
        self.end = int(model.end_token)
        self.model = model

    def generate(self) -> Any:
        """Sampled tokens, shape [prompt x G, token]."""
        import torch

        self.model.eval()
        with torch.no_grad():
            out = self.policy.generate(
                **self.inputs, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, num_return_sequences=self.group,
                max_new_tokens=self.tokens, min_new_tokens=self.tokens, eos_token_id=None, pad_token_id=self.end,
            )  # fmt: skip
        self.model.train()
        return out[:, -self.tokens :]

    def logprobs(self, network: Any, sampled: Any) -> Any:
        """Log-probabilities of the sampled tokens, over repeated audio and prompts."""
        import torch

        many = {name: value.repeat_interleave(self.group, dim=0) for name, value in self.inputs.items()}
        ids = torch.cat([many.pop("input_ids"), sampled], dim=1)
        mask = torch.cat([many.pop("attention_mask"), torch.ones_like(sampled)], dim=1)
        logits = network(input_ids=ids, attention_mask=mask, **many).logits[:, :-1]
        rows = [
            row.log_softmax(-1).gather(-1, chosen[:, None]).squeeze(-1)
            for row, chosen in zip(logits, ids[:, 1:], strict=True)
        ]
        return torch.stack(rows)[:, -self.tokens :]

    def loss(self, sampled: Any) -> Any:
        """Forward of both models and the loss over all tokens."""
        import torch

        logprobs = self.logprobs(self.policy, sampled)
        with torch.no_grad():
            reference = self.logprobs(self.reference, sampled)
        gap = reference - logprobs
        advantages = torch.linspace(-1, 1, len(sampled))[:, None]
        ratio = (logprobs - logprobs.detach()).exp()
        return -(ratio * advantages - BETA * (gap.exp() - gap - 1)).mean()

    def learn(self, sampled: Any) -> None:
        """Loss, backward, optimizer."""
        self.loss(sampled).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def _inputs(model: Any, examples: list[Any]) -> dict[str, Any]:
    """What the model's processor would make of the examples: features, and the audio token once per embedding."""
    import torch

    from speechbench.benchmarks import decoding

    samples = [decoding.samples(example.audio, model.rate) for example in examples]
    heard = [model.features(torch.from_numpy(one)) for one in samples]
    with torch.no_grad():
        count = len(model.project([model.encode(heard[0])])[0])
    ids = model.prompt_ids(examples[0].instruction)
    place = ids.index(model.audio_token)
    ids = torch.tensor([ids[:place] + [model.audio_token] * count + ids[place + 1 :]] * len(examples))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "input_features": torch.stack(heard)}
    if hasattr(model, "extractor"):  # Qwen2-Audio's encoder demands its whole window, and a mask of what is padding
        whole = model.extractor(
            samples, sampling_rate=model.rate, return_tensors="pt", return_attention_mask=True, padding="max_length"
        )
        inputs |= {"input_features": whole["input_features"], "feature_attention_mask": whole["attention_mask"]}
    return inputs


def _check(model: Any, examples: list[Any], plain: Plain) -> float:
    """The largest difference of a gradient between the two, relative to the gradient's size."""
    import torch

    from speechbench.models.base import Completions

    sampled = plain.generate()
    plain.loss(sampled).backward()
    theirs = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    tokens = sampled.view(len(examples), plain.group, -1)
    whole = torch.ones_like(tokens, dtype=torch.bool)
    suppressed = model._suppressed.clone()
    model._suppressed.zero_()  # the plain loop normalises over the whole vocabulary
    completions = Completions(tokens, whole, torch.zeros(tokens.shape[:2], dtype=torch.bool))
    logprobs, _ = model(examples, completions)
    with torch.no_grad():
        reference = model.frozen_copy()(examples, completions)[0]
    gap = reference - logprobs
    advantages = torch.linspace(-1, 1, len(sampled)).view(len(examples), -1, 1)
    ratio = (logprobs - logprobs.detach()).exp()
    (-(ratio * advantages - BETA * (gap.exp() - gap - 1)).mean()).backward()
    model._suppressed.copy_(suppressed)
    worst = max(
        float((p.grad - theirs[name]).norm() / theirs[name].norm().clamp(min=1e-12))
        for name, p in model.named_parameters()
        if p.grad is not None and theirs[name].norm() > 1e-6
    )
    model.zero_grad()
    return worst


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _memory(kind: str) -> int:
    """Kilobytes: "VmRSS" held now, "VmHWM" the most since the last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(kind)))


def _side(name: str, options: argparse.Namespace, pipe: Any) -> None:
    """One side in a process of its own, so that its peak of memory is its own."""
    import torch

    torch.set_num_threads(options.threads)
    import shaped

    for library in ("transformers.generation.utils", "speechbench.trainers.grpo"):  # before memory is counted
        importlib.import_module(library)

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        before = _memory("VmRSS")
        model = shaped_model(options, folder / "model")
        examples = shaped.examples(folder, options.prompts, options.seconds)
        model.embed(examples)  # decoded, and encoded where the encoder is frozen
        found = _plain(model, examples, options) if name == "plain" else ours(model, examples, options, folder)
        found["peak_mb"] = (found.pop("peak_kb") - before) / 1024
    pipe.send(found)


def _rounds(steps: int, parts: dict[str, Callable[[], object]]) -> dict[str, Any]:
    """Median seconds of each part, over the steps after the first."""
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for step in range(steps + 1):
        if step == 1:
            _reset_peak()
        for name, work in parts.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    found: dict[str, Any] = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    found["step"] = statistics.median(map(sum, list(zip(*seconds.values(), strict=True))[1:]))
    return found


def _plain(model: Any, examples: list[Any], options: argparse.Namespace) -> dict[str, Any]:
    plain = Plain(model, examples, options.group, options.tokens)
    difference = _check(model, examples, plain)
    model.train()
    held: list[Any] = [None]

    def generate() -> None:
        held[0] = plain.generate()

    found = _rounds(options.steps, {"sampling": generate, "learning": lambda: plain.learn(held[0])})
    return {**found, "gradient_difference": difference, "peak_kb": _memory("VmHWM")}


def ours(
    model: Any, examples: list[Any], options: argparse.Namespace, folder: Path, spent: Seconds = dict
) -> dict[str, Any]:
    """Median seconds of our steps after the first and of their parts, and the peak of memory.

    Args:
        model: To train.
        examples: Of one batch.
        options: Of the command.
        folder: For the run.
        spent: Further seconds, counted up by who gives them.
    """
    from transformers import TrainerCallback

    from speechbench.rewards.loading import load_reward
    from speechbench.trainers.grpo import GrpoConfig, GrpoTrainer

    class Data:
        name = "noise"

        def load(self, split: str, limit: int | None = None) -> list[Any]:
            return examples

    def read() -> dict[str, float]:
        return {**trainer.seconds, **spent(), "step": time.perf_counter()}

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.read: list[dict[str, float]] = [read()]

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.read.append(read())
            if len(self.read) == 2:
                _reset_peak()

    config = GrpoConfig(
        folder / "run", max_steps=options.steps + 1, per_device_train_batch_size=len(examples),
        num_generations=options.group, max_completion_length=options.tokens, learning_rate=1e-6,
        save_steps=10**6, beta=BETA,
    )  # fmt: skip
    trainer = GrpoTrainer(model, Data(), load_reward("random"), config)  # type: ignore[arg-type]
    clock = Clock()
    trainer.add_callback(clock)
    config.output_dir.mkdir(exist_ok=True)
    trainer.train()
    peak = _memory("VmHWM")
    steps = list(zip(clock.read[1:], clock.read[2:], strict=False))
    names = steps[0][1]
    return {
        **{name: statistics.median(b[name] - a.get(name, 0.0) for a, b in steps) for name in names},
        "peak_kb": peak,
    }


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Both sides, one after the other, each in its own process."""
    context = multiprocessing.get_context("spawn")
    found: dict[str, Any] = {"setting": vars(options)}
    for name in ("plain", "ours"):
        ours, theirs = context.Pipe()
        process = context.Process(target=_side, args=(name, options, theirs))
        process.start()
        theirs.close()
        found[name] = ours.recv()
        process.join()
    pairs = {key: found["plain"][key] / found["ours"][key] for key in ("sampling", "learning", "step", "peak_mb")}
    return {**found, "ratios": {key: round(value, 2) for key, value in pairs.items()}}


def main() -> None:
    """Prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["granite", "qwen2-audio"], default="granite")
    parser.add_argument("--encoder", choices=list(PARTS), default="frozen")
    for name, default in (("group", 8), ("prompts", 2), ("tokens", 32), ("steps", 5), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=10.0)
    print(json.dumps(compare(parser.parse_args()), indent=1))


if __name__ == "__main__":
    main()
