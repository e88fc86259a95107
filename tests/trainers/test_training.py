"""The trainers on the embedded model and real files: what they learn, what they must not, and resuming."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import SpeechbenchError
from speechbench.models.base import Completions
from speechbench.models.tiny import Tiny
from speechbench.progress import Progress
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.loading import load_reward
from speechbench.trainers import grpo, mixed_grpo, sft
from speechbench.trainers.grpo import GrpoConfig, GrpoTrainer
from speechbench.trainers.mixed_grpo import MixedGrpoConfig, MixedGrpoTrainer
from speechbench.trainers.sft import SftConfig, SftTrainer


def small(folder: Path, **changes: object) -> GrpoConfig:
    settings = {"max_steps": 3, "per_device_train_batch_size": 2, "num_generations": 4, "max_completion_length": 16}
    return GrpoConfig(output_dir=folder, **{**settings, **changes})  # type: ignore[arg-type]


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def log_of(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def test_a_constant_reward_leaves_every_weight_as_it_was(few: Benchmark, tmp_path: Path) -> None:
    model = Tiny()
    before = weights(model)
    grpo.train(model, few, load_reward("constant", few), small(tmp_path, weight_decay=0.0))
    after = weights(model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(line["zero_variance_groups"] == 1 and line["kl"] == 0 for line in log_of(tmp_path))


def test_sfts_loss_is_the_references_cross_entropy(few: Benchmark, tmp_path: Path) -> None:
    """Example by example, token by token, from the probabilities alone; the end token counts."""
    model = Tiny()
    trainer = SftTrainer(model, few, SftConfig(output_dir=tmp_path, max_steps=1))
    examples = few.load("train", 3)
    rollout = trainer.roll_out(examples)
    total, tokens = 0.0, 0
    with torch.no_grad():
        loss = trainer.loss(model, rollout, rollout.completions.mask.sum()).item()
        for example in examples:
            ids = [*model.tokenizer.encode(example.references[0]), model.end_token]
            probabilities = model.log_distribution(
                model.embed([example]), model.completions_of([[example.references[0]]])
            ).exp()
            total -= sum(math.log(probabilities[0, 0, place, token]) for place, token in enumerate(ids))
            tokens += len(ids)
    assert loss == pytest.approx(total / tokens, rel=1e-5)


@pytest.mark.slow
def test_sft_lowers_the_loss_on_what_it_learns_from(few: Benchmark, tmp_path: Path) -> None:
    config = SftConfig(output_dir=tmp_path, max_steps=12, per_device_train_batch_size=8, limit=8, learning_rate=1e-3)
    result = sft.train(Tiny(), few, None, config)
    losses = [line["loss"] for line in log_of(tmp_path)]
    assert losses[-1] < 0.5 * losses[0] and result.steps == 12


@pytest.mark.slow
def test_grpo_raises_the_reward_on_what_it_learns_from(few: Benchmark, tmp_path: Path) -> None:
    config = small(tmp_path, max_steps=12, limit=2, num_generations=16, learning_rate=3e-4, max_completion_length=32)
    grpo.train(Tiny(), few, load_reward("bleu", few), config)
    rewards = [line["reward"] for line in log_of(tmp_path)]
    assert sum(rewards[-3:]) > sum(rewards[:3]) + 0.3


def test_the_reference_joins_the_group_at_its_own_reward(few: Benchmark, tmp_path: Path) -> None:
    config = MixedGrpoConfig(output_dir=tmp_path, max_steps=2, per_device_train_batch_size=2, num_generations=4)
    trainer = MixedGrpoTrainer(Tiny(), few, load_reward("bleu", few), config)
    examples = few.load("train", 2)
    group = trainer.roll_out(examples)
    assert group.completions.tokens.shape[:2] == (2, 4)
    assert group.off_policy_PG.tolist() == [[False, False, False, True]] * 2
    assert [texts[-1] for texts in trainer.speech_model.texts_of(group.completions)] == [
        example.references[0] for example in examples
    ]
    mixed_grpo.train(Tiny(), few, load_reward("bleu", few), config)
    assert {"reference_advantage_share", "positive_on_policy_share"} <= set(log_of(tmp_path)[-1])


class Interrupted(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["sft", "grpo", "mixed-grpo"])
def test_resumed_equals_uninterrupted(few: Benchmark, tmp_path: Path, trainer: str) -> None:
    kinds = {
        "sft": (sft.train, SftConfig),
        "grpo": (grpo.train, GrpoConfig),
        "mixed-grpo": (mixed_grpo.train, MixedGrpoConfig),
    }
    train, kind = kinds[trainer]
    common = {"max_steps": 5, "per_device_train_batch_size": 3, "save_steps": 2, "seed": 4, "max_completion_length": 16}
    reward = None if trainer == "sft" else load_reward("bleu", few)
    whole = kind(output_dir=tmp_path / "whole", **common)  # type: ignore[operator]
    straight = Tiny()
    train(straight, few, reward, whole)  # type: ignore[operator]

    class Interrupts(Progress):
        def step(self, logged: Mapping[str, float]) -> None:
            if logged["step"] == 3:
                raise Interrupted

    halved = dataclasses.replace(whole, output_dir=tmp_path / "halved", progress=Interrupts())
    with pytest.raises(Interrupted):
        train(Tiny(), few, reward, halved)  # type: ignore[operator]
    resumed = Tiny()
    train(resumed, few, reward, dataclasses.replace(halved, progress=Progress()))  # type: ignore[operator]
    expected, found = weights(straight), weights(resumed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "halved")


class Depends(Reward):
    """Pure but for its last bits, as neural scorers are: they depend on what was asked before."""

    display, is_pure = "depends", True

    def __init__(self) -> None:
        self.asked = 0

    def score(self, batch: Batch) -> list[float | None]:
        self.asked += 1
        return [len(text) + 1e-3 * self.asked for text in batch.hypotheses]


@pytest.mark.slow
def test_kept_scores_go_on_with_the_training(few: Benchmark, tmp_path: Path) -> None:
    """A text that comes again after a resumption has the score it had, not one made anew."""
    config = small(tmp_path / "whole", max_steps=4, save_steps=2, temperature=1e-3, learning_rate=1e-9, limit=2)
    grpo.train(Tiny(), few, Depends(), config)  # so cold that each example's text comes again and again

    class Interrupts(Progress):
        def step(self, logged: Mapping[str, float]) -> None:
            if logged["step"] == 3:
                raise Interrupted

    halved = dataclasses.replace(config, output_dir=tmp_path / "halved", progress=Interrupts())
    with pytest.raises(Interrupted):
        grpo.train(Tiny(), few, Depends(), halved)
    second = Depends()
    grpo.train(Tiny(), few, second, dataclasses.replace(halved, progress=Progress()))
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "halved")
    assert second.asked == 0


class Raises(Reward):
    display = "raises"

    def score(self, batch: Batch) -> list[float | None]:
        raise ValueError("no dictionary")


def test_a_failing_reward_stops_the_run_and_is_named(few: Benchmark, tmp_path: Path) -> None:
    reward = Raises()
    reward.spec = load_reward("constant").spec
    with pytest.raises(SpeechbenchError, match=r"no dictionary"):
        grpo.train(Tiny(), few, reward, small(tmp_path))


class Hears(Reward):
    """Keeps what it was given."""

    display = "hears"
    needs = frozenset({"logprobs"})

    def __init__(self) -> None:
        self.prepared: list[Sequence[Example]] = []
        self.batches: list[Batch] = []

    def prepare(self, examples: Sequence[Example]) -> None:
        self.prepared.append(examples)

    def score(self, batch: Batch) -> list[float | None]:
        self.batches.append(batch)
        return [None if i == 1 else float(len(h)) for i, h in enumerate(batch.hypotheses)]


@pytest.mark.parametrize("kind", [(GrpoTrainer, GrpoConfig), (MixedGrpoTrainer, MixedGrpoConfig)])
@pytest.mark.parametrize("iterations", [1, 2])
def test_a_reward_meets_all_examples_first_and_the_log_probabilities_that_it_needs(
    few: Benchmark, tmp_path: Path, kind: tuple[type[GrpoTrainer], type[GrpoConfig]], iterations: int
) -> None:
    model, reward = Tiny(), Hears()
    config = kind[1](
        output_dir=tmp_path, max_completion_length=12, num_generations=3, temperature=0.7, num_iterations=iterations
    )
    trainer = kind[0](model, few, reward, config)
    assert [[e.id for e in examples] for examples in reward.prepared] == [[e.id for e in few.load("train")]]
    examples = few.load("train", 2)
    group = trainer.roll_out(examples)
    assert (group.old_PGT is None) == (iterations == 1)
    (batch,) = reward.batches
    assert batch.logprobs is not None
    texts = trainer.speech_model.texts_of(group.completions)
    for p, example in enumerate(examples):  # one by one, so that nothing can be mixed up
        for g in range(3):
            if (p, g) == (0, 1):
                continue  # left out by the reward, and so of the completions
            row = Completions(
                group.completions.tokens[p : p + 1, g : g + 1], group.completions.mask[p : p + 1, g : g + 1],
                group.completions.finished[p : p + 1, g : g + 1],
            )  # fmt: skip
            with torch.no_grad():
                logprobs = model.logprobs(model.embed([example]), row, 0.7)
            mean = logprobs.sum().item() / int(row.mask.sum())
            assert batch.hypotheses[3 * p + g] == texts[p][g]
            assert batch.logprobs[3 * p + g] == pytest.approx(mean, rel=1e-4, abs=1e-5)


def test_several_iterations_use_the_same_samples_and_clip(few: Benchmark, tmp_path: Path) -> None:
    config = small(tmp_path, max_steps=4, num_iterations=2, save_steps=2, learning_rate=2e-3, epsilon=0.05)
    grpo.train(Tiny(), few, load_reward("bleu", few), config)
    log = log_of(tmp_path)
    assert log[0]["clip_share"] == 0 and max(line["clip_share"] for line in log[1::2]) > 0
