"""Which runs a grid is made of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from speechbench.errors import UsageError
from speechbench.planning import Plan, input_of, plan
from speechbench.rewards.shuffled import Shuffled
from tests.sweep.sweeping import Told


def planned(out: Path, rewards: str = "bleu", trainers: str = "grpo", **grid: object) -> Plan:
    return plan(rewards.split(), trainers.split(), limit=4, out=out, **grid)  # type: ignore[arg-type]


def labels(found: Plan) -> list[str]:
    return [run.label for run in found.runs]


def test_a_stage_is_a_run_of_its_own_shared_by_what_builds_on_it(tmp_path: Path) -> None:
    both = planned(tmp_path, "bleu chrf", "sft grpo sft+grpo sft+mixed-grpo")
    assert labels(both) == [
        "base", "sft", "grpo(bleu)", "grpo(chrf)", "sft+grpo(bleu)", "sft+grpo(chrf)",
        "sft+mixed-grpo(bleu)", "sft+mixed-grpo(chrf)",
    ]  # fmt: skip
    sft = both.runs[1]
    assert all(run.start is sft or run.start == sft for run in both.runs[4:])
    assert [run.trainer for run in both.runs[4:6]] == ["sft+grpo"] * 2 and both.runs[4].stage == "grpo"
    alone = planned(tmp_path, "bleu", "sft+grpo")
    assert labels(alone) == ["base", "sft", "sft+grpo(bleu)"]
    assert [run.id for run in alone.runs] == [both.runs[place].id for place in (0, 1, 4)]
    assert both.runs[2].id != both.runs[4].id  # the same GRPO from other weights


def test_seeds_go_through_all_stages(tmp_path: Path) -> None:
    found = planned(tmp_path, trainers="sft+grpo", seeds=(3, 5))
    chains = [run for run in found.runs if run.start is not None]
    assert [(run.seed, run.start.seed) for run in chains if run.start] == [(3, 3), (5, 5)]


def test_settings_of_a_stage_hold_wherever_it_stands_and_those_of_the_chain_on_top(tmp_path: Path) -> None:
    config = {"grpo": {"beta": 0.1, "temperature": 0.9}, "sft+grpo": {"beta": 0.0}, "sft": {"max_steps": 7}}
    found = planned(tmp_path, trainers="grpo sft+grpo", config=config)
    by_label = {run.label: run.config for run in found.runs}
    alone, after = by_label["grpo(bleu)"], by_label["sft+grpo(bleu)"]
    assert (alone.beta, alone.temperature) == (0.1, 0.9)  # type: ignore[union-attr]
    assert (after.beta, after.temperature) == (0.0, 0.9)  # type: ignore[union-attr]
    assert by_label["sft"] is not None and by_label["sft"].max_steps == 7
    other = planned(tmp_path, trainers="sft+grpo", config={**config, "sft": {"max_steps": 8}})
    assert other.runs[-1].id != found.runs[-1].id  # it starts from another model


def test_settings_of_the_front_of_a_chain_hold_there(tmp_path: Path) -> None:
    config = {"grpo": {"beta": 0.1}, "sft+grpo": {"beta": 0.0}, "sft+grpo+grpo": {"max_steps": 9}}
    found = planned(tmp_path, trainers="sft+grpo+grpo", config=config)
    assert labels(found) == ["base", "sft", "sft+grpo(bleu)", "sft+grpo(bleu)+grpo(bleu)"]
    betas = [getattr(run.config, "beta", None) for run in found.runs]
    assert betas == [None, None, 0.0, 0.1]
    assert found.runs[3].config is not None and found.runs[3].config.max_steps == 9


def test_a_text_where_a_list_belongs_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"rewards='bleu' should be a list, as in rewards=\['bleu'\]"):
        plan("bleu", out=tmp_path)


def test_a_checkpoint_is_held_once(with_controls: Plan) -> None:
    rewards = {run.label: run.reward for run in with_controls.runs}
    comet, shuffled = rewards["grpo(comet)"], rewards["grpo(shuffled(comet))"]
    assert isinstance(shuffled, Shuffled) and shuffled.inner is comet
    assert comet in with_controls.metrics


def test_a_reward_of_an_earlier_stage_names_the_later_one(tmp_path: Path) -> None:
    found = planned(tmp_path, trainers="grpo+sft")
    assert labels(found) == ["base", "grpo(bleu)", "grpo(bleu)+sft"]
    assert found.runs[2].reward is not None and str(found.runs[2].reward.spec) == "bleu"


@pytest.fixture(scope="module")
def with_controls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    yield planned(tmp_path_factory.mktemp("runs"), "bleu comet constant", "sft grpo", controls=True)


def test_controls_are_added_in_one_flag(with_controls: Plan) -> None:
    assert labels(with_controls) == [
        "base", "no-audio", "question-only", "gold-transcript", "sft", "grpo(bleu)", "grpo(comet)", "grpo(constant)",
        "grpo(random)", "grpo(confidence)", "grpo(shuffled(bleu))", "grpo(shuffled(comet))",
    ]  # fmt: skip
    without = planned(with_controls.folder.parent, "bleu comet constant", "sft grpo")
    assert without.folder == with_controls.folder
    ids = {run.label: run.id for run in with_controls.runs}
    assert all(ids[run.label] == run.id for run in without.runs)  # controls change no other run


def test_the_base_is_given_silence_the_instruction_or_the_transcript(with_controls: Plan) -> None:
    by_label = {run.label: run for run in with_controls.runs}
    example = with_controls.examples[0]
    assert example.audio is not None and example.source
    assert input_of(with_controls, by_label["base"]) is with_controls.examples
    silent = input_of(with_controls, by_label["no-audio"])[0]
    assert silent.audio is not None and silent.instruction == example.instruction
    assert silent.audio.samples(16000).shape == example.audio.samples(16000).shape
    assert not silent.audio.samples(16000).any() and example.audio.samples(16000).any()
    assert silent.audio != example.audio  # whoever keeps what was made of the one, must not take it for the other
    question = input_of(with_controls, by_label["question-only"])[0]
    assert question.audio is None and question.instruction == example.instruction
    gold = input_of(with_controls, by_label["gold-transcript"])[0]
    assert gold.audio is None and gold.instruction == example.instruction.replace("<|audio|>", example.source)


def test_gold_transcript_is_left_out_with_a_word_where_one_is_lacking(tmp_path: Path, few_manifest: Path) -> None:
    told = Told()
    found = planned(tmp_path, "bleu", benchmark=f"manifest(path={few_manifest})", controls=True, progress=told)
    assert "gold-transcript" not in labels(found) and "no-audio" in labels(found)
    assert any("gold-transcript is left out" in text for text in told.texts)


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({"trainers": "sft+grop"}, "unknown trainer 'grop': did you mean 'grpo'?"),
        ({"trainers": "sft+"}, "unknown trainer ''"),
        ({"config": {"sft+grpo": {}}}, "configuration of 'sft+grpo': that trainer is not among grpo"),
        (
            {"config": {"grpo+sft": {}}, "trainers": "sft+grpo"},
            "configuration of 'grpo+sft': that trainer is not among",
        ),
        ({"trainers": "sft"}, "none of the trainers (sft) takes a reward: leave bleu out, or add grpo"),
        ({"rewards": ""}, "no reward is named"),
        ({"trainers": ""}, "trainers is empty: name at least one"),
        ({"seeds": []}, "seeds is empty: name at least one"),
        ({"config": {"grpo": None}}, "configuration of grpo: None should hold settings"),
        ({"config": {"grpo": {"num_generations": 1}}}, "configuration of grpo: num_generations=1"),
        ({"steps": 0}, "steps=0 should be a whole number, 1 or more"),
        ({"seeds": ["one"]}, "seed='one' should be a whole number"),
    ],
)
def test_wrong_grids_are_refused_before_any_work(tmp_path: Path, grid: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        planned(tmp_path, **grid)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_metrics_may_be_named_instead_of_the_benchmarks_own(tmp_path: Path) -> None:
    own, named = planned(tmp_path), planned(tmp_path, metrics=["chrf", "ter"])
    assert [metric.display for metric in named.metrics] == ["chrF", "TER"]
    assert len(own.metrics) > 2 and own.folder != named.folder


def test_the_validation_data_and_its_metric_are_part_of_what_a_run_is(tmp_path: Path) -> None:
    def planned(**config: Any) -> str:
        return plan(["bleu"], ["grpo"], steps=2, limit=2, config={"grpo": config}, out=tmp_path).runs[-1].id

    plain = planned()
    assert len({plain, planned(eval_steps=1), planned(eval_steps=1, metric_for_best_model="chrf")}) == 3


@pytest.mark.parametrize("spec", ["{}", "0.5*bleu + 0.5*{}", "shuffled({})"])
def test_a_reward_whose_source_is_nowhere_is_refused_before_any_work(
    tmp_path: Path, few_manifest: Path, spec: str
) -> None:
    (tmp_path / "own.py").write_text("def own(completions, source, **_):\n    return [0.0] * len(completions)\n")
    lines = [json.loads(line) for line in few_manifest.read_text().splitlines()]
    train = [line for line in lines if line["split"] == "train"]

    def planned(bare: int) -> Plan:
        for line in train[:bare]:
            line.pop("source", None)
        few_manifest.write_text("\n".join(map(json.dumps, lines)))
        benchmark, reward = f"manifest(path={few_manifest})", spec.format(f"{tmp_path}/own.py:own")
        return plan([reward], ["grpo"], benchmark=benchmark, metrics=["bleu"], out=tmp_path / "runs")

    assert len(planned(3).runs) == 2
    with pytest.raises(UsageError, match="needs source, which no training example of manifest"):
        planned(4)
    assert not (tmp_path / "runs").exists()


def test_a_validation_metric_that_is_none_is_refused_before_any_work(tmp_path: Path) -> None:
    config = {"grpo": {"eval_steps": 1, "metric_for_best_model": "bleuu"}}
    with pytest.raises(UsageError, match="did you mean 'bleu'"):
        plan(["bleu"], ["grpo"], config=config, limit=2, out=tmp_path)
