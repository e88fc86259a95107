"""docs/trainers.md: its settings are taken, its tables name every option, and the model page every model."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import yaml

from speechbench.builtin import MODELS
from speechbench.planning import plan
from speechbench.registry import TRAINERS
from speechbench.trainers.config import TrainConfig
from speechbench.trainers.mixed_grpo import MixedGrpoConfig

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "trainers.md").read_text(encoding="utf-8")


def test_the_settings_on_the_page_are_taken(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    config = yaml.safe_load(block)
    planned = plan(["bleu"], trainers=list(config), config=config, limit=2, out=tmp_path)
    taken = {run.trainer: run.config for run in planned.runs if run.config is not None}
    for trainer, settings in config.items():
        assert {name: getattr(taken[trainer], name) for name in settings} == settings


def test_every_trainer_and_every_option_of_grpo_is_on_the_page() -> None:
    general = {field.name for field in dataclasses.fields(TrainConfig)} | {"num_generations", "temperature"}
    options = {field.name for field in dataclasses.fields(MixedGrpoConfig)} - general
    assert {name for name in options if f"`{name}`" not in PAGE} == set()
    assert {name for name in TRAINERS.names() if f"`{name}`" not in PAGE} == set()


def test_every_model_is_on_its_page() -> None:
    page = (DOCS / "models.md").read_text(encoding="utf-8")
    assert {name for name in MODELS if f"| `{name}` |" not in page} == set()
