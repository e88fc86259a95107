import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from speechbench import hub
from speechbench.benchmarks.hub_datasets import Origin, is_saved, open_parquet, open_saved, shards, table_of, texts
from speechbench.errors import MissingError, SpeechbenchError, UsageError

datasets = pytest.importorskip("datasets")
pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))


def has_a(folder: Path) -> bool:
    return (folder / "a.txt").is_file()


def keep(tmp_path: Path, commit: str, files: dict[str, str], revision: str = "main") -> Path:
    """What the hub's client keeps of a data set: a folder for each commit, and which one a branch was."""
    place = tmp_path / "hub" / "datasets--owner--name"
    (place / "refs" / revision).parent.mkdir(parents=True, exist_ok=True)
    (place / "refs" / revision).write_text(commit)
    for name, content in files.items():
        path = place / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return place / "snapshots" / commit


def refuse_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", unreachable)


def test_what_is_on_this_machine_is_used_and_its_commit_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_downloads(monkeypatch)
    kept = keep(tmp_path, COMMIT, {"a.txt": "a"})
    found = Origin("owner/name", None, ["a.txt"], has_a, "It lacks.")
    assert found.folder == kept
    assert found.provenance() == {"data set": "owner/name", "revision": COMMIT}
    other = keep(tmp_path, COMMIT[::-1], {"a.txt": "b"}, "v2")
    assert Origin("owner/name", "v2", ["a.txt"], has_a, "It lacks.").folder == other
    assert Origin("owner/name", COMMIT, ["a.txt"], has_a, "It lacks.").folder == kept
    with pytest.raises(MissingError, match=r"owner/name is not on this machine.*--revision v3`$"):
        _ = Origin("owner/name", "v3", ["a.txt"], has_a, "It lacks.").folder


def test_a_conversion_is_used_where_the_data_set_has_only_a_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path, COMMIT, {"name.py": "raise SystemExit"})
    kept = keep(tmp_path, COMMIT[::-1], {"a.txt": "a"}, "refs/convert/parquet")
    refuse_downloads(monkeypatch)
    assert Origin("owner/name", None, ["a.txt"], has_a, "It lacks.", ["refs/convert/parquet"]).folder == kept
    with pytest.raises(MissingError, match="ConnectionError"):
        _ = Origin("owner/name", COMMIT, ["a.txt"], has_a, "It lacks.", ["refs/convert/parquet"]).folder


def test_a_download_is_asked_for_what_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def snapshot_download(name: str, **options: Any) -> str:
        from huggingface_hub.errors import LocalEntryNotFoundError

        if options.pop("local_files_only", False):
            raise LocalEntryNotFoundError("nothing")
        asked.append({"name": name, **options})
        revision = options["revision"] or "main"
        return str(keep(tmp_path, COMMIT, {"a.txt" if revision == "refs/convert/parquet" else "b.txt": ""}, revision))

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
    with pytest.raises(MissingError, match=r"^It lacks\.$"):
        _ = Origin("owner/name", None, ["x/*.txt"], lambda folder: (folder / "x").is_dir(), "It lacks.").folder
    found = Origin("owner/name", None, ["*.txt"], has_a, "It lacks.", ["refs/convert/parquet"])
    assert found.provenance()["revision"] == COMMIT
    common = {"name": "owner/name", "repo_type": "dataset"}
    assert asked == [
        {**common, "revision": None, "allow_patterns": ["x/*.txt"]},
        {**common, "revision": None, "allow_patterns": ["*.txt"]},
        {**common, "revision": "refs/convert/parquet", "allow_patterns": ["*.txt"]},
    ]
    assert found.folder.name == COMMIT and len(asked) == 3  # it is looked for once

    def no_revision(*_: Any, **__: Any) -> None:
        from huggingface_hub.errors import RevisionNotFoundError

        raise RevisionNotFoundError("404", response=SimpleNamespace(headers={}, request=None))  # type: ignore[arg-type]

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", no_revision)
    with pytest.raises(MissingError, match=r"^It lacks\.; revision v9 was asked for$"):
        _ = Origin("owner/name", "v9", ["*.txt"], has_a, "It lacks.").folder
    with pytest.raises(hub.LackingError, match="owner/name is not on this machine and the hub has no revision v9 of"):
        hub.fetch("owner/name", ["*.txt"], has_a, "v9", "dataset")
    with hub.without_downloads(), pytest.raises(MissingError, match="is not downloaded to be looked at"):
        _ = Origin("owner/name", None, ["*.txt"], lambda folder: False, "It lacks.").folder


