"""Reading COMET checkpoints: strictly, and without running what they hold."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml

from speechbench.errors import SpeechbenchError, UsageError
from speechbench.rewards.comet import TINY_FOLDER, Comet

Rewrite = Callable[[dict[str, Any]], object]
TINY = Comet("tiny")


def rewritten(folder: Path, change: Rewrite) -> str:
    """A copy of the embedded checkpoint with other contents."""
    shutil.copytree(TINY_FOLDER, folder)
    file = folder / "checkpoints" / "model.ckpt"
    content = torch.load(file, weights_only=True)
    change(content)
    torch.save(content, file)
    return str(folder)


def without(name: str) -> Rewrite:
    return lambda content: content["state_dict"].pop(name)


def with_extra(name: str) -> Rewrite:
    return lambda content: content["state_dict"].update({name: torch.zeros(2)})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (without("estimator.ff.3.weight"), "estimator.ff.3.weight is missing"),
        (without("encoder.model.embeddings.word_embeddings.weight"), "word_embeddings.weight is missing"),
        (with_extra("estimator.ff.9.weight"), "estimator.ff.9.weight is not part"),
        (with_extra("layerwise_attention.gamma"), r"gamma has shape \(2,\) instead of \(1,\)"),
        (lambda content: content.pop("state_dict"), "no state_dict"),
        (lambda content: content["hyper_parameters"].update(activations="Swirl"), "'Swirl'"),
        (lambda content: content["hyper_parameters"].update(encoder_model="XLM-RoBERTa"), "'XLM-RoBERTa'.*'bert'"),
        (lambda content: content["hyper_parameters"].update(pool="default"), "'default'"),
        (lambda content: content["hyper_parameters"].update(layer=3), "layer 3"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path, change: Rewrite, complaint: str) -> None:
    with pytest.raises(SpeechbenchError, match=complaint):
        Comet(rewritten(tmp_path / "copy", change)).score_texts(["a"], ["b"], ["c"])


def test_weights_that_inference_does_not_need_are_passed_over(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        for name in ("layerwise_attention.dropout_mask", "encoder.model.pooler.dense.weight"):
            content["state_dict"][name] = torch.zeros(2)
        content["state_dict"]["encoder.model.embeddings.position_ids"] = torch.arange(5)[None]

    copy = Comet(rewritten(tmp_path / "copy", change))
    assert copy.score_texts(["a"], ["zwei"], ["zwei"]) == TINY.score_texts(["a"], ["zwei"], ["zwei"])


def test_lightnings_own_classes_are_read_but_no_other_code_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AttributeDict(dict[str, Any]):
        """Pickled under Lightning's name."""

    module = ModuleType("pytorch_lightning.utilities.parsing")
    module.AttributeDict = AttributeDict  # type: ignore[attr-defined]
    AttributeDict.__module__, AttributeDict.__qualname__ = module.__name__, "AttributeDict"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)
        patch.setitem(sys.modules, "pytorch_lightning", ModuleType("pytorch_lightning"))
        patch.setitem(sys.modules, "pytorch_lightning.utilities", ModuleType("pytorch_lightning.utilities"))
        folder = rewritten(
            tmp_path / "lightning",
            lambda content: content.update(hyper_parameters=AttributeDict(content["hyper_parameters"])),
        )
    assert Comet(folder).score_texts(["a"], ["zwei"], ["zwei"]) == TINY.score_texts(["a"], ["zwei"], ["zwei"])
    hostile = rewritten(tmp_path / "hostile", lambda content: content.update(callbacks=Path("x")))
    with pytest.raises(SpeechbenchError, match="weights only"):
        Comet(hostile).score_texts(["a"], ["b"], ["c"])


def edit_hparams(folder: Path, **changes: Any) -> None:
    file = folder / "hparams.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **changes}))


def test_sparsemax_patch_means_softmax(tmp_path: Path) -> None:
    def mix(content: dict[str, Any], transformation: str) -> None:
        content["hyper_parameters"]["layer_transformation"] = transformation
        for number, weight in enumerate((0.9, 0.1, 0.2)):
            content["state_dict"][f"layerwise_attention.scalar_parameters.{number}"] = torch.tensor([weight])

    columns = ["Anna saw it."], ["zwei Äpfel"], ["drei Äpfel im Garten"]
    soft = Comet(rewritten(tmp_path / "soft", lambda content: mix(content, "softmax")))
    sparse = Comet(rewritten(tmp_path / "sparse", lambda content: mix(content, "sparsemax")))
    patched = Comet(rewritten(tmp_path / "patched", lambda content: mix(content, "sparsemax")))
    edit_hparams(tmp_path / "patched", layer_transformation="sparsemax_patch")
    assert patched.score_texts(*columns) == soft.score_texts(*columns) != sparse.score_texts(*columns)


