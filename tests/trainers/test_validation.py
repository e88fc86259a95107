"""Validation while training: what is measured when, which model is kept, and a kill at any point in between."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from speechbench.ablation import train as train_run
from speechbench.benchmarks.base import Example
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.evaluation import Evaluation, evaluate, load_metrics
from speechbench.models.base import Sampling
from speechbench.models.tiny import Tiny
from speechbench.progress import Progress
from speechbench.rewards.loading import load_reward
from speechbench.run_schema import Best
from speechbench.runs import read_run
from speechbench.trainers import base, grpo, sft, validation
from speechbench.trainers.config import TrainConfig
from speechbench.trainers.grpo import GrpoConfig
from speechbench.trainers.sft import SftConfig
from speechbench.trainers.validation import Validation
from tests.trainers.conftest import Few


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_equal(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def folders_of(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def config_of(folder: Path, **changes: Any) -> SftConfig:
    settings = {"max_steps": 4, "per_device_train_batch_size": 2, "eval_steps": 1, **changes}
    return SftConfig(output_dir=folder, **settings)


class Snapshots(Progress):
    """The weights after each step, and what was told of the validation."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.after: dict[int, dict[str, torch.Tensor]] = {}
        self.asides: list[tuple[str, int, int]] = []

    def step(self, logged: Mapping[str, float]) -> None:
        self.after[int(logged["step"])] = weights(self.model)

    def aside(self, what: str, done: int, total: int) -> None:
        self.asides.append((what, done, total))


@pytest.mark.slow
def test_the_model_that_did_best_on_the_validation_split_is_what_is_left(few: Few, tmp_path: Path) -> None:
    few.max_completion_length = 30
    model = Tiny()
    seen = Snapshots(model)
    # So high a rate that the model falls apart after it has learnt something.
    config = config_of(tmp_path, max_steps=5, eval_steps=2, learning_rate=4e-3, eval_limit=3, progress=seen)
    result = sft.train(model, few, None, config)

    scores = {}
    for step in (2, 4, 5):  # the last one too
        twin = Tiny()
        twin.load_state_dict(seen.after[step])
        greedy = Sampling(0.0, few.max_completion_length)
        measured = evaluate(twin, few.load("validation", 3), load_metrics(few, ["bleu"]), greedy)
        scores[step] = measured.metrics["bleu"]
    assert len(set(scores.values())) == 3
    assert {line["step"]: line["eval_bleu"] for line in log_of(tmp_path) if "eval_bleu" in line} == scores
    best = max(scores, key=lambda step: scores[step] or 0.0)
    assert best != 5 and result.best == Best(best, "bleu", scores[best] or 0.0)
    assert_equal(weights(model), seen.after[best])
    kept = Tiny()
    kept.load_weights(result.model_folder)
    assert_equal(weights(kept), seen.after[best])
    assert seen.asides == [("validating", 3, 3)] * 3
    seconds = log_of(tmp_path)[-1]["seconds"]
    assert seconds["validation"] > 0 and result.seconds["validation"] == seconds["validation"]


@pytest.mark.slow
def test_validation_changes_nothing_in_the_training_itself(few: Few, tmp_path: Path) -> None:
    one, other = Tiny(), Tiny()
    seen, unseen = Snapshots(one), Snapshots(other)
    settings: dict[str, Any] = {"max_steps": 3, "per_device_train_batch_size": 2, "max_completion_length": 8}
    reward = load_reward("bleu", few)
    grpo.train(one, few, reward, GrpoConfig(tmp_path / "a", **settings, eval_steps=1, eval_limit=1, progress=seen))
    result = grpo.train(other, few, reward, GrpoConfig(tmp_path / "b", **settings, progress=unseen))
    assert result.best is None and "validation" not in result.seconds
    for step in (1, 2, 3):
        assert_equal(seen.after[step], unseen.after[step])
    lines = [{k: v for k, v in line.items() if k not in ("seconds", "eval_bleu")} for line in log_of(tmp_path / "a")]
    assert lines == [{k: v for k, v in line.items() if k != "seconds"} for line in log_of(tmp_path / "b")]


def scripted(monkeypatch: pytest.MonkeyPatch, scores: Sequence[float | None]) -> None:
    """Validation measures these scores, one after the other."""
    left = iter(scores)

    def measured(model: Any, examples: Any, metrics: Any, *_: Any, **__: Any) -> Evaluation:
        return Evaluation((), {str(metrics[0].spec): next(left)}, {})

    monkeypatch.setattr(validation, "evaluate", measured)


