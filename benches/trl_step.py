"""Steps per second of GRPO on text alone: this package against TRL's GRPOTrainer, same small model, same lengths.

A prompt of 150 tokens, G completions of 32 tokens each, a reward that costs nothing, β 0.02 against the model before
training, DAPO's loss, the k3 estimate of the KL, AdamW. Each side runs in a process of its own with as many threads.

    python benches/trl_step.py [--group 8] [--prompt 150] [--tokens 32] [--steps 6] [--threads 2]

Prints JSON: median seconds of a step on either side, and how many times faster ours is in this run.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import shaped
import torch
from transformers import AutoModelForCausalLM, GraniteConfig, PreTrainedModel, TrainerCallback

from speechbench.benchmarks.base import Example
from speechbench.models.base import Prompts, SpeechModel, special_tokens


class TextModel(SpeechModel):
    """A language model that is told the instruction and hears nothing."""

    name, fingerprint = "text", "text"

    def __init__(self, network: PreTrainedModel, tokenizer: Any) -> None:
        super().__init__()
        self.network, self.tokenizer = network, tokenizer
        suppressed = special_tokens(tokenizer, network.config.vocab_size, self.end_token)
        suppressed[self.end_token] = True  # so that every completion has full length
        self.register_buffer("_suppressed", suppressed, persistent=False)

    @property
    def language_model(self) -> PreTrainedModel:
        return self.network

    @property
    def suppressed(self) -> torch.Tensor:
        return self.get_buffer("_suppressed")

    def embed(self, examples: Sequence[Example]) -> Prompts:
        table = self.network.get_input_embeddings()
        rows = [table(torch.tensor(self.tokenizer.encode(e.instruction, add_special_tokens=False))) for e in examples]
        return Prompts.of(rows, examples)

    def save(self, folder: Path) -> None:
        self.network.save_pretrained(folder)

    def load_weights(self, folder: Path) -> None:
        self.network.load_state_dict(AutoModelForCausalLM.from_pretrained(folder).state_dict())

    def frozen_copy(self) -> TextModel:
        return copy.deepcopy(self).requires_grad_(False)


class Clock(TrainerCallback):  # type: ignore[misc]
    """When each step ended."""

    def __init__(self) -> None:
        self.at = [time.perf_counter()]

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.at.append(time.perf_counter())

    @property
    def median(self) -> float:
        """Seconds of a step; the first is left out."""
        return statistics.median(b - a for a, b in zip(self.at[1:], self.at[2:], strict=False))


def _network() -> PreTrainedModel:
    torch.manual_seed(0)
    words = shaped.granite_tokenizer()
    config = GraniteConfig(**shaped.TEXT, **shaped.ends(words))
    return AutoModelForCausalLM.from_config(config)


def _prompt(words: Any, length: int) -> str:
    ids = words.encode("drei rote Äpfel " * length, add_special_tokens=False)[:length]
    text: str = words.decode(ids)
    return text


def ours(options: argparse.Namespace, folder: Path) -> float:
    """Seconds of a step of our trainer."""
    from speechbench.rewards.loading import load_reward
    from speechbench.trainers.grpo import GrpoConfig, GrpoTrainer

    words = shaped.granite_tokenizer()
    model = TextModel(_network(), words)
    asked = Example("e", None, _prompt(words, options.prompt), ("drei",), None, "en", "de")
    print("prompt of", model.embed([asked]).mask.shape[1], "tokens")

    class Data:
        name = "text"

        def load(self, split: str, limit: int | None = None) -> list[Example]:
            return [asked] * options.steps

    config = GrpoConfig(
        folder, max_steps=options.steps, per_device_train_batch_size=1, num_generations=options.group,
        max_completion_length=options.tokens, learning_rate=1e-6, save_steps=10**6, beta=0.02,
    )  # fmt: skip
    trainer = GrpoTrainer(model, Data(), load_reward("random"), config)  # type: ignore[arg-type]
    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    return clock.median


def trl(options: argparse.Namespace, folder: Path) -> float:
    """Seconds of a step of TRL's trainer."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    words = shaped.granite_tokenizer()
    words.chat_template = None
    network = _network()
    network.save_pretrained(folder / "model")  # TRL loads the reference model from where the policy came
    network = AutoModelForCausalLM.from_pretrained(folder / "model")
    network.generation_config.eos_token_id = None
    prompt = _prompt(words, options.prompt)
    config = GRPOConfig(
        output_dir=str(folder), max_steps=options.steps, per_device_train_batch_size=options.group,
        num_generations=options.group, max_completion_length=options.tokens, learning_rate=1e-6, beta=0.02,
        loss_type="dapo", use_bias_correction_kl=False, report_to=[], use_cpu=True, bf16=False, save_strategy="no",
        gradient_checkpointing=False, disable_tqdm=True, generation_kwargs={"min_new_tokens": options.tokens},
    )  # fmt: skip
    trainer = GRPOTrainer(
        network, reward_funcs=lambda completions, **_: [float(i) for i in range(len(completions))], args=config,
        train_dataset=Dataset.from_list([{"prompt": prompt}] * options.steps), processing_class=words,
    )  # fmt: skip
    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    key = "completions/mean_length"
    lengths = [line[key] for line in trainer.state.log_history if key in line]
    assert all(length == options.tokens for length in lengths), lengths
    return clock.median


def _side(name: str, options: argparse.Namespace, pipe: Any) -> None:
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        pipe.send({"ours": ours, "trl": trl}[name](options, Path(folder)))


def main() -> None:
    """Prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("group", 8), ("prompt", 150), ("tokens", 32), ("steps", 6), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    seconds = {}
    for name in ("trl", "ours"):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_side, args=(name, options, sender))
        process.start()
        sender.close()
        seconds[name] = receiver.recv()
        process.join()
    ratio = seconds["trl"] / seconds["ours"]
    print(json.dumps({"setting": vars(options), "seconds": seconds, "ratio": ratio}, indent=1))


if __name__ == "__main__":
    main()