@pytest.mark.parametrize(
    ("setting", "says"), [({"HF_HUB_OFFLINE": "1"}, "OfflineModeIsEnabled"), ({"HF_HUB_OFFLINE": "0"}, "Connect")]
)
def test_without_a_hub_it_is_said_within_seconds(tmp_path: Path, setting: dict[str, str], says: str) -> None:
    with socket.socket() as closed:  # bound and not listening: it answers nobody
        closed.bind(("127.0.0.1", 0))
        code = (
            "from speechbench.benchmarks.hub_datasets import Origin; Origin('owner/name', None, ['a'], bool, '').folder"
        )
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": endpoint, **setting},
            capture_output=True,
            text=True,
            timeout=60,
        )
    last = done.stderr.splitlines()[-1]
    assert "MissingError: owner/name is not on this machine" in last and says in last
    assert last.endswith("HF_TOKEN set) run `hf download owner/name --repo-type dataset --include 'a'`")


def test_a_folder_is_its_own_origin(tmp_path: Path) -> None:
    found = Origin(str(tmp_path), None, ["a"], bool, "It lacks.")
    assert found.folder == tmp_path and found.provenance() == {"data set": str(tmp_path)}
    with pytest.raises(UsageError, match="revision='v2' is of a data set on the hub"):
        Origin(str(tmp_path), "v2", ["a"], bool, "It lacks.")
    with pytest.raises(UsageError, match=r"revision=1\.0 should be a branch, a tag or a commit"):
        Origin("owner/name", 1.0, ["a"], bool, "It lacks.")  # type: ignore[arg-type]
    for name in ("nowhere", "a/b/c", "./a", "owner/"):
        with pytest.raises(UsageError, match="there is no such folder"):
            Origin(name, None, ["a"], bool, "It lacks.")