@pytest.mark.parametrize(
    ("metric", "scores", "best"),
    [
        ("bleu", [1.0, 3.0, 3.0, 2.0], 2),
        ("chrf(word_order=2)", [1.0, 2.0, 3.0, 4.0], 4),
        ("ter", [3.0, 1.0, 1.0, 2.0], 2),
        ("ter", [1.0, 3.0, 3.0, 2.0], 1),
        ("wer", [0.0, 0.0, 0.0, 0.0], 1),
    ],
)
def test_the_earliest_of_the_best_is_kept_whichever_way_is_better(
    few: Few, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str, scores: list[float], best: int
) -> None:
    scripted(monkeypatch, scores)
    model = Tiny()
    seen = Snapshots(model)
    result = sft.train(model, few, None, config_of(tmp_path, metric_for_best_model=metric, progress=seen))
    assert result.best == Best(best, str(load_reward(metric, few).spec), scores[best - 1])
    assert_equal(weights(model), seen.after[best])
    assert [line[f"eval_{result.best.metric}"] for line in log_of(tmp_path)] == scores
    assert folders_of(tmp_path) == sorted([f"best-{best}", "checkpoint-4", "final"])


class Killed(BaseException):
    pass


def measured_by_weights(model: torch.nn.Module, _: Any, metrics: Any, *__: Any, **___: Any) -> Evaluation:
    """A score that is the weights' own, up and down from step to step."""
    total = sum(float(value.double().sum()) for value in model.state_dict().values() if value.is_floating_point())
    return Evaluation((), {str(metrics[0].spec): (total * 1e4) % 7}, {"tokens": 1.0})


def kill(monkeypatch: pytest.MonkeyPatch, where: object, name: str, step: int, before: bool) -> None:
    """Ends the process, as it were, when a function works at a step."""
    real: Callable[..., Any] = getattr(where, name)

    def dies(*arguments: Any) -> Any:
        result = None if before else real(*arguments)
        at = [value for value in arguments if value == step or getattr(value, "name", "") == f"checkpoint-{step}"]
        if at:
            raise Killed
        return real(*arguments) if before else result

    monkeypatch.setattr(where, name, dies)


@pytest.fixture(scope="module")
def uninterrupted(few_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    folder, model = tmp_path_factory.mktemp("whole"), Tiny()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "evaluate", measured_by_weights)
        result = sft.train(model, Few(root=str(few_folder)), None, config_of(folder, max_steps=5, save_steps=2))
    return folder, weights(model), result


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "name", "before", "step"),
    [
        (Validation, "measure", True, 3),
        (Validation, "measure", False, 3),  # measured and kept, neither logged nor in a checkpoint
        (Validation, "measure", False, 4),
        (base, "mark_complete", True, 4),  # all is written but the marker
        (base, "mark_complete", False, 4),  # an older best model is not removed yet
        (base, "mark_complete", False, 5),
    ],
)
def test_a_kill_at_any_point_loses_and_doubles_nothing(
    few: Few, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: tuple[Path, Any, Any], where: object,
    name: str, before: bool, step: int,
) -> None:  # fmt: skip
    folder, expected, whole = uninterrupted
    monkeypatch.setattr(validation, "evaluate", measured_by_weights)
    config = config_of(tmp_path, max_steps=5, save_steps=2)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill(patch, where, name, step, before)
        sft.train(Tiny(), few, None, config)
    model = Tiny()
    result = sft.train(model, few, None, config)
    assert result.best == whole.best and result.usage == whole.usage == {"tokens": 5.0}
    assert_equal(weights(model), expected)
    assert folders_of(tmp_path) == folders_of(folder)
    logs = [[{k: v for k, v in line.items() if k != "seconds"} for line in log_of(f)] for f in (folder, tmp_path)]
    assert logs[0] == logs[1]
    again = sft.train(Tiny(), few, None, config)  # as when it is killed before the result is written
    assert again.best == whole.best and again.usage == whole.usage


def test_a_best_model_that_is_gone_is_missed(few: Few, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [2.0, 1.0])
    config = config_of(tmp_path, max_steps=2)
    sft.train(Tiny(), few, None, config)
    (tmp_path / "checkpoints" / "best-1").rename(tmp_path / "elsewhere")
    with pytest.raises(SpeechbenchError, match=r"best model so far is gone from .*best-1: remove the folder"):
        sft.train(Tiny(), few, None, config)


