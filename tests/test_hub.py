from pathlib import Path
from typing import Any

import pytest

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


def test_names_of_the_hub_are_told_from_paths() -> None:
    assert all(map(hub.is_hub_name, ("owner/model", "a.b-c/d_e.f", "1/2")))
    assert not any(map(hub.is_hub_name, ("model", "./model", "a/b/c", "owner/", "/model", "owner/..", "a b/c")))
