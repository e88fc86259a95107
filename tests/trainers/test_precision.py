"""What saves memory must not change what is learned: gradient checkpointing, bfloat16, gradient accumulation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from speechbench.benchmarks.base import Benchmark
from speechbench.models.base import Completions
from speechbench.models.encoder_cache import EncoderCache
from speechbench.models.tiny import Tiny
from speechbench.rewards.loading import load_reward
from speechbench.trainers.base import SpeechTrainer, TrainConfig
from speechbench.trainers.grpo import GrpoConfig, GrpoTrainer
from speechbench.trainers.mixed_grpo import MixedGrpoConfig, MixedGrpoTrainer
from speechbench.trainers.rejection_sft import RejectionSftConfig, RejectionSftTrainer
from speechbench.trainers.sft import SftConfig, SftTrainer

KINDS: dict[str, tuple[type[SpeechTrainer[Any]], type[TrainConfig]]] = {
    "sft": (SftTrainer, SftConfig),
    "grpo": (GrpoTrainer, GrpoConfig),
    "mixed-grpo": (MixedGrpoTrainer, MixedGrpoConfig),
    "rejection-sft": (RejectionSftTrainer, RejectionSftConfig),
}
SETTINGS: dict[str, Any] = {"max_steps": 1, "per_device_train_batch_size": 2, "max_grad_norm": 0.0}
OF_GROUPS: dict[str, Any] = {"num_generations": 3, "max_completion_length": 6}
WHOLE: dict[str, Any] = {"num_generations": 3, "max_completion_length": 40}
"""rejection-sft learns nothing of answers that are cut."""


class Gradients(TrainerCallback):  # type: ignore[misc]
    """What the optimizer is given, by parameter and step."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.of_steps: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        named = self.model.named_parameters()
        self.of_steps.append({name: p.grad.clone() for name, p in named if p.grad is not None})


def learn(
    trainer: str, few: Benchmark, folder: Path, model: Tiny | None = None, **changes: Any
) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]], Tiny]:
    """Trains; the gradients of the last step, the log and the model."""
    kind, config_kind = KINDS[trainer]
    model = model or Tiny()
    of_groups = {"sft": {}, "rejection-sft": WHOLE}.get(trainer, OF_GROUPS)
    config = config_kind(folder, **{**SETTINGS, **of_groups, **changes})
    arguments = (model, few, config) if trainer == "sft" else (model, few, load_reward("bleu", few), config)
    made = kind(*arguments)
    gradients = Gradients(model)
    made.add_callback(gradients)
    made.run()
    log = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    assert gradients.of_steps[-1]
    return gradients.of_steps[-1], log, model


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Of all gradients together, relative to their length."""
    assert one.keys() == other.keys()
    difference = sum(float((one[name] - other[name]).double().square().sum()) for name in one)
    return float((difference / sum(float(value.double().square().sum()) for value in one.values())) ** 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("trainer", KINDS)
def test_two_batches_accumulated_give_the_gradient_of_one_of_twice_the_size(
    few: Benchmark, tmp_path: Path, trainer: str
) -> None:
    whole, one_log, _ = learn(trainer, few, tmp_path / "a", per_device_train_batch_size=4)
    parts, two_log, _ = learn(
        trainer, few, tmp_path / "b", per_device_train_batch_size=2, gradient_accumulation_steps=2
    )
    half, _, _ = learn(trainer, few, tmp_path / "c")
    assert distance(whole, parts) < 1e-4 < 1e-2 < distance(whole, half)
    assert one_log[0]["loss"] == pytest.approx(two_log[0]["loss"], abs=2e-4)


class Counts(Tiny):
    """How often its first attention ran in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.ran = 0
        self.decoder.layers[0].self_attn.register_forward_pre_hook(self._run)  # type: ignore[index, union-attr]

    def _run(self, layer: torch.nn.Module, _: Any) -> None:
        self.ran += layer.training


