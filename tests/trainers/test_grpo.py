"""GRPO's options on the embedded model: each changes what is learned, or is said not to."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.benchmarks.covost2 import Covost2
from speechbench.models.base import Completions
from speechbench.models.tiny import Tiny
from speechbench.progress import Progress
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.loading import load_reward
from speechbench.trainers import grpo
from speechbench.trainers.grpo import GrpoConfig, GrpoTrainer, Scored
from speechbench.trainers.losses import advantages, group_std

CISPO = {"loss_type": "cispo", "epsilon_high": 2.0}


def small(folder: Path, **options: Any) -> GrpoConfig:
    settings = {
        "max_steps": 2, "per_device_train_batch_size": 2, "num_generations": 4, "max_completion_length": 24,
        "learning_rate": 1e-3, "warmup_ratio": 0.0, "save_steps": 2, "epsilon": 0.02,
    }  # fmt: skip
    return GrpoConfig(output_dir=folder, **{**settings, **options})


def trainer_of(few: Benchmark, folder: Path, **options: Any) -> GrpoTrainer:
    return GrpoTrainer(Tiny(), few, load_reward("bleu", few), small(folder, **options))


def move(model: torch.nn.Module) -> None:
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * p.abs().mean() * torch.randn(p.shape, generator=g))


@pytest.fixture(scope="module")
def second_update(few_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[GrpoTrainer, list[Scored]]:
    """Two batches whose samples the model has left behind, and a trainer to learn from them."""
    few = Covost2(root=str(few_folder))
    trainer = trainer_of(few, tmp_path_factory.mktemp("run"), num_iterations=2)
    move(trainer.speech_model)
    examples = few.load("train", 4)
    scored = [trainer.score(list(batch)) for batch in (examples[:1], examples[1:3])]
    move(trainer.speech_model)
    return trainer, scored


def gradient(trainer: GrpoTrainer, scored: list[Scored], **options: Any) -> torch.Tensor:
    """Of the window's loss in all weights, at the second update, or at the first with num_iterations=1."""
    trainer.config = small(trainer.config.output_dir, **{"num_iterations": 2, **options})
    if trainer.config.num_iterations == 1:
        scored = [dataclasses.replace(batch, old_PGT=None) for batch in scored]
    trainer.speech_model.zero_grad()
    tokens = torch.stack([batch.completions.mask.sum() for batch in scored]).sum()
    for group in trainer.compare(scored):
        trainer.loss(trainer.speech_model, group, tokens).backward()
    return torch.cat([p.grad.flatten().clone() for p in trainer.speech_model.parameters() if p.grad is not None])


@pytest.mark.parametrize(
    ("common", "option"),
    [
        ({}, {"loss_type": "grpo"}), ({}, {"loss_type": "dr_grpo"}), ({}, {"loss_type": "bnpo"}), ({}, CISPO),
        (CISPO, {"epsilon_high": 1.0}), ({}, {"epsilon_high": 0.5}), ({}, {"epsilon": 0.5}),
        ({"loss_type": "grpo"}, {"importance_sampling_level": "sequence"}), ({}, {"kl_estimator": "k3_ratio"}),
        ({}, {"beta": 0.5}), ({}, {"scale_rewards": "batch"}), ({}, {"scale_rewards": "none"}),
        ({}, {"std_floor": 0.5}), ({"scale_rewards": "batch"}, {"std_floor": 0.5}),
    ],
    ids=str,
)  # fmt: skip
def test_an_option_changes_the_gradient(
    second_update: tuple[GrpoTrainer, list[Scored]], common: dict[str, Any], option: dict[str, Any]
) -> None:
    without, having = gradient(*second_update, **common), gradient(*second_update, **{**common, **option})
    assert not torch.allclose(without, having, rtol=1e-3, atol=1e-5 * float(without.abs().max()))


