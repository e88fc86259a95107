import json
from pathlib import Path
from typing import Any

import pytest

from speechbench.benchmarks.hub_librisqa import HubLibriSQA
from speechbench.benchmarks.librisqa_files import source_of
from speechbench.errors import MissingError, SpeechbenchError, UsageError

datasets = pytest.importorskip("datasets")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Rows = list[dict[str, Any]]


def part(number: int, count: int) -> Rows:
    asked = {1: {"question": "Who?"}, 2: {"question_and_option": "Who? A. Ann B. Bob", "answer_and_analysis": "A. Ann"}}
    common = {"speech_path": "LibriSpeech/test-clean/1/2/1-2-{}.wav", "answer": "Ann", "duration": 1.5}
    return [
        {**common, **asked[number], "speech_path": common["speech_path"].format(row), "text": None if row else "ANN"}  # type: ignore[attr-defined]
        for row in range(count)
    ]


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def save(folder: Path, splits: dict[str, Rows], shards: int = 1) -> str:
    made = {split: datasets.Dataset.from_list(rows) for split, rows in splits.items()}
    datasets.DatasetDict(made).save_to_disk(folder, num_shards=dict.fromkeys(made, shards))
    return str(folder)


@pytest.mark.parametrize("number", [1, 2])
def test_rows_of_a_saved_data_set(tmp_path: Path, number: int) -> None:
    name = save(tmp_path / "saved", {"train": part(number, 5), "test": part(number, 2)}, shards=2)
    source = source_of(number, name, None)
    assert isinstance(source, HubLibriSQA)
    for split, count in (("train", 5), ("test", 2)):
        wheres, rows = zip(*source.rows(number, split), strict=True)
        assert list(rows) == part(number, count)
        assert wheres[-1] == f"{name}, row {count} of {split}"
    assert {path.suffix for path in source.sources()} == {"", ".arrow"} and len(source.sources()) == 5
    with pytest.raises(UsageError, match=f"holds part {number} of LibriSQA: use part={number}"):
        list(source.rows(3 - number, "train"))


def test_both_parts_by_the_hubs_names_of_splits(tmp_path: Path) -> None:
    splits = {"partI.train": part(1, 3), "partI.test": part(1, 1), "partII.train": part(2, 4)}
    source = HubLibriSQA(save(tmp_path / "saved", splits))
    found = {(n, name): len(list(source.rows(n, name))) for n in (1, 2) for name in ("train", "test")}
    assert found == {(1, "train"): 3, (1, "test"): 1, (2, "train"): 4, (2, "test"): 0}


def test_other_data_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpeechbenchError, match="has no column 'question', only a; it is no LibriSQA"):
        list(HubLibriSQA(save(tmp_path / "other", {"train": [{"a": "b"}]})).rows(1, "train"))
    with pytest.raises(MissingError, match="has no split train or test of part 1, only dev"):
        list(HubLibriSQA(save(tmp_path / "dev", {"dev": part(1, 1)})).rows(1, "train"))
    with pytest.raises(UsageError, match="revision='v1' is of a data set on the hub"):
        HubLibriSQA(str(tmp_path / "dev"), "v1")


def test_json_of_the_hub_is_pinned_to_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def snapshot_download(name: str, **options: Any) -> str:
        from huggingface_hub.errors import LocalEntryNotFoundError

        folder = tmp_path / "snapshots" / (options["revision"] or COMMIT)
        if options.pop("local_files_only", False):
            if not folder.is_dir():
                raise LocalEntryNotFoundError("nothing")
            return str(folder)
        asked.append({"name": name, **options})
        for number, inner in ((1, "LibriSQA-PartI"), (2, "LibriSQA-PartII")):
            (folder / inner).mkdir(parents=True)
            for split, count in (("train", 3), ("test", 2)):
                (folder / inner / f"{inner}-{split}.json").write_text(json.dumps(part(number, count)))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
    newest, older = HubLibriSQA("ZihanZhao/LibriSQA"), HubLibriSQA("ZihanZhao/LibriSQA", COMMIT[::-1])
    assert newest.provenance() == {"data set": "ZihanZhao/LibriSQA", "revision": COMMIT}
    assert older.provenance()["revision"] == COMMIT[::-1] and newest.identity() != older.identity()
    assert [(row["name"], row["repo_type"], row["revision"]) for row in asked] == [
        ("ZihanZhao/LibriSQA", "dataset", None),
        ("ZihanZhao/LibriSQA", "dataset", COMMIT[::-1]),
    ]
    wheres, rows = zip(*newest.rows(2, "test"), strict=True)
    assert list(rows) == part(2, 2)
    assert wheres[0] == f"{tmp_path}/snapshots/{COMMIT}/LibriSQA-PartII/LibriSQA-PartII-test.json, row 1"
    assert all(path.is_relative_to(tmp_path / "snapshots") for path in newest.sources())
    assert len(asked) == 2


def test_a_repository_without_the_files_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
    with pytest.raises(MissingError, match=r"^owner/name has not all of LibriSQA's JSON files on the hub: use Zihan"):
        HubLibriSQA("owner/name").provenance()


def test_without_a_hub_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingError, match=r"hf download ZihanZhao/LibriSQA --repo-type dataset"):
        HubLibriSQA("ZihanZhao/LibriSQA").provenance()
