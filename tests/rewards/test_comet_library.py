"""COMET's unified and XCOMET models: through unbabel-comet, as its own `predict` scores them."""

import logging
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml

from speechbench.benchmarks.base import Example
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.rewards.base import Batch
from speechbench.rewards.comet import TINY_FOLDER, Comet
from speechbench.rewards.loading import load_reward

SOURCES = ["Anna bought two red apples in the garden today.", "Tom saw three old books.", ""]
REFERENCES = ["Anna hat heute im Garten zwei rote Äpfel gekauft.", "Tom hat drei alte Bücher gesehen.", "."]
HYPOTHESES = ["Anna hat zwei Äpfel gekauft.", "", "zwei " * 200, "Tom hat drei alte Bücher gesehen.", "zwei " * 200]
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "unified": ("UnifiedMetric", "unified_metric", {}),
    "kiwi": ("UnifiedMetric", "unified_metric", {"input_segments": ["mt", "src"]}),
    "no source": ("UnifiedMetric", "unified_metric", {"input_segments": ["mt", "ref"], "sent_layer": 1}),
    "words": (
        "UnifiedMetric",
        "unified_metric",
        {"input_segments": ["mt", "src"], "word_level_training": True, "cross_entropy_weights": [0.1, 0.5, 0.5]},
    ),
    "xcomet": ("XCOMETMetric", "xcomet_metric", {}),
    "ranking": ("RankingMetric", "ranking_metric", {}),
}


def rows() -> tuple[list[str], list[str], list[str]]:
    """Each hypothesis with each source and its reference, in groups."""
    columns = [(s, h, r) for s, r in zip(SOURCES, REFERENCES, strict=True) for h in HYPOTHESES]
    sources, hypotheses, references = (list(column) for column in zip(*columns, strict=True))
    return sources, hypotheses, references


@pytest.fixture(scope="module")
def unbabel() -> ModuleType:
    return pytest.importorskip("comet.models")


def saved(unbabel: ModuleType, folder: Path, which: str) -> Any:
    """A small random checkpoint in Unbabel's layout; gives unbabel-comet's model."""
    kind, identifier, settings = KINDS[which]
    shutil.copytree(TINY_FOLDER / "encoder", folder / "encoder")
    settings = {"encoder_model": "BERT", "word_layer": 2, "hidden_sizes": [32, 16], **settings}
    if identifier == "ranking_metric":
        settings = {"encoder_model": "BERT"}
    torch.manual_seed(3)
    model = getattr(unbabel, kind)(
        pretrained_model=str(folder / "encoder"), load_pretrained_weights=False, local_files_only=True, **settings
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2.0)  # so that random models tell texts apart
    hparams = {**settings, "pretrained_model": "somewhere/else", "class_identifier": identifier, "batch_size": 4}
    (folder / "checkpoints").mkdir()
    content = {"state_dict": model.state_dict(), "hyper_parameters": hparams, "pytorch-lightning_version": "2.0.0"}
    torch.save(content, folder / "checkpoints" / "model.ckpt")
    (folder / "hparams.yaml").write_text(yaml.safe_dump(hparams))
    return model.eval()


@pytest.mark.parametrize("which", KINDS)
def test_scores_are_those_of_predict(unbabel: ModuleType, tmp_path: Path, which: str) -> None:
    model = saved(unbabel, tmp_path, which)
    sources, hypotheses, references = rows()
    ours = Comet(str(tmp_path), 4)
    wanted = {"mt": hypotheses, "src": sources, "ref": references}
    used = {name: column for name, column in wanted.items() if name in ours.checkpoint.segments}
    samples = [dict(zip(used, values, strict=True)) for values in zip(*used.values(), strict=True)]
    theirs = model.predict(samples, batch_size=16, gpus=0, progress_bar=False)["scores"]
    assert ours.score_texts(sources, hypotheses, references) == pytest.approx(theirs, abs=1e-5)
    assert len({round(score, 4) for score in theirs}) > 3


def test_a_checkpoint_says_what_it_needs(unbabel: ModuleType, tmp_path: Path) -> None:
    needs = {
        "unified": {"source", "reference"},
        "kiwi": {"source"},
        "no source": {"reference"},
        "xcomet": {"source", "reference"},
    }
    examples = [
        Example("a", None, "", tuple(REFERENCES[:2]), SOURCES[0], "en", "de"),
        Example("b", None, "", tuple(REFERENCES[:1]), None, "en", "de"),
        Example("c", None, "", (), SOURCES[0], "en", "de"),
    ]
    for which, wanted in needs.items():
        (tmp_path / which).mkdir()
        saved(unbabel, tmp_path / which, which)
        reward = load_reward(f"comet(model={str(tmp_path / which)!r})")
        assert reward.needs == wanted
        assert reward.several_references == ("first" if "reference" in wanted else "none")
        assert reward.extra == "comet"
        assert not reward.is_pure
        scores = reward.score(Batch.of(["zwei Äpfel"] * 3, examples))
        assert [score is None for score in scores] == [False, "source" in wanted, "reference" in wanted]
        signature = reward.signature()
        assert signature["unbabel-comet"]
        assert signature["class"] == KINDS[which][1]
        assert signature != Comet(str(tmp_path / which), 3).signature()  # it pads by what is in the batch


