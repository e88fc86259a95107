import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbench.benchmarks.librisqa import LibriSQA
from speechbench.benchmarks.speaker_split import ValidationSplit
from speechbench.errors import MissingError, SpeechbenchError, UsageError

NAMES = [f"{speaker}-1-{take:04d}" for speaker in range(20) for take in range(3)]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A train file of 20 speakers with 3 rows each, whose files are old enough for an index to last."""
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "data"
    put(root, NAMES)
    asked = {"question": "Who?", "answer": "He.", "text": "IT WAS HE"}
    path = root / "LibriSQA-PartI" / "LibriSQA-PartI-train.json"
    path.parent.mkdir()
    path.write_text(json.dumps([{"speech_path": f"{name}.wav", **asked} for name in NAMES]))
    return aged(root)


def put(root: Path, names: list[str]) -> None:
    (root / "audio").mkdir(parents=True, exist_ok=True)
    for name in names:
        soundfile.write(root / "audio" / f"{name}.wav", np.full(480, 0.1), 16_000)


def aged(root: Path) -> Path:
    for path in (root, *root.rglob("*")):
        os.utime(path, (1e9, 1e9))
    return root


def ids(benchmark: LibriSQA, split: str) -> set[str]:
    return {example.id for example in benchmark.load(split)}


def held_out(split: ValidationSplit) -> set[str]:
    rows = [(f"{name}#1", name.partition("-")[0]) for name in NAMES]
    return set(split.divide(rows, "LibriSQA part 1").held_out)


@pytest.mark.parametrize(
    ("parameters", "split"),
    [
        ({}, ValidationSplit()),
        ({"validation_share": 0.2}, ValidationSplit(share=0.2)),
        ({"validation_share": 0.2, "split_seed": 5}, ValidationSplit(share=0.2, seed=5)),
        ({"validation_share": 0.2, "split_by": "random"}, ValidationSplit("random", 0.2)),
    ],
)
def test_the_split_is_the_one_that_was_asked_for(root: Path, parameters: dict[str, object], split: object) -> None:
    assert isinstance(split, ValidationSplit)
    for _ in range(2):  # read from the files, then found in the index
        benchmark = LibriSQA(root=str(root), **parameters)  # type: ignore[arg-type]
        validation, train = ids(benchmark, "validation"), ids(benchmark, "train")
        assert validation == held_out(split) and train == {f"{name}#1" for name in NAMES} - validation
        assert len(benchmark.warnings) == (1 if split.by == "random" else 0)
        assert all("of validation are also in train" in warning for warning in benchmark.warnings)


def test_who_is_in_validation_does_not_depend_on_the_recordings(root: Path) -> None:
    shutil.rmtree(root / "audio")
    put(root, NAMES[::2])
    benchmark = LibriSQA(root=str(root), validation_share=0.2)
    there = {f"{name}#1" for name in NAMES[::2]}
    assert ids(benchmark, "validation") == held_out(ValidationSplit(share=0.2)) & there
    assert len(benchmark.problems) == len(NAMES) // 2


@pytest.mark.parametrize("by", ["speaker", "random"])
def test_a_listed_split_is_shared(root: Path, tmp_path: Path, by: str) -> None:
    first = LibriSQA(root=str(root), validation_share=0.3, split_seed=4, split_by=by)
    assert first.artifacts() == {}
    validation = ids(first, "validation")
    listed = first.artifacts()["validation split"]
    assert "Made with split_by=" in listed.read_text()
    shared = Path(shutil.copy(listed, tmp_path / "shared.txt"))
    os.utime(shared, (1e9, 1e9))
    second = LibriSQA(root=str(root), speakers=str(shared))
    assert ids(second, "validation") == validation and second.warnings == first.warnings
    assert f"Made with speakers={shared}" in second.artifacts()["validation split"].read_text()
    shared.write_text("0\n")
    assert {example.speaker for example in second.load("validation")} == {"0"}


def test_a_listing_that_was_removed_is_written_again(root: Path) -> None:
    listed = [LibriSQA(root=str(root), split_by="random") for _ in range(2)]
    listed[0].load("train")
    (path,) = listed[0].artifacts().values()
    content = path.read_text()
    path.unlink()
    listed[1].load("train")
    assert path.read_text() == content and listed[1].warnings == listed[0].warnings != []
    path.unlink()
    path.mkdir()
    with pytest.raises(SpeechbenchError, match=r"validation-split\.txt.*cannot be read or written"):
        LibriSQA(root=str(root), split_by="random").load("train")


def test_an_empty_split_says_what_would_fill_it(root: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"validation split is empty: with .*validation_share=0\.0,.* is more"):
        LibriSQA(root=str(root), validation_share=0.0).load("validation")
    with pytest.raises(MissingError, match=r"train split is empty: with .*validation_share=0\.99,.* is less"):
        LibriSQA(root=str(root), validation_share=0.99).load("train")
    everybody = tmp_path / "all.txt"
    everybody.write_text("\n".join(map(str, range(20))))
    with pytest.raises(MissingError, match=r"train split is empty: with speakers=.*; use another list"):
        LibriSQA(root=str(root), speakers=str(everybody)).load("train")
    shutil.copytree(root / "LibriSQA-PartI", tmp_path / "test only" / "LibriSQA-PartI")
    shutil.copytree(root / "audio", tmp_path / "test only" / "audio")
    path = tmp_path / "test only" / "LibriSQA-PartI" / "LibriSQA-PartI-train.json"
    path.rename(path.with_name("LibriSQA-PartI-test.json"))
    assert len(LibriSQA(root=str(tmp_path / "test only"), speakers=str(everybody)).load("test")) == len(NAMES)
    everybody.unlink()
    with pytest.raises(UsageError, match="no such file"):
        LibriSQA(root=str(root), speakers=str(everybody)).load("train")
    with pytest.raises(UsageError, match="split_by='chapter'"):
        LibriSQA(root=str(root), split_by="chapter")
