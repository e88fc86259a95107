"""Settings reach a trainer's configuration as the type of their field, or are refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from speechbench.errors import UsageError
from speechbench.settings import configure, described, read_sections
from speechbench.trainers import grpo, sft
from speechbench.trainers.base import TrainConfig, TrainResult
from speechbench.trainers.grpo import GrpoConfig


@dataclass(frozen=True)
class OwnConfig(TrainConfig):
    baseline: bool = True
    kind: str = "mean"
    layers: tuple[int, ...] = ()


def own(model: Any, benchmark: Any, reward: Any, config: OwnConfig) -> TrainResult:
    raise NotImplementedError


def bare(model: Any, benchmark: Any, reward: Any, config: Any) -> TrainResult:
    raise NotImplementedError


def test_yaml_numbers_become_what_the_field_is() -> None:
    settings = yaml.safe_load("{learning_rate: 1e-5, max_steps: 20.0, num_generations: '4', beta: 0, limit: null}")
    assert settings["learning_rate"] == "1e-5"  # YAML 1.1 wants 1.0e-5
    config = configure("grpo", grpo.train, settings, {"max_completion_length": 48})
    assert isinstance(config, GrpoConfig)
    assert (config.learning_rate, config.max_steps, config.num_generations) == (1e-5, 20, 4)
    assert (config.beta, config.limit, config.max_completion_length) == (0.0, None, 48)
    assert isinstance(config.max_steps, int) and isinstance(config.beta, float)


def test_own_fields_keep_their_types() -> None:
    config = configure("own", own, {"baseline": False, "kind": "max", "layers": (1, 2)}, {})
    assert isinstance(config, OwnConfig)
    assert (config.baseline, config.kind, config.layers) == (False, "max", (1, 2))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"learning_rate": "fast"}, "learning_rate='fast' should be a number"),
        ({"max_steps": 2.5}, "max_steps=2.5 should be a whole number"),
        ({"max_steps": True}, "max_steps=True should be a whole number"),
        ({"learning_rat": 1e-5}, "there is no 'learning_rat'; did you mean 'learning_rate'?"),
        ({"seed": 3}, "there is no 'seed'"),
        ({"num_generations": 1}, "configuration of grpo: num_generations=1"),
        ({"max_steps": 0}, "configuration of grpo: max_steps=0"),
    ],
)
def test_wrong_settings_are_named_with_the_trainer(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        configure("grpo", grpo.train, settings, {})
    assert words in str(caught.value) and "grpo" in str(caught.value)


def test_booleans_and_texts_are_not_guessed() -> None:
    with pytest.raises(UsageError, match="baseline='yes' should be true or false"):
        configure("own", own, {"baseline": "yes"}, {})
    with pytest.raises(UsageError, match="kind=3 should be a text"):
        configure("own", own, {"kind": 3}, {})


def test_what_json_cannot_hold_is_no_setting() -> None:
    with pytest.raises(UsageError, match=r"configuration of own: layers=.* JSON, which cannot hold it"):
        configure("own", own, {"layers": {1, 2}}, {})


def test_a_trainer_must_declare_its_configuration() -> None:
    with pytest.raises(UsageError, match="trainer bare: its parameter `config` must be annotated"):
        configure("bare", bare, {}, {})


def test_what_does_not_change_the_outcome_is_not_described() -> None:
    config = configure("sft", sft.train, {"save_steps": 7}, {})
    assert not {"output_dir", "progress", "seed", "save_steps"} & described(config).keys()
    assert described(config) == described(configure("sft", sft.train, {}, {}))


def test_sections_are_read_and_what_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("sft: &all {beta: 1, limit: 2}\ngrpo: {<<: *all, limit: 3}\n")
    assert read_sections(path) == {"sft": {"beta": 1, "limit": 2}, "grpo": {"beta": 1, "limit": 3}}
    for text, words in (
        ("grpo: {beta: 1}\nsft: {}\ngrpo: {limit: 2}\n", "'grpo' stands in line 1 and in line 3: write it once"),
        ("grpo:\n  beta: 1\n  limit: 2\n  beta: 3\n", "'beta' stands in line 2 and in line 4"),
        ("grpo: {beta: 1, beta: 3}\n", "'beta' stands in line 1 and in line 1"),
        ("grpo: [", "is no YAML"),
        ("- grpo\n", "write one section per trainer"),
        ("", "write one section per trainer"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError) as caught:
            read_sections(path)
        assert words in str(caught.value) and str(path) in str(caught.value)
