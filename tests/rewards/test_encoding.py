"""Texts in padded batches, and files of checkpoints."""

import random
from pathlib import Path

import pytest

from speechbench.rewards.encoding import batches_by_length, files_of, name_of


def test_batches_hold_each_text_once_and_pad_no_full_one() -> None:
    rng = random.Random(0)
    lengths = [rng.randint(2, 60) for _ in range(500)]
    batches = list(batches_by_length(lengths, size=32, full=256))
    assert sorted(number for numbers in batches for number in numbers) == list(range(500))
    assert max(map(len, batches)) <= 32
    for numbers in batches:
        longest = max(lengths[number] for number in numbers)
        shorter = [number for number in numbers if lengths[number] < longest]
        assert len(shorter) * max((lengths[number] for number in shorter), default=0) < 256
    assert list(batches_by_length([], 32, 256)) == []


def test_folders_are_no_files_and_each_file_counts_once(tmp_path: Path) -> None:
    (tmp_path / "best.model").mkdir()
    (tmp_path / "spiece.model").write_text("")
    assert files_of(tmp_path, ("*.model", "spiece.*")) == [tmp_path / "spiece.model"]


def test_a_folder_is_called_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert name_of(".") == name_of(str(tmp_path / "mine")) == name_of("../mine") == "mine"
    assert name_of("owner/model") == "owner/model"
