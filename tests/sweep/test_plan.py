"""What a sweep will try is settled, and what makes no sense refused, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from speechbench.errors import UsageError
from speechbench.sweep import plan_sweep
from tests.sweep.sweeping import CONFIG, Told, planned


def test_a_trainer_sweeps_what_it_has_which_is_said_once(tmp_path: Path) -> None:
    told = Told()
    found = plan_sweep(planned(tmp_path, "bleu chrf", "sft grpo"), ["beta=0,0.1", "learning_rate=1e-5"], progress=told)
    assert [len(found.search(unit)) for unit in found.axes] == [1, 2, 2]
    assert told.texts == ["sft has no beta: what it has is swept"]
    only = plan_sweep(planned(tmp_path, "bleu", "sft+grpo"), ["beta=0,0.1"])
    assert list(only.axes) == [("sft+grpo", "bleu")]  # the first stage has nothing to try, and is trained once
    assert only.cost().steps == 1 + 2


def test_the_metric_is_one_for_all_or_each_rewards_own(tmp_path: Path) -> None:
    before = planned(tmp_path, "chrf ter", "sft grpo", controls=True)

    def metrics(metric: str | None) -> list[str]:
        found = plan_sweep(before, ["learning_rate=1e-5"], metric=metric)
        return [str(found.metric_of(unit).spec) for unit in found.axes]

    assert metrics(None) == ["bleu"] * 7
    assert metrics("wer") == ["wer"] * 7
    assert metrics("reward") == ["bleu", "chrf", "ter", "bleu", "bleu", "bleu", "bleu"]  # controls say nothing


def test_the_cost_is_that_of_each_candidate(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    before = planned(tmp_path, steps=None)
    assert plan_sweep(before, ["max_steps=2,7", "num_generations=2,4"]).cost().sampled_completions == 2 * 9 * (2 + 4)
    drawn = plan_sweep(before, ["max_steps=2..7", "num_generations=2,4"], 3).cost()
    assert drawn.steps == 3 * 7 and drawn.reward_calls == {"bleu": 3 * 7 * 2 * 4}  # at most


@pytest.mark.parametrize(
    ("axes", "how", "words"),
    [
        (["learning_rat=1e-5"], {}, "no trainer here has it; did you mean 'learning_rate'?"),
        (["num_generations=1,2"], {}, "configuration of grpo(bleu): num_generations=1"),
        (["num_generations=1..4"], {"trials": 2}, "configuration of grpo(bleu): num_generations=1"),
        (["learning_rate=fast"], {}, "sweep of learning_rate: 'fast' should be a number"),
        (["loss_type=1..2"], {"trials": 2}, "should be a text"),
        (["max_steps=1,2"], {}, "sweep of 'max_steps': steps sets it for all trainers"),
        (["limit=1,2"], {}, "sweep of 'limit': limit sets it"),
        (["save_steps=2,4"], {}, "sweep of save_steps: it changes nothing of what is trained"),
        ("beta=0,1", {}, "sweep='beta=0,1' should be a list"),
        (["beta=0,1"], {"seed": 0}, "sweep_seed=0 is a seed of the ablation"),
        (["beta=0,1"], {"metric": "random"}, "sweep_metric='random' is a control"),
        (["beta=0,1"], {"metric": "bleuu"}, "did you mean 'bleu'?"),
    ],
)
def test_wrong_sweeps_are_refused_before_any_work(tmp_path: Path, axes: Any, how: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan_sweep(planned(tmp_path), axes, **how)
    assert words in str(caught.value) and not list(tmp_path.iterdir())


def test_training_and_measuring_on_validation_are_as_large_as_validation_in_training(tmp_path: Path) -> None:
    config = {"grpo": {**CONFIG["grpo"], "eval_steps": 1, "eval_limit": 1}}
    assert len(plan_sweep(planned(tmp_path, config=config), ["beta=0"]).trials.examples) == 1
    assert len(plan_sweep(planned(tmp_path), ["beta=0"]).trials.examples) == 2  # the limit of all data
