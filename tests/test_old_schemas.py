"""Run folders of older schemas are read as if they were written today."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from speechbench.errors import SpeechbenchError
from speechbench.old_schemas import upgraded_run
from speechbench.rewards.describing import listing
from speechbench.run_schema import SCHEMA, RunInfo

OLDEST: dict[str, Any] = {
    "schema": 1, "id": "a1", "label": "grpo(bleu)", "trainer": "grpo", "reward": "bleu", "seed": 0, "model": "tiny",
    "model_fingerprint": "weights", "benchmark": "few", "data_fingerprint": "data", "config": {"seed": 0},
    "metrics": [{"name": "bleu", "display": "BLEU", "aggregate": "bleu", "scale": 100.0, "signature": {}}],
    "provenance": {},
}  # fmt: skip


def read(**changes: Any) -> RunInfo:
    return msgspec.convert(upgraded_run({**OLDEST, **changes}), RunInfo)


def test_families_are_those_that_the_scorers_have_today() -> None:
    """So that a board of old and new runs is one, and a reward is left out of its family whenever it was trained."""
    named = [(name, its.family) for name, its in listing().items() if its.where.startswith("speechbench.")]
    assert len(named) > 20
    for name, family in named:
        if family:
            assert read(reward=name).reward_families == (family,), name


def test_the_oldest_run_is_filled_in() -> None:
    info = read()
    assert (info.start, info.control, info.split, info.has_control_reward) == (None, None, "test", False)
    assert info.reward_families == ("overlap",)
    assert (info.metrics[0].lower_is_better, info.metrics[0].family) == (False, "overlap")
    assert read(reward=None).reward_families == ()


@pytest.mark.parametrize(
    ("reward", "families", "is_control"),
    [
        ("0.7*bleu + 0.3*comet(model=a/b)", ("learned", "overlap"), False),
        ("random", ("control",), True),
        ("shuffled(bleu)", ("control",), True),
        ("shuffled(0.5*bleu + 0.5*chrf)", ("control",), True),
        ("bleu - 0.1*length", ("control", "overlap"), False),
        ("mine.py:reward", ("exact",), False),
    ],
)
def test_rewards_are_of_the_families_of_their_parts(reward: str, families: tuple[str, ...], is_control: bool) -> None:
    info = read(reward=reward)
    assert (info.reward_families, info.has_control_reward) == (families, is_control)


def test_a_metric_of_several_parts_is_combined() -> None:
    metric = {**OLDEST["metrics"][0], "name": "0.5*bleu + 0.5*chrf"}
    assert read(metrics=[metric]).metrics[0].family == "combined"


def test_what_was_said_stands() -> None:
    said = {"start": "b2", "control": "no-audio", "split": "validation", "has_control_reward": True}
    metrics = [{**OLDEST["metrics"][0], "lower_is_better": True}]
    info = read(schema=3, metrics=metrics, **said)
    assert {name: getattr(info, name) for name in said} == said and info.metrics[0].lower_is_better


def test_the_newest_schema_is_left_as_it_is() -> None:
    content = {**OLDEST, "schema": SCHEMA}
    assert upgraded_run(content) is content


@pytest.mark.parametrize(
    "changes", [{"reward": "bleu("}, {"metrics": [{"name": "+"}]}, {"metrics": [{}]}, {"metrics": 3}]
)
def test_what_is_broken_is_not_mended(changes: dict[str, Any]) -> None:
    with pytest.raises((SpeechbenchError, KeyError, TypeError)):
        upgraded_run({**OLDEST, **changes})