@pytest.mark.parametrize("lack", [UsageError("there is no split 'validation'"), MissingError("no file"), None])
def test_a_benchmark_without_a_validation_split_is_refused(
    few: Few, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lack: Exception | None
) -> None:
    real = few.load

    def load(split: str, limit: int | None = None) -> Sequence[Example]:
        if split == "validation" and lack is not None:
            raise lack
        return [] if split == "validation" else real(split, limit)

    monkeypatch.setattr(few, "load", load)
    with pytest.raises(UsageError, match=r"^eval_steps=1: benchmark few has no validation split.*leave eval_steps out"):
        sft.train(Tiny(), few, None, config_of(tmp_path))


def test_a_metric_that_cannot_choose_is_refused(few: Few, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="did you mean 'bleu'"):
        sft.train(Tiny(), few, None, config_of(tmp_path, metric_for_best_model="bleau"))
    with pytest.raises(UsageError, match="log-probabilities"):
        sft.train(Tiny(), few, None, config_of(tmp_path, metric_for_best_model="confidence"))
    scripted(monkeypatch, [None])
    with pytest.raises(SpeechbenchError, match="metric BLEU applies to none of the 4 validation examples"):
        sft.train(Tiny(), few, None, config_of(tmp_path))


@pytest.mark.parametrize("name", ["metric_for_best_model", "eval_limit"])
def test_what_acts_on_validation_alone_is_refused_without_it(name: str) -> None:
    value: Any = {"metric_for_best_model": "bleu", "eval_limit": 4}[name]
    with pytest.raises(UsageError, match=rf"^{name}={value!r}: .*set eval_steps too"):
        TrainConfig(output_dir=Path(), **{name: value})
    assert getattr(TrainConfig(output_dir=Path(), eval_steps=1, **{name: value}), name) == value


PAID = """
from speechbench.rewards.base import Reward

class Paid(Reward):
    made, display = 0, "paid"

    def __init__(self):
        self.paid = 0
        type(self).made += 1

    def score(self, batch):
        self.paid += len(batch.hypotheses)
        return [float(len(h)) for h in batch.hypotheses]

    def usage(self):
        return {"tokens": float(self.paid)}
"""


@pytest.mark.slow
def test_a_reward_that_is_the_metric_too_is_made_once_and_counted_once(few: Few, tmp_path: Path) -> None:
    (tmp_path / "paid.py").write_text(PAID)
    spec = f"{tmp_path / 'paid.py'}:Paid"
    config = GrpoConfig(
        tmp_path / "run", max_steps=3, per_device_train_batch_size=2, num_generations=4, max_completion_length=4,
        eval_steps=2, metric_for_best_model=spec,
    )  # fmt: skip
    reward = load_reward(spec, few)
    result = grpo.train(Tiny(), few, reward, config)
    assert getattr(reward, "made") == 1  # noqa: B009
    assert log_of(tmp_path / "run")[-1]["usage"] == {"tokens": 3 * 2 * 4}
    assert result.usage == {"tokens": 3 * 2 * 4 + 2 * 4}  # three steps, two validations


def test_a_run_says_which_model_was_measured_and_what_choosing_it_took(tmp_path: Path) -> None:
    settings = {"eval_steps": 1, "eval_limit": 2, "metric_for_best_model": "chrf"}
    done = train_run("sft", steps=2, limit=2, config={"sft": settings}, out=tmp_path)
    run = read_run(done.model_folder.parents[1])
    assert run.result is not None and run.result.best is not None
    scores = [line["eval_chrf"] for line in run.log]
    assert run.result.best == Best(scores.index(max(scores)) + 1, "chrf", max(scores))
    seconds = run.result.seconds
    parts = ("sampling", "scoring", "learning", "validation")
    assert seconds["validation"] > 0 and seconds["train"] == pytest.approx(sum(seconds[part] for part in parts))
    assert seconds["total"] == pytest.approx(seconds["train"] + seconds["evaluation"])
    base_run = next(r for r in map(read_run, run.folder.parent.iterdir()) if r.info.trainer is None)
    assert base_run.result is not None and base_run.result.best is None
    assert dataclasses.asdict(run.result)["best"] == json.loads((run.folder / "result.json").read_text())["best"]
