"""What is told of the costs is what the runs then do, and no less."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from speechbench.ablation import run_all
from speechbench.cli import main
from speechbench.costs import Cost, costs, total
from speechbench.models.base import SpeechModel
from speechbench.models.pretrained import PretrainedSpeechModel
from speechbench.planning import Plan, plan, replan
from speechbench.progress import Progress
from speechbench.rewards.overlap import Bleu, Chrf

SMALL = {"per_device_train_batch_size": 2, "max_completion_length": 6}
CONFIG: dict[str, dict[str, Any]] = {
    "sft": {**SMALL, "gradient_accumulation_steps": 2},
    "grpo": {**SMALL, "num_generations": 3, "eval_steps": 2, "eval_limit": 3, "metric_for_best_model": "ter"},
    "mixed-grpo": {**SMALL, "num_generations": 3, "num_iterations": 2, "beta": 0.0, "save_steps": 2},
    "rejection-sft": {**SMALL, "num_generations": 3},
}


def planned(out: Path, trainers: str, **grid: Any) -> Plan:
    config = {name: CONFIG[name] for name in trainers.split()}
    rewards = [] if trainers == "sft" else ["bleu"]
    return plan(rewards, trainers.split(), limit=4, steps=3, metrics=["ter"], config=config, out=out, **grid)


def done(found: Plan, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what doing a plan's runs takes."""
    counted: Counter[str] = Counter()
    sample, forward, encode = PretrainedSpeechModel.sample, SpeechModel.forward, PretrainedSpeechModel._encode

    def sampled(self: Any, prompts: Any, group_size: int, sampling: Any) -> Any:
        completions = sample(self, prompts, group_size, sampling)
        kind = "answers" if group_size == 1 else "samples"
        counted[kind] += len(completions.mask.flatten(0, 1))
        counted[f"{kind} tokens"] += int(completions.mask.sum())
        return completions

    def learned(self: Any, examples: Any, completions: Any, *more: Any, **others: Any) -> Any:
        counted["passes"] += 1
        counted["tokens"] += int(completions.mask.sum())
        return forward(self, examples, completions, *more, **others)

    def encoded(self: Any, example: Any) -> Any:
        counted["embedded"] += 1
        return encode(self, example)

    def scored(kind: type) -> None:
        score = kind.score  # type: ignore[attr-defined]

        def count(self: Any, batch: Any) -> Any:
            counted[kind.__name__] += len(batch.hypotheses)
            return score(self, batch)

        monkeypatch.setattr(kind, "score", count)

    monkeypatch.setattr(PretrainedSpeechModel, "sample", sampled)
    monkeypatch.setattr(SpeechModel, "forward", learned)
    monkeypatch.setattr(PretrainedSpeechModel, "_encode", encoded)
    scored(Bleu), scored(Chrf)
    run_all(found, Progress())
    return counted


@pytest.mark.parametrize("trainer", CONFIG)
def test_a_run_takes_what_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainer: str) -> None:
    found = planned(tmp_path, trainer)
    told = costs(found)
    assert told.unfinished == 2 and told.runs[0].cost.steps == 0
    cost = told.total
    took = done(found, monkeypatch)
    assert cost.steps == 3 and cost.prompts == (12 if trainer == "sft" else 6)
    assert cost.sampled_completions == took["samples"]
    assert cost.forward_passes == took["passes"]
    assert cost.final_answers + cost.validation_answers == took["answers"]
    assert took["samples tokens"] <= cost.sampled_tokens and took["answers tokens"] <= cost.answer_tokens
    assert took["Bleu"] <= sum(cost.reward_calls.values()) and set(cost.reward_calls) <= {"bleu"}
    assert bool(took["Bleu"]) == bool(cost.reward_calls)
    after = costs(found)
    assert after.unfinished == 0 and after.total == Cost() and after.runs[1].cost == told.runs[1].cost


@pytest.mark.parametrize(
    ("limit", "settings"),
    [
        (3, {"gradient_accumulation_steps": 2}),  # one batch in an epoch, so in a window too
        pytest.param(  # windows of 2 and of 1 batches
            6, {"gradient_accumulation_steps": 2, "num_iterations": 2, "save_steps": 2}, marks=pytest.mark.slow
        ),
        pytest.param(  # the section's own limit, less than a batch
            None, {"limit": 1, "kl_estimator": "k1_reward"}, marks=pytest.mark.slow
        ),
    ],
)
def test_windows_that_are_not_full_are_counted_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None, settings: dict[str, Any]
) -> None:
    config = {"grpo": {**SMALL, "num_generations": 2, **settings}}
    whole = plan(["bleu"], ["grpo"], limit=limit, steps=3, metrics=["ter"], config=config, out=tmp_path)
    found = dataclasses.replace(whole, examples=whole.examples[:2])
    cost, took = costs(found).total, done(found, monkeypatch)
    assert (cost.sampled_completions, cost.forward_passes) == (took["samples"], took["passes"])
    assert took["samples tokens"] <= cost.sampled_tokens and took["Bleu"] <= cost.reward_calls["bleu"]


