"""Sections for one reward stand on top of those for all, and concern its runs alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from speechbench.errors import UsageError
from speechbench.planning import Plan, plan


def planned(out: Path, rewards: str = "bleu chrf", trainers: str = "grpo", **grid: Any) -> Plan:
    return plan(rewards.split(" "), trainers.split(), limit=2, steps=1, out=out, **grid)


def rates(found: Plan) -> dict[str, float]:
    return {run.label: run.config.learning_rate for run in found.runs if run.config is not None}


def test_a_section_for_a_reward_holds_for_its_runs_alone(tmp_path: Path) -> None:
    config = {"grpo": {"learning_rate": 1e-5, "beta": 0.1}, "grpo(bleu)": {"learning_rate": 3e-5}}
    found = planned(tmp_path, trainers="sft grpo mixed-grpo", config=config)
    own = rates(found)
    assert (own["grpo(bleu)"], own["grpo(chrf)"]) == (3e-5, 1e-5)
    assert all(getattr(run.config, "beta", None) == 0.1 for run in found.runs if run.trainer == "grpo")
    plain = planned(tmp_path, trainers="sft grpo mixed-grpo", config={"grpo": config["grpo"]})
    changed = {run.label for run, before in zip(found.runs, plain.runs, strict=True) if run.id != before.id}
    assert changed == {"grpo(bleu)"} and found.folder == plain.folder


def test_what_is_said_of_a_reward_stands_on_top_of_what_is_said_of_all(tmp_path: Path) -> None:
    config = {
        "grpo": {"learning_rate": 1e-5},
        "sft+grpo": {"learning_rate": 2e-5},
        "grpo(chrf)": {"learning_rate": 3e-5},
        "sft+grpo(bleu)": {"learning_rate": 4e-5},
    }
    own = rates(planned(tmp_path, trainers="grpo sft+grpo", config=config))
    assert (own["grpo(bleu)"], own["grpo(chrf)"]) == (1e-5, 3e-5)
    assert (own["sft+grpo(bleu)"], own["sft+grpo(chrf)"]) == (4e-5, 3e-5)


def test_a_stage_after_the_reward_may_be_told_apart_too(tmp_path: Path) -> None:
    config = {"grpo+sft(bleu)": {"learning_rate": 7e-5}, "sft": {"learning_rate": 1e-5}}
    own = rates(planned(tmp_path, trainers="grpo+sft", config=config))
    assert (own["grpo(bleu)+sft"], own["grpo(chrf)+sft"]) == (7e-5, 1e-5)


@pytest.mark.parametrize("section", ["grpo(chrf(word_order=2))", "grpo( chrf( word_order = 2 ) )"])
def test_a_reward_may_be_spelled_in_any_way(tmp_path: Path, section: str) -> None:
    found = planned(tmp_path, "bleu chrf(word_order=2)", config={section: {"learning_rate": 3e-5}})
    assert found.configs.sections.keys() == {"grpo(chrf(word_order=2))"}
    assert rates(found)["grpo(chrf(word_order=2))"] == 3e-5


def test_sums_and_controls_have_sections_too(tmp_path: Path) -> None:
    config = {"grpo(0.3*chrf + 0.7*bleu)": {"beta": 0.5}, "grpo(random)": {"beta": 0.25}}
    found = plan(["0.7*bleu + 0.3*chrf"], ["grpo"], limit=2, controls=True, config=config, out=tmp_path)
    betas = {run.label: getattr(run.config, "beta", None) for run in found.runs if run.trainer}
    assert betas["grpo(0.7*bleu + 0.3*chrf)"] == 0.5 and betas["grpo(random)"] == 0.25
    assert betas["grpo(confidence)"] == 0.02


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"grpo(blue)": {}}, "configuration of 'grpo(blue)': unknown reward 'blue': did you mean 'bleu'?"),
        ({"grpo(ter)": {}}, "configuration of 'grpo(ter)': that reward is not among bleu, chrf"),
        ({"mixed-grpo(bleu)": {}}, "configuration of 'mixed-grpo(bleu)': that trainer is not among grpo"),
        ({"sft(bleu)": {}}, "configuration of 'sft(bleu)': sft takes no reward, so write 'sft' alone"),
        ({"grop(bleu)": {}}, "unknown trainer 'grop': did you mean 'grpo'?"),
        ({"grpo(bleu)": {"bet": 1}}, "configuration of grpo(bleu): there is no 'bet'; did you mean 'beta'?"),
        ({"grpo(bleu)": 3}, "configuration of grpo(bleu): 3 should hold settings"),
        ({"grpo(bleu)": {}, "grpo( bleu )": {}}, "it is given twice, as 'grpo(bleu)' too"),
        ({"grpo(bleu": {}}, "unknown trainer 'grpo(bleu'"),
    ],
)
def test_a_section_that_concerns_nothing_is_refused(tmp_path: Path, config: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        planned(tmp_path, trainers="grpo sft" if "sft(bleu)" in config else "grpo", config=config)
    assert words in str(caught.value) and not list(tmp_path.iterdir())
