"""The reward `comet`: what it needs, what it says of itself, and bad input."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from speechbench import hub
from speechbench.benchmarks.base import Example
from speechbench.errors import MissingError, UsageError
from speechbench.rewards.base import Batch
from speechbench.rewards.comet import TINY_FOLDER, Comet
from speechbench.rewards.comet_checkpoint import DEFAULTS, REFERENCELESS
from speechbench.rewards.comet_model import CometRegression
from speechbench.rewards.loading import load_reward

REFERENCE = "Anna hat heute im Garten zwei rote Äpfel gekauft."
SOURCE = "Anna bought two red apples in the garden today."
TINY = Comet("tiny")


def example(source: str | None = SOURCE, *references: str) -> Example:
    return Example("e", None, "", references, source, "en", "de")


@pytest.fixture(scope="module")
def referenceless(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random checkpoint of the class that looks at no reference."""
    from transformers import AutoConfig

    folder = tmp_path_factory.mktemp("kiwi")
    shutil.copytree(TINY_FOLDER / "encoder", folder / "encoder")
    hparams = {**DEFAULTS, "encoder_model": "BERT", "pretrained_model": "encoder", "hidden_sizes": [16, 8]}
    hparams["class_identifier"] = REFERENCELESS
    torch.manual_seed(1)
    model = CometRegression(AutoConfig.from_pretrained(folder / "encoder"), hparams, 0)
    (folder / "checkpoints").mkdir()
    torch.save({"state_dict": model.state_dict()}, folder / "checkpoints" / "model.ckpt")
    (folder / "hparams.yaml").write_text(yaml.safe_dump(hparams))
    return str(folder)


def test_what_an_example_lacks_leaves_it_without_a_score() -> None:
    examples = [example(SOURCE, REFERENCE), example(None, REFERENCE), example(SOURCE), example(SOURCE, REFERENCE)]
    score, no_source, no_reference, again = TINY.score(Batch.of([REFERENCE] * 4, examples))
    assert no_source is None
    assert no_reference is None
    assert score == again == TINY.score_texts([SOURCE], [REFERENCE], [REFERENCE])[0]
    assert TINY.score(Batch.of([REFERENCE], [example(None)])) == [None]


def test_the_first_reference_counts() -> None:
    both = example(SOURCE, REFERENCE, "Ein zweiter Satz.")
    swapped = replace(both, references=both.references[::-1])
    one = replace(both, references=both.references[:1])
    of_both, of_swapped, of_one = TINY.score(Batch.of([REFERENCE] * 3, [both, swapped, one]))
    assert of_both == of_one != of_swapped
    assert TINY.several_references == "first"


def test_a_checkpoint_without_references_needs_the_source_alone(referenceless: str) -> None:
    reward = load_reward(f"comet(model={referenceless})")
    assert reward.needs == {"source"}
    assert reward.several_references == "none"
    assert reward.is_pure
    assert reward.extra == ""
    bare, given, nothing = reward.score(
        Batch.of(["zwei Äpfel"] * 3, [example(SOURCE), example(SOURCE, REFERENCE), example(None, REFERENCE)])
    )
    assert bare is not None
    assert math.isfinite(bare)
    assert bare == given
    assert nothing is None
    assert reward.score(Batch.of(["zwei Äpfel"], [example("Tom slept.")])) != [bare]
    assert reward.signature()["class"] == REFERENCELESS
    assert load_reward(f"comet(model={TINY_FOLDER})").needs == {"source", "reference"}


AWKWARD = {
    "empty": "",
    "white space": " \t\n ",
    "emoji": "👩‍👩‍👧‍👦 ok 👍🏽",
    "combining": "Zu\u0308rich e\u0301\u0323\u0302",
    "right to left": "قرأت ليلى الكتاب אמש",
    "long": "Anna hat zwei Äpfel gekauft. " * 3500,
    "one long word": "ä" * 100_000,
    "control characters": "\0\x07\u200f",
}


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD.keys())
def test_awkward_texts_are_scored_like_any_other(text: str) -> None:
    examples = [example(SOURCE, REFERENCE), example(text, REFERENCE), example(SOURCE, text)]
    for score in TINY.score(Batch.of([text, REFERENCE, REFERENCE], examples)):
        assert score is not None
        assert math.isfinite(score)


