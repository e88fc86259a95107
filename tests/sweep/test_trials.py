"""A sweep chooses by the validation split, for each reward by itself, and goes on where it was stopped."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner

from speechbench.benchmarks.loading import load_benchmark
from speechbench.benchmarks.mini.corpora import Covost2Mini
from speechbench.cli import main
from speechbench.costs import Cost
from speechbench.engines import in_process
from speechbench.errors import DivergedError, SpeechbenchError
from speechbench.evaluation import evaluate, load_metrics
from speechbench.leaderboard import leaderboard
from speechbench.models.base import Sampling
from speechbench.models.loading import load_model
from speechbench.one_run import info_of
from speechbench.planning import Plan, plan
from speechbench.progress import Progress
from speechbench.runs import read_run
from speechbench.sweep import Choice, Swept, Trial, plan_sweep, run_sweep, trials
from speechbench.trainers.base import SpeechTrainer
from tests.sweep.sweeping import CONFIG, TINY, Told, planned

AXIS = "learning_rate=1e-6,1e-2"


def swept(found: Plan, *axes: str, progress: Progress | None = None, **how: Any) -> Swept:
    return run_sweep(plan_sweep(found, axes, progress=progress, **how), progress)


def rates(found: Plan) -> dict[str, float]:
    return {run.label: run.config.learning_rate for run in found.runs if run.config is not None}


def refuse(*_: Any) -> None:
    raise AssertionError("all of it is there")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """A sweep of two stages and two rewards, in which the test split is out of reach."""
    before = planned(tmp_path_factory.mktemp("runs"), "bleu chrf", "sft+grpo")
    load = Covost2Mini.load

    def guarded(self: Any, split: str, *args: Any, **more: Any) -> Any:
        assert split != "test"
        return load(self, split, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Covost2Mini, "load", guarded)
        found = plan_sweep(before, [AXIS])
        assert all(example not in found.trials.examples for example in before.examples)
        return run_sweep(found)


@pytest.mark.slow
def test_each_candidate_is_measured_on_validation_and_the_best_one_chosen(chain: Swept) -> None:
    choice = chain.choices[0]
    scores = {}
    metrics = load_metrics(load_benchmark("covost2-mini"), ["bleu"])
    for trial in choice.trials:  # each trained model once more, beside the sweep
        folder = chain.sweep.trials.folder / trial.run
        model, sampling = load_model(str(folder)), Sampling(temperature=0.0, max_tokens=48)
        examples = load_benchmark("covost2-mini").load("validation", 2)
        scores[trial.values["learning_rate"]] = evaluate(model, examples, metrics, sampling).metrics["bleu"]
        assert trial.score == scores[trial.values["learning_rate"]]
        assert trial.folder == chain.sweep.trials.folder.name and read_run(folder).info.seed == 1000
    assert len(set(scores.values())) == 2  # else nothing is chosen here
    best = max(scores, key=lambda rate: scores[rate] or 0.0)
    assert choice.section == "sft" and choice.chosen.values == {"learning_rate": best}
    assert rates(chain.planned)["sft"] == best
    assert chain.planned.folder == chain.sweep.planned.folder != chain.sweep.trials.folder


@pytest.mark.slow
def test_a_board_of_trials_is_one_of_the_validation_split(chain: Swept) -> None:
    (board,) = leaderboard(chain.sweep.trials.folder, resamples=10)
    assert board.split == "validation"
    assert {info_of(chain.planned, run).split for run in chain.planned.runs} == {"test"}


@pytest.mark.slow
def test_rewards_are_chosen_for_apart_and_stages_in_their_order(chain: Swept) -> None:
    assert [choice.section for choice in chain.choices] == ["sft", "sft+grpo(bleu)", "sft+grpo(chrf)"]
    sft = chain.choices[0].chosen
    for choice in chain.choices[1:]:
        assert len({trial.run for trial in choice.trials}) == 2
        for trial in choice.trials:
            assert read_run(chain.sweep.trials.folder / trial.run).info.start == sft.run
    own = rates(chain.planned)
    assert [own[label] for label in ("sft", "sft+grpo(bleu)", "sft+grpo(chrf)")] == [
        choice.chosen.values["learning_rate"] for choice in chain.choices
    ]


@pytest.mark.slow
def test_what_is_written_is_a_configuration_that_gives_the_same_runs(chain: Swept) -> None:
    content = yaml.safe_load(chain.config.read_text())
    again = plan(
        ["bleu", "chrf"], ["sft+grpo"], limit=2, steps=1, metrics=["bleu"], config=content, out=chain.table.parents[1]
    )
    assert [run.id for run in again.runs] == [run.id for run in chain.planned.runs]
    assert content["grpo"] == CONFIG["grpo"]  # what was there already stands beside it
    kept = json.loads(chain.table.read_text())
    assert kept["split"] == "validation" and kept["config"] == chain.config.name
    assert [choice["section"] for choice in kept["choices"]] == ["sft", "sft+grpo(bleu)", "sft+grpo(chrf)"]
    assert [trial["values"] for trial in kept["choices"][0]["trials"]] == [
        {"learning_rate": 1e-6}, {"learning_rate": 1e-2},
    ]  # fmt: skip


@pytest.mark.slow
def test_the_same_sweep_does_no_work_twice(chain: Swept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_process, "do_run", refuse)
    out, before = (
        chain.table.parents[1],
        chain.table.read_bytes(),
    )
    again = swept(planned(out, "bleu chrf", "sft+grpo"), AXIS)
    assert [choice.trials for choice in again.choices] == [choice.trials for choice in chain.choices]
    assert again.table == chain.table and chain.table.read_bytes() == before
    assert plan_sweep(planned(out, "", "sft"), [AXIS]).cost() == Cost()  # the first stage's trials are those of a chain


@pytest.mark.slow
def test_a_sweep_that_was_stopped_goes_on(chain: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    do, count = in_process.do_run, 0

    def stopped(*args: Any) -> None:
        nonlocal count
        count += 1
        if count == 3:  # the base, one trial, and in the second
            raise KeyboardInterrupt
        do(*args)

    monkeypatch.setattr(in_process, "do_run", stopped)
    with pytest.raises(KeyboardInterrupt):
        swept(planned(tmp_path, "", "sft"), AXIS)
    count = 3
    again = swept(planned(tmp_path, "", "sft"), AXIS)
    assert count == 4  # the trial that was left
    assert again.choices[0].trials == chain.choices[0].trials


@pytest.mark.slow
def test_draws_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    axes = ("learning_rate=1e-6..1e-3", "beta=0,0.02")
    first = swept(planned(tmp_path), *axes, trials=2)
    assert len({tuple(trial.values.items()) for trial in first.choices[0].trials}) == 2
    monkeypatch.setattr(in_process, "do_run", refuse)
    again = swept(planned(tmp_path), *axes, trials=2)
    assert again.choices[0].trials == first.choices[0].trials
    other = plan_sweep(planned(tmp_path), axes, 2, seed=7)
    harder = planned(tmp_path, config={"grpo": {**CONFIG["grpo"], "weight_decay": 0.1}})
    assert len({sweep.id for sweep in (first.sweep, other, plan_sweep(harder, axes, 2))}) == 3  # files of their own
    assert other.search(("grpo", "bleu")).ask() != first.choices[0].trials[0].values


@pytest.mark.parametrize(("metric", "sign"), [("bleu", 1), ("ter", -1)])
def test_fewer_errors_are_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str, sign: int) -> None:
    """What is drawn later depends on the scores alone, whichever way they count; nothing is trained here."""
    pytest.importorskip("optuna")

    def score(_: Plan, run: Any, __: Any) -> float:
        rate = 1.0 if run.config is None else run.config.learning_rate
        return -sign * abs(math.log(rate / 1e-5))

    monkeypatch.setattr(trials, "run_all", lambda *_: None)
    monkeypatch.setattr(trials, "_score", score)
    (choice,) = swept(planned(tmp_path, "", "sft"), "learning_rate=1e-6..1e-2", metric=metric, trials=15).choices
    far = [abs(math.log(trial.values["learning_rate"] / 1e-5)) for trial in choice.trials]
    assert far[choice.trials.index(choice.chosen)] == min(far) and choice.gains
    assert sum(far[10:]) / 5 < sum(far[:10]) / 10  # the first ten are drawn at random


@pytest.mark.slow
def test_a_candidate_that_diverges_is_passed_over_and_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = SpeechTrainer.compute_loss

    def diverging(self: Any, *args: Any, **more: Any) -> torch.Tensor:
        loss = compute(self, *args, **more)
        if self.config.learning_rate >= 1e-3:
            self.require_finite("loss", loss * math.nan)
        return loss

    monkeypatch.setattr(SpeechTrainer, "compute_loss", diverging)
    told = Told()
    before = planned(tmp_path, "", "sft")
    found = swept(before, "learning_rate=1e-3,1e-4", progress=told)
    first, second = found.choices[0].trials
    assert first.score is None and first.failure is not None and "loss is nan" in first.failure
    assert found.choices[0].chosen is second and any("passed over" in text for text in told.texts)
    with pytest.raises(SpeechbenchError, match="sweep of sft: no candidate could be trained"):
        swept(before, "learning_rate=1e-3,1e-2")
    assert issubclass(DivergedError, SpeechbenchError)
    monkeypatch.setattr(in_process, "do_run", refuse)
    assert swept(before, "learning_rate=1e-3,1e-4").choices[0].trials == (first, second)


def test_what_changes_how_is_measured_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "run_all", lambda *_: None)
    monkeypatch.setattr(trials, "_score", lambda *_: 1.0)
    (choice,) = swept(planned(tmp_path, "", "sft"), "max_completion_length=8,60").choices
    short, long = choice.trials
    assert short.folder != long.folder and choice.ties == 1 and not choice.gains
    assert "another candidate does as well, and the first is taken" in str(choice)
    assert "the model before training does as well or better" in str(choice)


@pytest.mark.parametrize(
    ("scores", "values", "at_an_end"),
    [
        ((1.0, 3.0, 2.0), (1e-6, 1e-5, 1e-4), []),
        ((1.0, 2.0, 3.0), (1e-6, 1e-5, 1e-4), ["learning_rate"]),
        ((3.0, 3.0, None), (1e-6, 1e-5, 1e-4), ["learning_rate"]),  # the first of equals
        ((1.0, 2.0), (1e-6, 1e-5), []),  # of two, one is always at an end
        ((1.0, 2.0, 3.0), ("a", "b", "c"), []),
    ],
)
def test_a_choice_at_the_end_of_what_was_tried_is_said(scores: Any, values: Any, at_an_end: list[str]) -> None:
    (metric,) = load_metrics(load_benchmark("covost2-mini"), ["bleu"])
    tried = tuple(
        Trial({"learning_rate": value}, str(value), "", score) for value, score in zip(values, scores, strict=True)
    )
    choice = Choice("sft", metric, tried, 0.0)
    assert choice.at_an_end == at_an_end and ("at the end of" in str(choice)) == bool(at_an_end)


@pytest.mark.slow
def test_the_command_sweeps_prints_and_ranks(chain: Swept, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"sft": TINY}))
    words = ["ablate", "--trainers", "sft", "--steps", "1", "--limit", "2", "--metrics", "bleu",
             "--config", str(config), "--sweep", AXIS]  # fmt: skip
    new = ["--out", str(tmp_path / "runs")]
    dry = json.loads(CliRunner().invoke(main, [*words, *new, "--dry-run", "--json"]).stdout)
    assert dry["sweep"]["trials"] == 2 and dry["sweep"]["cost"]["steps"] == 2 and not (tmp_path / "runs").exists()
    done = CliRunner().invoke(main, [*words, "--out", str(chain.table.parents[1])])  # where its trials are
    assert done.exit_code == 0, done.output
    assert "sweep of 2 trials done" in done.output and "chosen" in done.output and "For --config" in done.output
    lone = CliRunner().invoke(main, [*words[:-2], *new, "--sweep-trials", "2"])
    assert lone.exit_code == 2 and "sweep_trials without sweep" in lone.output
