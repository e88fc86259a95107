"""Rejection-sampling SFT: which completion is kept, against a slow search; its loss, against SFT's on what is kept."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechbench.benchmarks.base import Benchmark
from speechbench.errors import UsageError
from speechbench.models.base import Completions, Sampling
from speechbench.models.tiny import Tiny
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.loading import load_reward
from speechbench.trainers import rejection_sft
from speechbench.trainers.rejection_sft import RejectionSftConfig, RejectionSftTrainer, best_of
from speechbench.trainers.sft import References, SftConfig, SftTrainer

NAN = float("nan")
rewards = st.lists(st.one_of(st.just(NAN), st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0])), min_size=4, max_size=4)


def slow_best(group: Sequence[float], finished: Sequence[bool]) -> int | None:
    """Place of the first of the highest rewards of whole members; `None` where it is higher than no other."""
    scored = [reward for reward in group if not math.isnan(reward)]
    whole = [(reward, place) for place, reward in enumerate(group) if not math.isnan(reward) and finished[place]]
    highest = max((reward for reward, _ in whole), default=None)
    if highest is None or all(reward >= highest for reward in scored):
        return None
    return min(place for reward, place in whole if reward == highest)


@given(st.lists(rewards, min_size=1, max_size=5), st.integers(0, 2**31))
def test_the_first_of_the_best_whole_ones_is_kept_and_nothing_of_a_group_without_one(
    groups: list[list[float]], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 7, (len(groups), 4), generator=generator)
    tokens = torch.randint(100, (len(groups), 4, 6), generator=generator)
    mask = torch.arange(6) < lengths[..., None]
    finished = torch.rand(lengths.shape, generator=generator) < 0.5
    kept = best_of(Completions(tokens, mask, finished), torch.tensor(groups, dtype=torch.float64))
    for p, group in enumerate(groups):
        best = slow_best(group, finished[p].tolist())
        learned = kept.tokens[p, 0][kept.mask[p, 0]].tolist()
        assert learned == ([] if best is None else tokens[p, best, : lengths[p, best]].tolist())
        assert best is None or kept.finished[p, 0]
    assert kept.tokens.shape == kept.mask.shape and kept.tokens.shape[1] == 1
    assert kept.mask.shape[-1] == max(1, int(kept.mask.sum(-1).max()))  # no longer than need be


class Listed(Reward):
    """Gives each member of a group what stands in a list, whatever it says."""

    display = "listed"

    def __init__(self, rewards: Sequence[float | None]) -> None:
        self.rewards = rewards

    def score(self, batch: Batch) -> list[float | None]:
        return list(self.rewards)


def config(folder: Path, **changes: object) -> RejectionSftConfig:
    settings = {"max_steps": 2, "per_device_train_batch_size": 3, "num_generations": 4, "max_completion_length": 96}
    return RejectionSftConfig(output_dir=folder, **{**settings, **changes})  # type: ignore[arg-type]


def test_the_loss_is_sfts_on_what_was_kept(few: Benchmark, tmp_path: Path) -> None:
    """Three prompts: the third member is the best of the first, the last of the second; the third has none."""
    model, examples = Tiny(), few.load("train", 3)
    listed = Listed([0.1, 0.2, 0.9, 0.9, 0.3, 0.2, None, 0.7, 0.4, 0.4, 0.4, None])
    trainer = RejectionSftTrainer(model, few, listed, config(tmp_path / "ours", temperature=0.7, seed=5))
    kept = trainer.roll_out(examples)
    samples = model.sample(model.embed(examples), 4, Sampling(0.7, 96, seed=5, step=0))
    assert samples.finished[0, 2] and samples.finished[1, 3]
    for p, member in ((0, 2), (1, 3)):
        mask = samples.mask[p, member]
        assert (
            kept.completions.tokens[p, 0][kept.completions.mask[p, 0]].tolist()
            == samples.tokens[p, member][mask].tolist()
        )
    assert not kept.completions.mask[2].any()
    sft = SftTrainer(model, few, SftConfig(output_dir=tmp_path / "sft", max_steps=1))
    references = References(
        examples[:2],
        Completions(kept.completions.tokens[:2], kept.completions.mask[:2], kept.completions.finished[:2]),
    )
    tokens = kept.completions.mask.sum()
    with torch.no_grad():
        loss, expected = trainer.loss(model, kept, tokens), sft.loss(model, references, tokens)
    torch.testing.assert_close(loss, expected)
    assert loss > 0


def test_without_a_reward_nothing_is_learned_and_it_is_counted(few: Benchmark, tmp_path: Path) -> None:
    """A constant reward prefers nothing; one that applies to some prompts only leaves the others out."""
    model = Tiny()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rejection_sft.train(model, few, load_reward("constant", few), config(tmp_path / "constant"))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    line = json.loads((tmp_path / "constant" / "train.jsonl").read_text().splitlines()[-1])
    assert (line["skipped"], line["unscored"], line["zero_variance_groups"]) == (1.0, 0.0, 1.0)
    assert "kept_reward" not in line
    trainer = RejectionSftTrainer(
        model, few, Listed([None] * 4 + [0.0, 0.0, 1.0, 0.0] + [0.5] * 4), config(tmp_path / "some")
    )
    trainer.roll_out(few.load("train", 3))
    assert trainer._logged["unscored"] == [pytest.approx(1 / 3)]
    assert trainer._logged["skipped"] == [pytest.approx(2 / 3)]
    assert trainer._logged["kept_reward"] == [1.0]


def test_what_was_cut_is_not_learned(few: Benchmark, tmp_path: Path) -> None:
    trainer = RejectionSftTrainer(Tiny(), few, Listed([0.1, 0.2, 0.9, 0.3]), config(tmp_path, max_completion_length=2))
    kept = trainer.roll_out(few.load("train", 1))
    assert not kept.completions.mask.any()
    assert trainer._logged["truncated"] == trainer._logged["skipped"] == [1.0] and "kept_reward" not in trainer._logged


@pytest.mark.slow
def test_the_reward_rises_on_what_it_learns_from(few: Benchmark, tmp_path: Path) -> None:
    bleu = load_reward("bleu", few)
    settings = {"max_steps": 12, "limit": 2, "per_device_train_batch_size": 2, "learning_rate": 3e-4}
    rejection_sft.train(Tiny(), few, bleu, config(tmp_path, **settings, num_generations=8, max_completion_length=32))
    lines = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert sum(line["reward"] for line in lines[-3:]) > sum(line["reward"] for line in lines[:3])
    assert all(line["kept_reward"] >= line["reward"] for line in lines if "kept_reward" in line)


def test_a_reward_on_the_models_own_log_probabilities_is_given_them(few: Benchmark, tmp_path: Path) -> None:
    trainer = RejectionSftTrainer(Tiny(), few, load_reward("confidence", few), config(tmp_path))
    examples = few.load("train", 2)
    kept = trainer.roll_out(examples)
    samples = trainer.speech_model.sample(trainer.speech_model.embed(examples), 4, Sampling(1.0, 96))
    with torch.no_grad():
        logprobs, _ = trainer.speech_model(examples, samples)
    assert samples.finished.all()
    best = (logprobs.sum(-1) / samples.mask.sum(-1)).argmax(-1)
    for p in range(2):
        written = samples.tokens[p, best[p]][samples.mask[p, best[p]]]
        assert kept.completions.tokens[p, 0][kept.completions.mask[p, 0]].tolist() == written.tolist()


@pytest.mark.parametrize(("name", "value"), [("num_generations", 1), ("temperature", 0.0), ("temperature", NAN)])
def test_what_makes_no_sense_is_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"^{name}={value!r}: "):
        config(Path(), **{name: value})


@pytest.mark.slow
def test_resumed_equals_uninterrupted(few: Benchmark, tmp_path: Path) -> None:
    bleu, settings = load_reward("bleu", few), {"save_steps": 2, "num_generations": 2, "seed": 3}
    straight, stopped = Tiny(), Tiny()
    rejection_sft.train(straight, few, bleu, config(tmp_path / "one", max_steps=4, **settings))
    trainer = RejectionSftTrainer(stopped, few, bleu, config(tmp_path / "two", max_steps=4, **settings))
    learned = trainer.step_learned

    def stop() -> None:
        learned()
        if trainer.state.global_step == 3:
            raise RuntimeError("killed")

    trainer.step_learned = stop  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="killed"):
        trainer.run()
    again = Tiny()
    rejection_sft.train(again, few, bleu, config(tmp_path / "two", max_steps=4, **settings))
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in straight.state_dict().items())
