from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.utils import filter_repo_objects

from speechbench import hub
from speechbench.errors import MissingError, UsageError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def keep(tmp_path: Path, files: list[str]) -> Path:
    """What the hub's client keeps of a model."""
    place = tmp_path / "hub" / "models--owner--model"
    snapshot = place / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    for name in files:
        (snapshot / name).write_text("{}")
    return snapshot


def refuse_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)


@pytest.mark.parametrize(
    ("files", "is_whole"),
    [
        (["config.json", "model.safetensors"], True),
        (["config.json", "pytorch_model.bin"], True),
        (["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], True),
        (["config.json", "model-00002-of-00002.safetensors", "model.safetensors.index.json"], False),
        (["config.json", "pytorch_model-00001-of-00002.bin", "model-00001-of-00002.safetensors"], False),
        (["config.json", "adapter_model.safetensors"], False),
        (["config.json"], False),
        (["model.safetensors"], False),
    ],
)
def test_what_a_download_left_unfinished_is_downloaded_on(
    tmp_path: Path, files: list[str], is_whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep(tmp_path, files)
    refuse_downloads(monkeypatch)
    if is_whole:
        assert hub.resolve("owner/model") == kept
    else:
        with pytest.raises(MissingError, match="owner/model is not on this machine and asking the hub"):
            hub.resolve("owner/model")


def test_a_revision_is_of_the_hub_and_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_downloads(monkeypatch)
    assert hub.resolve(str(tmp_path)) == tmp_path
    with pytest.raises(UsageError, match=r"^revision='v2' is of a model on the hub, and .* is a folder: leave it out$"):
        hub.resolve(str(tmp_path), "v2")
    for wrong in (1.0, 1234567, True, ""):  # as a spec gives them
        with pytest.raises(UsageError, match=r"should be a branch, a tag or a commit.*in quotes, revision='1\.0'$"):
            hub.resolve("owner/model", wrong)  # type: ignore[arg-type]
    with pytest.raises(MissingError, match=r"run `hf download owner/model --revision 'odd name'`$"):
        hub.resolve("owner/model", "odd name")
    kept = keep(tmp_path, ["config.json", "model.safetensors"])
    assert hub.resolve("owner/model", COMMIT) == kept


def test_weights_that_nobody_reads_are_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    read = ["config.json", "tekken.json", "adapter_model.safetensors", *shards]
    offered = [*read, "consolidated.safetensors", "tf_model.h5", "flax_model.msgpack"]

    def download(*_: Any, allow_patterns: Any, ignore_patterns: Any, **__: Any) -> str:
        wanted = filter_repo_objects(offered, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns)
        return str(keep(tmp_path, list(wanted)))

    monkeypatch.setattr(hub, "cached", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert {file.name for file in hub.resolve("owner/model").iterdir()} == set(read)


def test_a_name_that_the_hub_does_not_have_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unknown)
    with pytest.raises(MissingError, match="owner/model is not on this machine and the hub has none of this name, or"):
        hub.resolve("owner/model")


def test_a_checkpoint_is_a_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="checkpoint=2024 should be a folder or owner/model, as a text"):
        hub.resolve(2024)  # type: ignore[arg-type]


def test_the_hubs_cache_says_what_a_folder_is_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keep(tmp_path, [])
    monkeypatch.chdir(kept)
    assert hub.snapshot_of(kept) == hub.snapshot_of(Path()) == ("owner/model", COMMIT)
    (tmp_path / "mine" / "snapshots" / "1").mkdir(parents=True)
    assert hub.snapshot_of(tmp_path) is hub.snapshot_of(tmp_path / "mine" / "snapshots" / "1") is None


def test_names_of_the_hub_are_told_from_paths() -> None:
    assert all(map(hub.is_hub_name, ("owner/model", "a.b-c/d_e.f", "1/2")))
    assert not any(map(hub.is_hub_name, ("model", "./model", "a/b/c", "owner/", "/model", "owner/..", "a b/c")))