INERT: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"num_iterations": 1}, {"epsilon": 0.5}, "epsilon=0.5 changes nothing: with one update"),
    ({"num_iterations": 1}, {"epsilon_high": 0.5}, "epsilon_high=0.5 changes nothing: with one update"),
    ({"num_iterations": 1}, CISPO, "loss_type='cispo' trains as 'dapo' does"),
    (
        {"num_iterations": 1, "loss_type": "grpo"},
        {"importance_sampling_level": "sequence"},
        "importance_sampling_level='sequence' changes nothing: with one update",
    ),
    (CISPO, {"epsilon": 0.5}, "epsilon=0.5 changes nothing: loss_type='cispo'"),
    ({"beta": 0.0}, {"kl_estimator": "k3_ratio"}, "kl_estimator='k3_ratio' changes nothing: with beta=0"),
    ({"scale_rewards": "none"}, {"std_floor": 0.5}, "std_floor=0.5 changes nothing: with scale_rewards='none'"),
    ({}, {"loss_type": "bnpo"}, "loss_type='bnpo' trains as 'dapo' does: with one forward pass per step"),
]


@pytest.mark.parametrize(("common", "option", "said"), INERT, ids=lambda value: value if isinstance(value, str) else "")
def test_an_option_that_is_said_to_do_nothing_does_nothing(
    second_update: tuple[GrpoTrainer, list[Scored]], common: dict[str, Any], option: dict[str, Any], said: str
) -> None:
    trainer, scored = second_update
    scored = scored[1:]  # one forward pass, for bnpo
    if common.get("beta") == 0:
        scored = [dataclasses.replace(batch, reference_PGT=None) for batch in scored]
    without, having = gradient(trainer, scored, **common), gradient(trainer, scored, **{**common, **option})
    torch.testing.assert_close(without, having, rtol=1e-4, atol=1e-5 * float(without.abs().max()))
    config = small(Path(), **{"num_iterations": 2, **common, **option})
    assert any(note.startswith(said) for note in config.notes())


def test_nothing_is_said_of_defaults_or_of_options_that_act() -> None:
    plain = {"epsilon": 0.2}
    assert small(Path(), **plain).notes() == []
    assert small(Path(), **plain, loss_type="bnpo").notes(processes=2) == []
    assert small(Path(), num_iterations=2, epsilon_high=0.28, kl_estimator="k3_ratio", std_floor=0.1).notes() == []
    acting = {"loss_type": "grpo", "importance_sampling_level": "sequence", "kl_estimator": "k3_ratio"}
    assert small(Path(), **plain, **acting).notes() == []
    (note,) = small(Path(), **plain, loss_type="dr_grpo").notes()
    assert "set scale_rewards: none" in note
    assert small(Path(), **plain, loss_type="dr_grpo", scale_rewards="none").notes() == []


def test_a_window_of_two_batches_teaches_what_one_of_both_does(
    second_update: tuple[GrpoTrainer, list[Scored]], few: Benchmark
) -> None:
    """Lengths differ between the batches; `bnpo` alone depends on who is batched with whom."""
    trainer, (first, second) = second_update
    width = max(first.completions.tokens.shape[-1], second.completions.tokens.shape[-1])

    def joined(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.nn.functional.pad(x, (0, width - x.shape[-1])) if x.ndim == 3 else x for x in (a, b)])

    fields = {f.name: (getattr(first, f.name), getattr(second, f.name)) for f in dataclasses.fields(Scored)}
    completions = [
        (getattr(first.completions, n), getattr(second.completions, n)) for n in ("tokens", "mask", "finished")
    ]
    whole = Scored(
        first.examples + second.examples,
        Completions(*(joined(*pair) for pair in completions)),
        *(joined(*fields[n]) for n in ("rewards_PG", "off_policy_PG", "kl_PG", "reference_PGT", "old_PGT")),
    )
    for options in ({}, {"loss_type": "grpo"}, {"loss_type": "dr_grpo"}, CISPO, {"scale_rewards": "batch"}):
        apart, together = gradient(trainer, [first, second], **options), gradient(trainer, [whole], **options)
        torch.testing.assert_close(apart, together, rtol=1e-3, atol=1e-5 * float(together.abs().max()))
    apart, together = (gradient(trainer, w, loss_type="bnpo") for w in ([first, second], [whole]))
    assert not torch.allclose(apart, together, rtol=1e-3, atol=1e-5 * float(together.abs().max()))


class Hears(Progress):
    def __init__(self) -> None:
        self.told: list[str] = []

    def tell(self, text: str) -> None:
        self.told.append(text)