def test_a_folder_that_is_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match=r"no COMET checkpoint.*checkpoints/\*\.ckpt"):
        Comet(str(tmp_path)).signature()


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", b"\x80\x02}q\x00."])
def test_a_file_that_is_no_checkpoint_is_told(tmp_path: Path, content: bytes) -> None:
    shutil.copytree(TINY_FOLDER, tmp_path / "copy")
    file = tmp_path / "copy" / "checkpoints" / "model.ckpt"
    file.write_bytes(content)
    with pytest.raises(SpeechbenchError, match=str(file)):
        Comet(str(tmp_path / "copy")).signature()
    whole = (TINY_FOLDER / "checkpoints" / "model.ckpt").read_bytes()
    file.write_bytes(whole[: len(whole) // 2])  # a download that was cut off
    with pytest.raises(SpeechbenchError, match=f"{file} cannot be read"):
        Comet(str(tmp_path / "copy")).signature()


@pytest.mark.parametrize(("text", "complaint"), [("a: [", "is no YAML"), ("- a\n- b\n", "no hyper-parameters")])
def test_a_broken_hparams_file_is_told(tmp_path: Path, text: str, complaint: str) -> None:
    shutil.copytree(TINY_FOLDER, tmp_path / "copy")
    (tmp_path / "copy" / "hparams.yaml").write_text(text)
    with pytest.raises(SpeechbenchError, match=rf"hparams\.yaml.*{complaint}"):
        Comet(str(tmp_path / "copy")).signature()


def test_the_class_stands_in_the_checkpoint_where_there_is_no_hparams_file(tmp_path: Path) -> None:
    folder = rewritten(tmp_path / "copy", lambda content: None)
    (tmp_path / "copy" / "hparams.yaml").unlink()
    assert Comet(folder).score_texts(["a"], ["zwei"], ["zwei"]) == TINY.score_texts(["a"], ["zwei"], ["zwei"])
    nameless = rewritten(tmp_path / "nameless", lambda content: content.pop("hyper_parameters"))
    (tmp_path / "nameless" / "hparams.yaml").unlink()
    with pytest.raises(SpeechbenchError, match=r"no hyper-parameters: put its hparams\.yaml"):
        Comet(nameless).signature()
    of_old_torch = tmp_path / "copy" / "checkpoints" / "model.ckpt"
    torch.save(torch.load(of_old_torch, weights_only=True), of_old_torch, _use_new_zipfile_serialization=False)
    assert Comet(folder).score_texts(["a"], ["zwei"], ["zwei"]) == TINY.score_texts(["a"], ["zwei"], ["zwei"])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"state_dict": []}, "it has no state_dict"),
        ({"state_dict": {}, "hyper_parameters": ["a"]}, "its hyper_parameters have no names"),
        ({"state_dict": {}, "hyper_parameters": {"class_identifier": ["a"]}}, "is no name"),
    ],
)
def test_other_files_of_torch_are_refused(tmp_path: Path, content: dict[str, Any], complaint: str) -> None:
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(SpeechbenchError, match=complaint):
        Comet(str(tmp_path / "other.ckpt")).signature()


@pytest.mark.parametrize("text", ["", "a some", "b some", "e some", "."])
def test_files_of_no_kind_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.ckpt").write_text(text)
    with pytest.raises(SpeechbenchError, match=r"cannot be read as a checkpoint of weights only: \w+.*get it again"):
        Comet(str(tmp_path / "other.ckpt")).signature()


def test_an_encoder_with_code_of_its_own_is_refused_and_nobody_asked(tmp_path: Path) -> None:
    folder = shutil.copytree(TINY_FOLDER, tmp_path / "copy")
    marker = tmp_path / "ran"
    (folder / "encoder" / "own.py").write_text(f"open({str(marker)!r}, 'w')\n")
    (folder / "encoder" / "config.json").write_text('{"auto_map": {"AutoConfig": "own.Config"}, "model_type": "own"}')
    with pytest.raises(SpeechbenchError, match=r"holds no encoder's config\.json"):
        Comet(str(folder)).score_texts(["a"], ["b"], ["c"])
    assert not marker.exists()
