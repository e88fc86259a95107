"""Mixed-policy GRPO's options on the embedded model: which members are references, and how they weigh."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.benchmarks.covost2 import Covost2
from speechbench.errors import UsageError
from speechbench.models.tiny import Tiny
from speechbench.rewards.loading import load_reward
from speechbench.trainers.grpo import Scored, policy_loss
from speechbench.trainers.mixed_grpo import Group, MixedGrpoConfig, MixedGrpoTrainer


def small(folder: Path, **options: Any) -> MixedGrpoConfig:
    settings = {"num_generations": 5, "max_completion_length": 12, "per_device_train_batch_size": 2}
    return MixedGrpoConfig(output_dir=folder, **{**settings, **options})


@pytest.fixture(scope="module")
def trainer(few_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> MixedGrpoTrainer:
    few = Covost2(root=str(few_folder))
    trainer = MixedGrpoTrainer(Tiny(), few, load_reward("bleu", few), small(tmp_path_factory.mktemp("run")))
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in trainer.speech_model.parameters():
            p.add_(0.05 * p.abs().mean() * torch.randn(p.shape, generator=g))  # away from the model before training
    return trainer


def rolled(trainer: MixedGrpoTrainer, examples: list[Example], **options: Any) -> Group:
    trainer.config = small(trainer.config.output_dir, **options)
    trainer._logged.clear()
    return trainer.roll_out(examples)


def test_examples_with_fewer_references_give_theirs_again(trainer: MixedGrpoTrainer, few: Benchmark) -> None:
    first, second = few.load("train", 2)
    two = dataclasses.replace(second, references=("Ja.", "Nein, danke schön, und auf Wiedersehen bis zum Montag."))
    group = rolled(trainer, [first, two], num_references=3)
    assert group.off_policy_PG.tolist() == [[False, False, True, True, True]] * 2
    texts = [texts[2:] for texts in trainer.speech_model.texts_of(group.completions)]
    assert texts == [[first.references[0]] * 3, [*two.references, "Ja."]]
    lengths = group.completions.mask[group.off_policy_PG].sum(-1)
    assert trainer._logged["overlong_references"] == [pytest.approx((lengths > 12).double().mean().item())]
    assert 0 < trainer._logged["overlong_references"][0] < 1
    samples = rolled(trainer, [first, two], num_references=1)  # a sample depends on its own place alone
    longest = min(group.completions.tokens.shape[-1], samples.completions.tokens.shape[-1], 12)
    assert torch.equal(group.completions.tokens[:, :2, :longest], samples.completions.tokens[:, :2, :longest])


def test_what_is_logged_of_outputs_is_of_the_policys_own(trainer: MixedGrpoTrainer, few: Benchmark) -> None:
    group = rolled(trainer, few.load("train", 2), num_references=3)
    own = group.completions.mask[:, :2]
    assert trainer._logged["completion_length"] == [pytest.approx(own.sum(-1).double().mean().item())]
    texts = [texts[:2] for texts in trainer.speech_model.texts_of(group.completions)]
    assert trainer._logged["distinct"] == [pytest.approx(sum(len(set(pair)) / 2 for pair in texts) / 2)]
    with torch.no_grad():
        trainer.loss(trainer.speech_model, group, group.completions.mask.sum())
        _, entropy = trainer.speech_model(group.examples, group.completions)
    of_own = [entropy[p, g, t].item() for p, g, t in own.nonzero().tolist()]
    assert trainer._logged["entropy"] == [pytest.approx(sum(of_own) / len(of_own))]


def test_what_is_logged_of_a_rewards_parts_is_of_the_policys_own(few: Benchmark, tmp_path: Path) -> None:
    """As the logged reward is, of which the only part is half."""
    double = MixedGrpoTrainer(Tiny(), few, load_reward("2*bleu", few), small(tmp_path))
    group = double.roll_out(few.load("train", 2))
    assert double.scorer is not None and (group.rewards_PG[:, 4] > 1.99).all()
    (mean,) = double.scorer.means().values()
    assert double._logged["reward"] == [pytest.approx(2 * mean)] and mean < 0.9


@pytest.mark.parametrize("options", [{}, {"references_in_baseline": False}, {"std_floor": 0.4}, {"num_references": 2}])
def test_references_in_and_out_of_the_baseline(
    trainer: MixedGrpoTrainer, few: Benchmark, options: dict[str, Any]
) -> None:
    group = rolled(trainer, few.load("train", 3), **options)
    shares, positive = [], []
    for rewards, advantages in zip(group.rewards_PG.tolist(), group.advantages_PG.tolist(), strict=True):
        samples = 5 - trainer.config.num_references
        compared = rewards if trainer.config.references_in_baseline else rewards[:samples]
        mean = sum(compared) / len(compared)
        std = math.sqrt(sum((r - mean) ** 2 for r in compared) / (len(compared) - 1))
        if len(set(compared)) == 1:
            expected = [0.0] * 5
        else:
            expected = [(r - mean) / (max(std, trainer.config.std_floor) + 1e-4) for r in rewards]
        assert advantages == pytest.approx(expected, rel=1e-5)
        positive += [a > 0 for a in expected[:samples]]
        shares.append((sum(map(abs, expected[samples:])), sum(map(abs, expected))))
    assert trainer._logged["positive_on_policy_share"] == [pytest.approx(sum(positive) / len(positive))]
    of_references, of_all = map(sum, zip(*shares, strict=True))
    assert trainer._logged["reference_advantage_share"] == [pytest.approx(of_references / of_all, rel=1e-5)]


def test_references_outside_of_the_baseline_lift_every_samples_advantage(
    trainer: MixedGrpoTrainer, few: Benchmark
) -> None:
    """What the option is for: the reference's reward, the highest there is, draws the mean away from the samples'."""
    inside, outside = (
        rolled(trainer, few.load("train", 4), references_in_baseline=flag, scale_rewards="none")
        for flag in (True, False)
    )
    rewards_PG = inside.rewards_PG
    assert torch.equal(rewards_PG, outside.rewards_PG)
    above_P = rewards_PG[:, 4] - rewards_PG[:, :4].mean(-1)
    assert (above_P > 0).all() and (rewards_PG[:, :4].std(-1) > 0).all()
    lifted_PG = (outside.advantages_PG - inside.advantages_PG).double()
    torch.testing.assert_close(lifted_PG, (above_P[:, None] / 5).expand_as(lifted_PG), rtol=1e-4, atol=1e-6)


def test_a_sample_without_a_reward_is_none_that_could_keep_a_positive_advantage(
    trainer: MixedGrpoTrainer, few: Benchmark
) -> None:
    group = rolled(trainer, few.load("train", 1))
    scored = {f.name: getattr(group, f.name) for f in dataclasses.fields(Scored)}
    for rewards, share in (([math.nan, 0.9, 0.0, math.nan, 0.8], [0.5]), ([math.nan] * 4 + [1.0], None)):
        trainer._logged.clear()
        trainer.compare([Scored(**{**scored, "rewards_PG": torch.tensor([rewards], dtype=torch.float64)})])
        assert trainer._logged.get("positive_on_policy_share") == share


def test_samples_that_are_all_alike_give_a_reference_no_scale_but_the_floor(
    trainer: MixedGrpoTrainer, few: Benchmark
) -> None:
    group = rolled(trainer, few.load("train", 1))
    rewards_PG = torch.tensor([[0.3, 0.3, 0.3, 0.3, 1.0]], dtype=torch.float64)
    scored = {f.name: getattr(group, f.name) for f in dataclasses.fields(Scored)}
    found = {}
    for floor in (0.0, 0.5):
        trainer.config = small(trainer.config.output_dir, references_in_baseline=False, std_floor=floor)
        (compared,) = trainer.compare([Scored(**{**scored, "rewards_PG": rewards_PG})])
        found[floor] = compared.advantages_PG.tolist()[0]
    assert found[0.0] == [0.0] * 5
    assert found[0.5] == [0.0] * 4 + [pytest.approx(0.7 / 0.5001)]


def gradient(trainer: MixedGrpoTrainer, group: Group) -> torch.Tensor:
    """In the log-probabilities, weighted by how many tokens count."""
    with torch.no_grad():
        logprobs, _ = trainer.speech_model(group.examples, group.completions)
    leaf = logprobs.clone().requires_grad_()
    tokens = group.completions.mask.sum()
    (policy_loss(leaf, group, tokens, trainer.config, trainer.shaped).loss * tokens).backward()
    assert leaf.grad is not None
    return leaf.grad


def test_what_a_references_tokens_weigh(trainer: MixedGrpoTrainer, few: Benchmark) -> None:
    """π unshaped, π·γ/(π + γ)² shaped; and the gradient of k3, 1 − π_ref/π, where the KL is on references too."""
    examples = few.load("train", 2)
    cases: list[dict[str, Any]] = [
        {}, {"off_policy": "luffy"}, {"off_policy": "luffy", "gamma": 0.5}, {"kl_on_references": True, "beta": 0.3},
    ]  # fmt: skip
    found = []
    for options in cases:
        group = rolled(trainer, examples, **options)
        with torch.no_grad():
            logprobs, _ = trainer.speech_model(group.examples, group.completions)
        pi, gamma = logprobs.exp(), trainer.config.gamma
        weight = pi if trainer.config.off_policy == "none" else pi * gamma / (pi + gamma) ** 2
        expected = -weight * group.advantages_PG[..., None]
        if trainer.config.kl_on_references:
            assert group.reference_PGT is not None
            expected += 0.3 * (1 - (group.reference_PGT - logprobs).exp())
        ours = gradient(trainer, group)
        is_reference = group.off_policy_PG[..., None] & group.completions.mask
        torch.testing.assert_close(ours[is_reference], expected[is_reference], rtol=1e-4, atol=1e-5)
        found.append(ours[is_reference])
    assert all(not torch.allclose(found[0], other, rtol=1e-3) for other in found[1:])
    assert not torch.allclose(found[1], found[2], rtol=1e-3)


def test_a_kl_in_the_reward_spares_references_unless_asked(trainer: MixedGrpoTrainer, few: Benchmark) -> None:
    examples = few.load("train", 2)
    plain = rolled(trainer, examples)
    spared = rolled(trainer, examples, kl_estimator="k1_reward", beta=0.3)
    not_spared = rolled(trainer, examples, kl_estimator="k1_reward", beta=0.3, kl_on_references=True)
    off = plain.off_policy_PG
    assert torch.equal(spared.rewards_PG[off], plain.rewards_PG[off])
    assert (spared.rewards_PG != plain.rewards_PG)[~off].all()
    assert torch.equal(not_spared.rewards_PG[~off], spared.rewards_PG[~off])
    assert (not_spared.rewards_PG != plain.rewards_PG)[off].all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_references": 0}, "num_references=0: give 1 or more"),
        ({"num_references": 5}, "num_references=5: of num_generations=5 at least 1 must be samples: give at most 4"),
        (
            {"num_references": 4, "references_in_baseline": False},
            "num_references=4: of num_generations=5 at least 2 must be samples to compare with .*: give at most 3",
        ),
        ({"off_policy": "lufy"}, "off_policy='lufy': did you mean 'luffy'?"),
        ({"gamma": 0.0}, "gamma=0.0: give a number above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        small(Path(), **options)


def test_what_does_nothing_is_said() -> None:
    assert small(Path()).notes() == small(Path(), off_policy="luffy", gamma=0.2).notes() == []
    (gamma,) = small(Path(), gamma=0.2).notes()
    assert gamma.startswith("gamma=0.2 changes nothing: off_policy='none'")
    (kl,) = small(Path(), beta=0.0, kl_on_references=True).notes()
    assert kl.startswith("kl_on_references=True changes nothing: with beta=0")
    (floor,) = small(Path(), references_in_baseline=False).notes()
    assert "set std_floor" in floor
    assert small(Path(), references_in_baseline=False, std_floor=0.05).notes() == []