def test_the_counts_by_hand(tmp_path: Path) -> None:
    found = planned(tmp_path, "grpo mixed-grpo")
    grpo, mixed = (run.cost for run in costs(found).runs[1:])
    assert grpo.sampled_completions == 3 * 2 * 3 and grpo.sampled_tokens == 18 * 6 == grpo.learned_tokens
    assert grpo.forward_passes == 3 + 3  # the model before training too
    assert grpo.validation_answers == 2 * 3 and grpo.reward_calls == {"bleu": 18}  # after steps 2 and 3
    assert mixed.sampled_completions == 2 * 2 * 2  # steps 1 and 3 sample; of each group one is the reference
    assert mixed.forward_passes == 3 + 2 and mixed.learned_tokens == 3 * 2 * 3 * 6  # log-probabilities of both draws
    assert mixed.reward_calls == {"bleu": 2 * 2 * 3} and mixed.validation_answers == 0


def test_parts_of_a_reward_are_counted_each(tmp_path: Path) -> None:
    found = plan(["0.5*bleu + 0.5*chrf*language"], ["rejection-sft"], limit=2, steps=1, metrics=["ter"], out=tmp_path)
    assert costs(found).total.reward_calls == dict.fromkeys(("bleu", "chrf", "language"), 2 * 8)


def test_sampled_answers_and_controls_count(tmp_path: Path) -> None:
    plain, more = planned(tmp_path, "sft"), planned(tmp_path, "sft", sampled_passes=3)
    assert costs(more).total.final_answers == 4 * costs(plain).total.final_answers
    controls = {run.run.label: run.cost for run in costs(planned(tmp_path, "grpo", controls=True)).runs}
    base = controls["base"]
    assert controls["no-audio"] == base and base.audio_seconds > 0
    assert controls["question-only"] == dataclasses.replace(base, audio_seconds=0.0)


def test_a_frozen_encoder_hears_each_recording_once(tmp_path: Path) -> None:
    found = planned(tmp_path, "sft")
    seconds = [example.audio.seconds() for example in found.benchmark.load("train", 4) if example.audio]
    tested = [example.audio.seconds() for example in found.examples if example.audio]
    trained = costs(found).runs[1].cost.audio_seconds - sum(tested)
    assert trained == pytest.approx(sum(seconds))  # of 12 prompts 4 differ
    whole = replan(found)
    for parameter in whole.model.parts["encoder"].parameters():  # type: ignore[attr-defined]
        parameter.requires_grad_(True)
    assert costs(whole).runs[1].cost.audio_seconds - sum(tested) == pytest.approx(3 * sum(seconds))


def test_costs_add_up() -> None:
    one = Cost(steps=1, reward_calls={"a": 1, "b": 2}, audio_seconds=0.5)
    assert total([one, Cost(steps=2, reward_calls={"b": 3})]) == Cost(
        steps=3, reward_calls={"a": 1, "b": 5}, audio_seconds=0.5
    )
    assert total([]) == Cost()


@pytest.mark.slow
def test_the_command_tells_before_it_begins_and_not_when_quiet(tmp_path: Path) -> None:
    words = ["ablate", "--trainers", "sft", "--steps", "1", "--limit", "2", "--metrics", "bleu", "--out", str(tmp_path)]
    shown = json.loads(CliRunner().invoke(main, [*words, "--dry-run", "--json"]).stdout)
    assert [run["cost"]["steps"] for run in shown["runs"]] == [0, 1] and shown["unfinished"]["prompts"] == 2
    table = CliRunner().invoke(main, [*words, "--dry-run"]).output
    assert "in all, to do" in table and "upper bounds" in table
    quiet = CliRunner().invoke(main, [*words, "--quiet"])
    assert quiet.exit_code == 0 and "at most" not in quiet.output
    told = CliRunner().invoke(main, ["train", "--trainer", "sft", *words[3:]]).output
    assert "all of 2 runs done" in told
    recipe = ["--recipe", "paper-ast", "--model", "tiny", "--benchmark", "covost2-mini", "--sampled-passes", "0"]
    config = tmp_path / "config.yaml"
    config.write_text("sft: {eval_steps: null, eval_limit: null, metric_for_best_model: null, bf16: false}\n")
    lines = CliRunner().invoke(main, [*words, *recipe, "--config", str(config)]).output.splitlines()
    assert len({len(line) for line in lines[:4]}) == 1 and lines[3].startswith("in all, to do")  # rows are not broken
    more = CliRunner().invoke(main, ["train", "--trainer", "sft", "--seed", "1", *words[3:]]).output
    assert "1 of 2 runs to do: at most 1 step," in more