@pytest.mark.slow
@pytest.mark.parametrize("trainer", KINDS)
def test_gradient_checkpointing_changes_no_gradient_and_no_sample(few: Benchmark, tmp_path: Path, trainer: str) -> None:
    kept, kept_log, model = learn(trainer, few, tmp_path / "a", Counts(), max_steps=2)
    made_again, log, other = learn(trainer, few, tmp_path / "b", Counts(), max_steps=2, gradient_checkpointing=True)
    assert isinstance(model, Counts) and model.ran == 2  # once a step: in train mode nothing runs but the loss
    assert isinstance(other, Counts) and other.ran == 4  # and again in the backward pass
    assert distance(kept, made_again) < 1e-5
    for name in ("completion_length", "reward", "loss"):
        assert [line.get(name) for line in kept_log] == pytest.approx([line.get(name) for line in log], abs=2e-4)
    assert not other.language_model.is_gradient_checkpointing


@pytest.mark.slow
@pytest.mark.parametrize("trainer", KINDS)
def test_bfloat16_gives_the_gradient_within_its_precision(few: Benchmark, tmp_path: Path, trainer: str) -> None:
    samples: list[Completions] = []

    class Fixed(Tiny):
        """Gives the first model's samples, in full precision, so that all learn from the same."""

        drawn = 0

        def sample(self, *args: Any) -> Completions:
            self.drawn += 1
            if self.drawn > len(samples):
                samples.append(super().sample(*args))
            return samples[self.drawn - 1]

    full, _, _ = learn(trainer, few, tmp_path / "a", Fixed())
    half, _, model = learn(trainer, few, tmp_path / "b", Fixed(), bf16=True)
    assert 1e-4 < distance(full, half) < 0.1
    again, _, _ = learn(trainer, few, tmp_path / "c", Fixed())  # what one training is done in, the next one is not
    assert distance(full, again) == 0
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("trainer", ["grpo", "mixed-grpo"])
def test_policy_and_reference_are_scored_in_one_precision(few: Benchmark, tmp_path: Path, trainer: str) -> None:
    """The first step's policy is the reference model and the one that wrote the samples: KL 0, and nothing is clipped.

    With so narrow a clip range the second pass over the same samples is clipped once the weights have moved.
    """
    settings: dict[str, Any] = {"num_iterations": 2, "max_steps": 2, "save_steps": 2, "epsilon": 1e-6}
    _, log, _ = learn(trainer, few, tmp_path, bf16=True, warmup_ratio=0.0, **settings)
    assert log[0]["kl"] == 0 and log[0]["clip_share"] == 0
    assert log[1]["kl"] > 0 and log[1]["clip_share"] > 0


def test_bfloat16_is_what_is_sampled_in_and_is_over_when_the_training_is(few: Benchmark, tmp_path: Path) -> None:
    class Hears(Tiny):
        def __init__(self) -> None:
            super().__init__()
            self.sampled: list[bool] = []

        def sample(self, *args: Any) -> Completions:
            self.sampled.append(torch.is_autocast_enabled("cpu"))
            return super().sample(*args)

    few.max_completion_length = 4
    _, _, model = learn("grpo", few, tmp_path, Hears(), bf16=True, eval_steps=1, eval_limit=1)
    assert isinstance(model, Hears) and model.sampled == [True, False]  # validation measures as the test is measured
    examples = few.load("train", 2)
    references = model.completions_of([[e.references[0]] for e in examples])
    with torch.no_grad():
        assert torch.equal(model(examples, references)[0], model.logprobs(model.embed(examples), references))


@pytest.mark.slow
def test_what_a_frozen_encoder_heard_under_bfloat16_is_heard_by_nobody_else(few: Benchmark, tmp_path: Path) -> None:
    """Its output is kept for the whole process: the next run must not depend on this one's precision."""
    examples = few.load("train", 4)
    fresh, after = Tiny(), Tiny()
    after._encoded = EncoderCache()
    with torch.no_grad():
        before = after.embed(examples).embeddings
        fresh._encoded = after._encoded = EncoderCache()
    learn("sft", few, tmp_path, fresh, bf16=True, per_device_train_batch_size=16)
    with torch.no_grad():
        assert torch.equal(after.embed(examples).embeddings, before)
