"""What tests of several rooms share."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbench.cache import cache_folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder for the tests alone, with the corpora that were made before; subprocesses use it too."""
    folder = tmp_path_factory.mktemp("cache")
    for corpus in cache_folder().glob("*-mini-*"):
        if corpus.is_dir():
            (folder / corpus.name).symlink_to(corpus)
    before = os.environ.get("SPEECHBENCH_CACHE")
    os.environ["SPEECHBENCH_CACHE"] = str(folder)
    yield
    made = [corpus for corpus in folder.glob("*-mini-*") if corpus.is_dir() and not corpus.is_symlink()]
    del os.environ["SPEECHBENCH_CACHE"]
    if before is not None:
        os.environ["SPEECHBENCH_CACHE"] = before
    for corpus in made:  # so that the next time need not make them again
        if not (cache_folder() / corpus.name).exists():
            cache_folder().mkdir(parents=True, exist_ok=True)
            shutil.copytree(corpus, cache_folder() / corpus.name)


@pytest.fixture
def few_manifest(tmp_path: Path) -> Path:
    """Noise with references, four examples of each split; the first of the test split has no transcript."""
    lines = []
    for split in ("train", "validation", "test"):
        for number in range(4):
            name = f"{split}{number}.wav"
            noise = np.random.default_rng(number).standard_normal(8000) * 0.1
            soundfile.write(tmp_path / name, noise, 16000)
            line = {"audio": name, "references": ["drei sieben"], "target_language": "de", "split": split}
            if (split, number) != ("test", 0):
                line["source"] = "three seven"
            lines.append(line)
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