def test_without_beta_there_is_no_model_before_training(
    few: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(self: Tiny) -> Tiny:
        raise AssertionError("a copy was made")

    monkeypatch.setattr(Tiny, "frozen_copy", copied)
    hears = Hears()
    options = {"beta": 0.0, "kl_estimator": "k3_ratio", "epsilon": 0.3, "max_steps": 1, "progress": hears}
    result = grpo.train(Tiny(), few, load_reward("bleu", few), small(tmp_path, **options))
    (line,) = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert "kl" not in line and line["entropy"] > 0
    assert [note.split(" changes nothing")[0] for note in hears.told] == [
        "grpo on reward BLEU: epsilon=0.3", "grpo on reward BLEU: kl_estimator='k3_ratio'",
    ]  # fmt: skip
    assert list(result.warnings) == hears.told


def test_a_kl_in_the_reward_is_taken_off_before_rewards_are_compared(few: Benchmark, tmp_path: Path) -> None:
    trainer = trainer_of(few, tmp_path, kl_estimator="k1_reward", beta=0.3)
    assert trainer.before_training is not None
    move(trainer.speech_model)
    examples = few.load("train", 2)
    with_kl = trainer.roll_out(examples)
    trainer.config = small(tmp_path, beta=0.3)
    without = trainer.roll_out(examples)
    for p, example in enumerate(examples):
        for g in range(4):
            row = Completions(
                *(getattr(without.completions, n)[p : p + 1, g : g + 1] for n in ("tokens", "mask", "finished"))
            )
            with torch.no_grad():
                now, before = (
                    model.logprobs(model.embed([example]), row)
                    for model in (trainer.speech_model, trainer.before_training)
                )
            log_ratio = sum((now - before)[row.mask].tolist())
            expected = without.rewards_PG[p, g].item() - 0.3 * log_ratio
            assert abs(log_ratio) > 1e-3 and with_kl.rewards_PG[p, g].item() == pytest.approx(expected, abs=1e-4)
    torch.testing.assert_close(
        with_kl.advantages_PG, advantages(with_kl.rewards_PG, group_std(with_kl.rewards_PG)).float()
    )
    assert trainer._logged["reward"][0] == trainer._logged["reward"][1]  # the log shows the reward itself


class Listed(Reward):
    """Gives each completion of a step what stands in a list, whatever it says."""

    display = "listed"

    def __init__(self, rewards: Sequence[float | None]) -> None:
        self.rewards = rewards

    def score(self, batch: Batch) -> Sequence[float | None]:
        return self.rewards


def test_what_has_no_reward_or_nobody_to_be_compared_with_leaves_the_loss(few: Benchmark, tmp_path: Path) -> None:
    listed = Listed([None, 0.2, 0.9, 0.4, None, None, 0.5, None, None, None, None, None])
    trainer = GrpoTrainer(Tiny(), few, listed, small(tmp_path, per_device_train_batch_size=3))
    group = trainer.roll_out(few.load("train", 3))
    assert group.completions.mask.any(-1).tolist() == [[False, True, True, True], [False] * 4, [False] * 4]
    assert group.samples == 3 and (group.advantages_PG[1:] == 0).all()


class ByLength(Reward):
    display = "length"

    def score(self, batch: Batch) -> Sequence[float | None]:
        return [float(len(text)) for text in batch.hypotheses]


@pytest.mark.parametrize("longest", [14, 2])
def test_cut_completions_leave_the_loss_but_not_the_comparison(few: Benchmark, tmp_path: Path, longest: int) -> None:
    """With two tokens at most all are cut: nothing is learned then."""
    examples: list[Example] = few.load("train", 2)
    options = {"max_completion_length": longest, "num_generations": 6}
    trainer = GrpoTrainer(Tiny(), few, ByLength(), small(tmp_path, **options))
    kept = trainer.roll_out(examples)
    trainer.config = small(tmp_path, **options, mask_truncated_completions=True)
    masked = trainer.roll_out(examples)
    finished = masked.completions.finished
    assert not finished.all() and finished.any() == (longest == 14)
    assert torch.equal(masked.advantages_PG, kept.advantages_PG)
    assert torch.equal(masked.completions.mask, kept.completions.mask & finished[..., None])
    assert masked.samples == finished.sum() and kept.samples == 12
    if longest == 2:
        loss = trainer.loss(trainer.speech_model, masked, masked.completions.mask.sum())
        loss.backward()
        assert loss == 0 and all((p.grad == 0).all() for p in trainer.speech_model.parameters() if p.grad is not None)