def test_what_is_the_same_is_scored_once(unbabel: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(unbabel, tmp_path, "kiwi")
    reward = Comet(str(tmp_path))
    scorer: Any = reward._scorer
    prepared: list[dict[str, str]] = []
    prepare = scorer.model.prepare_for_inference

    def counting(samples: list[dict[str, str]]) -> Any:
        prepared.extend(samples)
        return prepare(samples)

    monkeypatch.setattr(scorer.model, "prepare_for_inference", counting)
    scores = reward.score_texts(["a", "a", "b"], ["zwei", "zwei", "zwei"], ["x", "y", "z"])
    assert sorted(prepared, key=str) == [{"mt": "zwei", "src": "a"}, {"mt": "zwei", "src": "b"}]
    assert scores[0] == scores[1] != scores[2]


def test_strict_as_our_own(unbabel: ModuleType, tmp_path: Path) -> None:
    saved(unbabel, tmp_path, "words")
    file = tmp_path / "checkpoints" / "model.ckpt"
    content = torch.load(file, weights_only=True)
    lacking = {name: weight for name, weight in content["state_dict"].items() if name != "wordloss.weight"}
    whole = Comet(str(tmp_path)).score_texts(["a"], ["zwei"], [""])
    torch.save({**content, "state_dict": lacking}, file)
    assert Comet(str(tmp_path)).score_texts(["a"], ["zwei"], [""]) == whole  # a loss's weights are no model's
    del lacking["estimator.ff.3.weight"]
    torch.save({**content, "state_dict": lacking}, file)
    with pytest.raises(SpeechbenchError, match=r"estimator\.ff\.3\.weight is missing"):
        Comet(str(tmp_path)).score_texts(["a"], ["zwei"], [""])
    content["hyper_parameters"]["encoder_model"] = "Mamba"
    torch.save(content, file)
    with pytest.raises(SpeechbenchError, match=r"unbabel-comet cannot make a unified_metric of .*Mamba"):
        Comet(str(tmp_path)).score_texts(["a"], ["zwei"], [""])


def test_a_class_that_nobody_knows_is_refused(unbabel: ModuleType, tmp_path: Path) -> None:
    shutil.copytree(TINY_FOLDER, tmp_path / "copy")
    hparams = tmp_path / "copy" / "hparams.yaml"
    hparams.write_text(hparams.read_text().replace("regression_metric", "oracle_metric"))
    with pytest.raises(UsageError, match=r"'oracle_metric', which unbabel-comet does not know.*xcomet_metric"):
        Comet(str(tmp_path / "copy")).score_texts(["a"], ["b"], ["c"])


@pytest.mark.parametrize("broken", [None, "cannot import name 'AdamW' from 'transformers'"])
def test_without_unbabel_comet_other_classes_are_missed_when_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str | None
) -> None:
    shutil.copytree(TINY_FOLDER, tmp_path / "copy")
    hparams = tmp_path / "copy" / "hparams.yaml"
    hparams.write_text(hparams.read_text().replace("regression_metric", "xcomet_metric"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "comet"]:
        monkeypatch.delitem(sys.modules, name)
    if broken is None:
        monkeypatch.setitem(sys.modules, "comet", None)
    else:
        (tmp_path / "comet").mkdir()
        (tmp_path / "comet" / "__init__.py").write_text(f"raise ImportError({broken!r})\n")
        monkeypatch.syspath_prepend(tmp_path)
    complaint = r"class 'xcomet_metric'.*transformers 5.* `pip install 'speechbench\[comet\]'`$"
    with pytest.raises(MissingError, match=complaint):
        load_reward(f"comet(model={str(tmp_path / 'copy')!r})")


@pytest.mark.slow
def test_nothing_is_told_on_the_screen(unbabel: ModuleType, tmp_path: Path) -> None:
    saved(unbabel, tmp_path, "xcomet")
    script = (
        "import logging\n"
        "from speechbench.rewards.comet import Comet\n"
        f"Comet({str(tmp_path)!r}).score_texts(['a', 'b'], ['zwei', 'drei'], ['zwei', 'drei'])\n"
        "print(logging.getLogger().handlers, logging.getLogger().level)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"[] {logging.WARNING}\n"
    assert done.stderr == ""