def test_what_was_saved_is_found_again(tmp_path: Path) -> None:
    test = datasets.Dataset.from_dict({"x": list("abcde")}, split="test")
    train = datasets.Dataset.from_dict({"x": list("fghij")})
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(
        tmp_path / "both", num_shards={"train": 2, "test": 1}
    )
    files, _ = open_saved(tmp_path / "both", "it")
    found = {split: [texts(table_of(path).column("x")) for path in paths] for split, paths in files.items()}
    assert found == {"train": [list("fgh"), list("ij")], "test": [list("abcde")]}
    test.select([3, 1]).save_to_disk(tmp_path / "one")
    files, _ = open_saved(tmp_path / "one", "it")
    assert [texts(table_of(path).column("x")) for path in files["test"]] == [["d", "b"]]
    assert is_saved(tmp_path / "both") and is_saved(tmp_path / "one") and is_saved(tmp_path / "both" / "train")
    assert not is_saved(tmp_path) and not is_saved(tmp_path / "nowhere")
    train.save_to_disk(tmp_path / "unnamed")
    with pytest.raises(SpeechbenchError, match=r"does not say which split it is: save it in a DatasetDict"):
        open_saved(tmp_path / "unnamed", "it")
    (tmp_path / "both" / "train" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(SpeechbenchError, match=r"data-00001-of-00002\.arrow cannot be read"):
        open_saved(tmp_path / "both", "it")


def test_parquet_is_read_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "[odd] *name?"
    folder.mkdir()
    parts = [list("abc"), ["é\n", ""], list("xyz")]
    for number, part in enumerate(parts):
        datasets.Dataset.from_dict({"x": part}).to_parquet(folder / f"train-{number:05d}-of-00003.parquet")
    files, lacks = shards(folder)
    assert not lacks and [path.name[6:11] for path in files["train"]] == ["00000", "00001", "00002"]
    arrow = open_parquet(files, "it")
    assert [cell for path in arrow["train"] for cell in texts(table_of(path).column("x"))] == [
        *parts[0],
        *parts[1],
        *parts[2],
    ]
    (folder / "train-00001-of-00003.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(SpeechbenchError, match=r"cannot be read as a data set: .*; download it anew"):
        open_parquet(files, "it")


def test_a_split_without_rows_leaves_the_others(tmp_path: Path) -> None:
    schema = pyarrow.schema({"x": pyarrow.string()})
    for name, cells in (("train-00000-of-00002", ["a"]), ("train-00001-of-00002", []), ("test-00000-of-00001", [])):
        pyarrow.parquet.write_table(pyarrow.table({"x": cells}, schema=schema), tmp_path / f"{name}.parquet")
    files, _ = shards(tmp_path)
    arrow = open_parquet(files, "it")
    assert [texts(table_of(path).column("x")) for path in arrow["train"]] == [["a"]] and arrow["test"] == []
    assert open_parquet({"test": files["test"]}, "it") == {"test": []}


@pytest.mark.parametrize(
    ("names", "splits", "says"),
    [
        (["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"], {"train": 2}, ""),
        (["test-00000-of-00001-0a1b2c.parquet", "README.md"], {"test": 1}, ""),
        (["train-00001-of-00002.parquet"], {"train": 1}, "train has 1 of 2 files"),
        (["train/0000.parquet", "train/0001.parquet", "test/0000.parquet"], {"train": 2, "test": 1}, ""),
        (["train/0000.parquet", "train/0002.parquet"], {"train": 2}, "train has 2 of 3 files"),
        (["partial-train/0000.parquet"], {}, "train is converted in part only"),
        (["train/README.md", "clips/a.mp3"], {}, ""),
    ],
)
def test_splits_are_told_by_their_files(tmp_path: Path, names: list[str], splits: dict[str, int], says: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found, lacks = shards(tmp_path)
    assert {split: len(paths) for split, paths in found.items()} == splits
    assert "; ".join(lacks) == says


def test_texts_that_are_none_and_columns_that_are_no_texts() -> None:
    broken = pyarrow.Array.from_buffers(
        pyarrow.string(), 2, [None, pyarrow.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pyarrow.py_buffer(b"ab\xff\xfe")]
    )
    assert texts(pyarrow.chunked_array([broken])) == ["ab", "\udcff\udcfe"]
    for kind in ("string", "large_string"):
        assert texts(pyarrow.chunked_array([["a", None]], kind)) == ["a", None]
    assert texts(pyarrow.chunked_array([[None]], "null")) == [None]
    with pytest.raises(SpeechbenchError, match="holds int64, not texts"):
        texts(pyarrow.chunked_array([[1]]))


def test_a_missing_library_is_told_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingError, match=r"^it needs the package datasets.*pip install 'speechbench\[datasets\]'"):
        open_saved(tmp_path, "it")


def test_a_full_disk_is_no_damaged_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train-00000-of-00001.parquet"
    datasets.Dataset.from_dict({"x": ["a"]}).to_parquet(path)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("datasets.arrow_writer.ArrowWriter.write_row", full)
    with pytest.raises(SpeechbenchError, match=r"No space left on device; make room there"):
        open_parquet({"train": [path]}, "it")


def test_nothing_is_written_on_a_screen_that_is_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "train-00000-of-00001.parquet"
    datasets.Dataset.from_dict({"x": ["a"]}).to_parquet(path)
    capfd.readouterr()
    open_parquet({"train": [path]}, "it")
    assert capfd.readouterr() == ("", "") and not datasets.utils.are_progress_bars_disabled()
    path.write_bytes(b"PAR1")
    with pytest.raises(SpeechbenchError):
        open_parquet({"train": [path]}, "it")
    assert capfd.readouterr() == ("", "")