def test_no_hypotheses_no_scores() -> None:
    assert TINY.score(Batch.of([], [])) == []
    assert Comet("no/where").score(Batch.of([], [])) == []


def test_a_checkpoint_is_found_by_file_too_and_an_ambiguous_folder_refused(tmp_path: Path) -> None:
    shutil.copytree(TINY_FOLDER, tmp_path / "copy")
    by_file = Comet(str(tmp_path / "copy" / "checkpoints" / "model.ckpt"))
    assert by_file.display == "COMET (copy)"
    assert by_file.signature() == {**TINY.signature(), "checkpoint": "copy"}
    assert by_file.score_texts(["a"], ["zwei"], ["zwei"]) == TINY.score_texts(["a"], ["zwei"], ["zwei"])
    file = tmp_path / "copy" / "checkpoints" / "model.ckpt"
    shutil.copy(file, file.with_name("b.ckpt"))
    file.rename(file.with_name("a.ckpt"))
    with pytest.raises(UsageError, match=r"2 \.ckpt files"):
        Comet(str(tmp_path / "copy")).signature()


def test_a_hub_name_that_cannot_be_reached_is_missing_with_the_command_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi, constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(HfApi, "model_info", unreachable)
    with pytest.raises(MissingError, match=r"ConnectionError.*hf download nobody/nothing`$"):
        Comet("nobody/nothing").signature()

    monkeypatch.setattr(hub, "_SECONDS", -0.9)
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: __import__("time").sleep(5))
    with pytest.raises(MissingError, match="does not answer"):
        Comet("nobody/nothing").signature()
    with pytest.raises(MissingError, match=r"\./nothing is no folder"):
        Comet("./nothing").signature()


def test_an_encoder_that_is_not_there_is_missed_before_anything_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi, constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(HfApi, "model_info", unreachable)
    shutil.copytree(TINY_FOLDER, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "encoder")
    with pytest.raises(MissingError, match=r"encoder is not on this machine.*name a folder"):
        load_reward(f"comet(model={tmp_path / 'copy'})")


def test_tiny_is_refused_outside_the_mini_corpora() -> None:
    real = SimpleNamespace(name="covost2", comet_checkpoint="Unbabel/wmt22-comet-da")
    mini = SimpleNamespace(name="covost2-mini", comet_checkpoint="tiny")
    with pytest.raises(UsageError, match=r"comet\[tiny\].*covost2"):
        TINY.check(real)  # type: ignore[arg-type]
    TINY.check(mini)  # type: ignore[arg-type]
    Comet().check(real)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "parameters", [{"batch_size": 0}, {"batch_size": 2.5}, {"batch_size": True}, {"model": ""}, {"model": 7}]
)
def test_wrong_parameters_are_refused(parameters: dict[str, Any]) -> None:
    ((name, value),) = parameters.items()
    with pytest.raises(UsageError, match=rf"comet\({name}={value}\): "):
        Comet(**parameters)


def test_names_and_signature(tmp_path: Path) -> None:
    assert TINY.display == "comet[tiny]"
    assert Comet().display == "COMET (wmt22-comet-da)"
    signature = TINY.signature()
    assert signature["class"] == "regression_metric"
    assert signature["precision"] == "float32"
    assert signature["torch"].startswith(torch.__version__.split("+")[0])
    assert Comet("tiny", 3).signature() == signature  # a batch's size does not move a bit of a score
    shutil.copytree(TINY_FOLDER, tmp_path / "tiny")
    copy = str(tmp_path / "tiny")
    assert Comet(copy).signature() == signature  # wherever it stands
    hparams, tokenizer = tmp_path / "tiny" / "hparams.yaml", tmp_path / "tiny" / "encoder" / "tokenizer_config.json"
    hparams.write_text(hparams.read_text().replace("regression_metric", REFERENCELESS))
    moved = Comet(copy).signature()
    assert {name for name, value in moved.items() if value != signature[name]} == {"class", "hparams"}
    tokenizer.write_text(tokenizer.read_text().replace("true", "false"))
    assert {name for name, value in Comet(copy).signature().items() if value != moved[name]} == {"encoder"}
