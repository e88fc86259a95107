"""Training with LoRA: resumed to the bit, in stages, and saved without the weights that stay."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from speechbench.benchmarks.base import Benchmark
from speechbench.models.loading import load_model
from speechbench.models.tiny import FOLDER, Tiny
from speechbench.progress import Progress
from speechbench.rewards.loading import load_reward
from speechbench.trainers import grpo, sft
from speechbench.trainers.grpo import GrpoConfig, GrpoTrainer
from speechbench.trainers.sft import SftConfig

OPTIONS = {"lora_rank": 4, "lora_targets": "q_proj+v_proj"}


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))


@pytest.mark.slow
def test_resumed_equals_uninterrupted_and_checkpoints_are_small(few: Benchmark, tmp_path: Path) -> None:
    reward = load_reward("bleu", few)
    whole = GrpoConfig(output_dir=tmp_path / "whole", max_steps=4, per_device_train_batch_size=2, num_generations=4,
                       save_steps=2, seed=4, max_completion_length=12, beta=0.02)  # fmt: skip
    straight = Tiny(**OPTIONS)
    frozen = {name: p.clone() for name, p in straight.named_parameters() if not p.requires_grad}
    grpo.train(straight, few, reward, whole)

    class Interrupts(Progress):
        def step(self, logged: Mapping[str, float]) -> None:
            if logged["step"] == 3:
                raise KeyError

    halved = dataclasses.replace(whole, output_dir=tmp_path / "halved", progress=Interrupts())
    with pytest.raises(KeyError):
        grpo.train(Tiny(**OPTIONS), few, reward, halved)
    resumed = Tiny(**OPTIONS)
    grpo.train(resumed, few, reward, dataclasses.replace(halved, progress=Progress()))
    expected, found = straight.network.state_dict(), resumed.network.state_dict()
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)
    moved = {n for n, p in Tiny(**OPTIONS).network.state_dict().items() if not torch.equal(p, expected[n])}
    assert any(".lora_B" in name for name in moved) and any("projector" in name for name in moved)
    assert all(torch.equal(p, frozen[name]) for name, p in resumed.named_parameters() if name in frozen)
    final = tmp_path / "halved" / "checkpoints" / "final"
    assert size_of(final) < 0.5 * size_of(FOLDER)
    assert torch.equal(*(x.network.state_dict()[min(moved)] for x in (load_model(str(final)), resumed)))  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_later_stage_goes_on_with_the_adapter_and_is_measured_against_its_start(
    few: Benchmark, tmp_path: Path
) -> None:
    config = SftConfig(output_dir=tmp_path / "sft", max_steps=2, per_device_train_batch_size=4, learning_rate=1e-3)
    result = sft.train(Tiny(**OPTIONS), few, None, config)
    model = Tiny(**OPTIONS)
    model.load_weights(result.model_folder)
    examples = few.load("train", 2)
    completions = model.completions_of([["Anna"], ["Peter"]])
    with torch.no_grad():
        start = model(examples, completions)[0]
        assert not torch.equal(start, Tiny()(examples, completions)[0])
        trainer = GrpoTrainer(
            model, few, load_reward("bleu", few),
            GrpoConfig(output_dir=tmp_path / "grpo", max_steps=2, per_device_train_batch_size=2, num_generations=4,
                       max_completion_length=12, beta=0.02, learning_rate=1e-3),
        )  # fmt: skip
    trainer.run()
    with torch.no_grad():
        assert trainer.before_training is not None
        assert torch.equal(trainer.before_training(examples, completions)[0], start)
        assert not torch.equal(model(examples, completions)[0], start)
