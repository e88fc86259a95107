"""The first rows of covost2-mini, made in the test's own folder: enough to train on for a few steps."""

from __future__ import annotations

from pathlib import Path

import pytest

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
