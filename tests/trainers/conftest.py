"""The first rows of covost2-mini, enough to train on for a few steps, and what trainings leave, to be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from speechbench.benchmarks.covost2 import Covost2
from speechbench.benchmarks.mini.corpora import Covost2Mini


class Few(Covost2):
    """Real files of the embedded corpus, few of them."""

    metrics = ("bleu", "comet", "slots")
    comet_checkpoint = "tiny"
    name = "few"


@pytest.fixture(scope="session")
def few_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    Covost2Mini.write(folder, {"train": 16, "validation": 4, "test": 8})
    return folder


@pytest.fixture
def few(few_folder: Path) -> Few:
    return Few(root=str(few_folder))


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def log_of(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def assert_equal(one: torch.nn.Module, other: torch.nn.Module) -> None:
    expected, found = weights(one), weights(other)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
