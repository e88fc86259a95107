"""LoRA: what learns, what it costs, where it is written, and that the base stays the model before training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from torch import nn

from speechbench.benchmarks.base import Example
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.models.checkpoint import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from speechbench.models.granite_speech import GraniteSpeech
from speechbench.models.loading import load_model
from speechbench.models.reading import PROMPTING
from tests.models.learning import learning_names, logprobs, train_a_little
from tests.models.own_network import assert_small_steps_beside_an_adapter_are_kept


def test_a_new_adapter_changes_nothing_and_is_the_same_in_every_run(
    random_folder: Path, random_model: GraniteSpeech, examples: list[Example]
) -> None:
    torch.manual_seed(1)
    one = GraniteSpeech(str(random_folder), lora_rank=4)
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    other = GraniteSpeech(str(random_folder), lora_rank=4)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one.network.state_dict().keys() == other.network.state_dict().keys()
    for name, tensor in one.network.state_dict().items():
        assert torch.equal(tensor, other.network.state_dict()[name])
    assert torch.equal(logprobs(one, examples), logprobs(random_model, examples))


def test_what_learns_is_the_adapter_and_what_is_named_beside_it(random_folder: Path) -> None:
    model = GraniteSpeech(str(random_folder), lora_rank=4, lora_targets="q_proj+v_proj")
    names = learning_names(model)
    of_lora = {name for name in names if ".lora_" in name}
    assert len(of_lora) == 2 * 2 * 2  # A and B, two targets, two layers
    assert all(("q_proj" in name or "v_proj" in name) and "language_model" in name for name in of_lora)
    assert names - of_lora and all("projector" in name for name in names - of_lora)
    alone = GraniteSpeech(str(random_folder), lora_rank=4, train="language_model")
    linear = [path for path, m in random_decoder(random_folder).named_modules() if isinstance(m, nn.Linear)]
    assert len(learning_names(alone)) == 2 * len(linear) and all(".lora_" in n for n in learning_names(alone))
    ranks = {p.shape[0] for n, p in alone.network.named_parameters() if ".lora_A" in n}
    assert ranks == {4}


def random_decoder(folder: Path) -> nn.Module:
    return GraniteSpeech(str(folder)).decoder


def test_alpha_scales_what_the_adapter_adds(random_folder: Path, examples: list[Example]) -> None:
    def moved(**options: Any) -> torch.Tensor:
        model = GraniteSpeech(str(random_folder), lora_rank=4, **options)
        with torch.no_grad():
            for name, parameter in model.network.named_parameters():
                if ".lora_B" in name:
                    parameter.fill_(0.01)
        return logprobs(model, examples)

    assert torch.equal(moved(), moved(lora_alpha=8)) and not torch.equal(moved(), moved(lora_alpha=16))


def test_the_adapter_computes_what_the_paper_says(random_folder: Path) -> None:
    model = GraniteSpeech(str(random_folder), lora_rank=3, lora_alpha=6, lora_targets="q_proj")
    layer = model.decoder.get_submodule("layers.0.self_attn.q_proj")
    x = torch.randn(5, layer.in_features)  # type: ignore[arg-type]
    a, b = layer.lora_A["stage0"].weight, layer.lora_B["stage0"].weight  # type: ignore[index,union-attr]
    with torch.no_grad():
        b.normal_()
        expected = x @ layer.base_layer.weight.T + 6 / 3 * x @ a.T @ b.T  # type: ignore[union-attr]
        torch.testing.assert_close(layer(x), expected)


def test_the_reference_costs_what_learns_and_stays(random_folder: Path, examples: list[Example]) -> None:
    model = GraniteSpeech(str(random_folder), lora_rank=4)
    copy = model.frozen_copy()
    ours = {id(p) for p in model.parameters()}
    own = sum(p.numel() for p in copy.parameters() if id(p) not in ours)
    assert own == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert own < 0.5 * sum(p.numel() for p in model.parameters())
    before = logprobs(copy, examples)
    train_a_little(model, examples)
    assert torch.equal(logprobs(copy, examples), before)
    assert not torch.allclose(logprobs(model, examples), before, atol=1e-3)


@pytest.mark.parametrize("train", ["language_model", "projector+language_model", "encoder+projector+language_model"])
def test_a_saved_folder_holds_what_was_trained_and_makes_the_model_again(
    random_folder: Path, examples: list[Example], tmp_path: Path, train: str
) -> None:
    model = GraniteSpeech(str(random_folder), lora_rank=4, lora_targets="q_proj+down_proj", train=train)
    train_a_little(model, examples)
    model.save(tmp_path / "saved")
    saved: set[str] = set()
    for file in (tmp_path / "saved").glob("*.safetensors"):
        with safe_open(file, "pt") as stream:
            saved |= set(stream.keys())
    parts = {name.partition(".")[0] for name in saved if ".lora_" not in name}
    assert parts == set(train.split("+")) - {"language_model"}
    again = load_model(f"{tmp_path / 'saved'}(train={train})")
    assert isinstance(again, GraniteSpeech)
    assert torch.equal(logprobs(again, examples), logprobs(model, examples))
    assert again.learner is not None and ".lora_" in "".join(learning_names(again))
    fresh = GraniteSpeech(str(random_folder), lora_rank=4, lora_targets="q_proj+down_proj", train=train)
    assert fresh.fingerprint != again.fingerprint
    fresh.load_weights(tmp_path / "saved")  # as a resumed training and a later stage do
    assert torch.equal(logprobs(fresh, examples), logprobs(model, examples))
    twin = tmp_path / "twin"
    again.save(twin)
    assert {f.name: f.read_bytes() for f in twin.iterdir()} == {
        f.name: f.read_bytes() for f in (tmp_path / "saved").iterdir()
    }


@pytest.mark.parametrize("train", ["projector+language_model", "encoder+projector+language_model"])
def test_small_steps_beside_an_adapter_are_kept(
    random_folder: Path, examples: list[Example], tmp_path: Path, train: str
) -> None:
    assert_small_steps_beside_an_adapter_are_kept(GraniteSpeech, random_folder, examples, tmp_path, train)


def test_the_folder_is_in_pefts_own_format(random_folder: Path, examples: list[Example], tmp_path: Path) -> None:
    model = GraniteSpeech(str(random_folder), lora_rank=4, train="language_model")
    train_a_little(model, examples)
    model.save(tmp_path)
    plain = GraniteSpeech(str(random_folder))
    before = logprobs(plain, examples)
    PeftModel.from_pretrained(plain.network, str(tmp_path))  # puts the adapter into the network in place
    assert not torch.equal(logprobs(plain, examples), before)
    torch.testing.assert_close(logprobs(plain, examples), logprobs(model, examples))


@pytest.mark.slow
def test_a_trained_adapter_is_kept_merged_or_trained_on(
    random_folder: Path, examples: list[Example], tmp_path: Path
) -> None:
    model = GraniteSpeech(str(random_folder), lora_rank=4)
    train_a_little(model, examples)
    model.save(tmp_path / "a")
    expected = logprobs(model, examples)
    for number, (options, parts) in enumerate({
        "adapter=train": "lora", "adapter=merge": "language_model", "adapter=merge, lora_rank=2": "lora",
        "adapter=keep, lora_rank=2": "lora", "train=projector": "projector",
    }.items()):  # fmt: skip
        stage = load_model(f"{tmp_path / 'a'}({options})")
        assert isinstance(stage, GraniteSpeech)
        torch.testing.assert_close(logprobs(stage, examples), expected, atol=1e-4, rtol=1e-4)
        before, copy = logprobs(stage, examples), stage.frozen_copy()
        assert any(parts in name for name in learning_names(stage))
        train_a_little(stage, examples)
        trained = logprobs(stage, examples)
        assert torch.equal(logprobs(copy, examples), before) and not torch.allclose(trained, before, atol=1e-3)
        folder = tmp_path / f"saved-{number}"
        stage.save(folder)
        again = load_model(str(folder))
        assert isinstance(again, GraniteSpeech)
        torch.testing.assert_close(logprobs(again, examples), trained, atol=1e-5, rtol=1e-5)


def test_what_makes_no_sense_is_refused(random_folder: Path, examples: list[Example], tmp_path: Path) -> None:
    folder = str(random_folder)
    for options, says in (
        (
            {"lora_rank": 4, "lora_targets": "q_prj"},
            "lora_targets='q_prj': .*, did you mean 'q_proj'.*down_proj",
        ),
        ({"lora_rank": 4, "lora_targets": "q_proj+ears"}, "called 'ears'"),
        ({"lora_rank": -1}, "lora_rank=-1"),
        ({"lora_rank": 1.5}, r"lora_rank=1\.5"),
        ({"lora_rank": 4, "lora_alpha": 0}, "lora_alpha=0"),
        ({"lora_rank": 4, "lora_targets": 5}, "lora_targets=5: give names"),
        ({"lora_alpha": 8.0}, r"lora_alpha=8\.0 is of a new LoRA adapter, and none is asked for: add lora_rank"),
        ({"lora_targets": "q_proj"}, "lora_targets=q_proj is of a new LoRA adapter"),
        ({"lora_rank": 4, "train": "projector"}, r"LoRA is of the language model, which train=projector freezes"),
        ({"adapter": "train"}, "comes with no adapter"),
        ({"adapter": "drop"}, "keep, train, merge"),
    ):
        with pytest.raises(UsageError, match=says):
            GraniteSpeech(folder, **options)
    GraniteSpeech(folder, lora_rank=4).save(tmp_path / "a")
    with pytest.raises(UsageError, match="adapter=merge or adapter=keep"):
        load_model(f"{tmp_path / 'a'}(lora_rank=4)")
    with pytest.raises(UsageError, match="adapter=train: train=projector freezes"):
        load_model(f"{tmp_path / 'a'}(adapter=train, train=projector)")
    GraniteSpeech(str(tmp_path / "a"), adapter="keep", lora_rank=2).save(tmp_path / "b")
    with pytest.raises(UsageError, match=r"two adapters.*adapter=merge"):
        load_model(f"{tmp_path / 'b'}(train=projector)")


def test_a_folder_that_is_not_whole_or_without_its_base_is_refused(random_folder: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(random_folder, tmp_path / "base"))
    GraniteSpeech(str(base), lora_rank=4).save(tmp_path / "a")

    def refused(says: str) -> None:
        with pytest.raises(SpeechbenchError, match=says):
            load_model(str(tmp_path / "a"))

    with (base / "chat_template.jinja").open("a") as stream:
        stream.write(" ")
    refused(rf"adapter of {base} as it was, and the model there is another one now: put it there, or write")
    base.rename(tmp_path / "moved")
    refused(rf"adapter of {base}, which is not there: put it there, or write where it is into .*speechbench\.json")
    shutil.copytree(random_folder, base)
    load_model(str(tmp_path / "a"))
    for name, says in ((ADAPTER_WEIGHTS, "missing, cut off or broken"), ("parts.safetensors", "missing, cut off"),
                       (ADAPTER_CONFIG, "lacks its adapter")):  # fmt: skip
        path = tmp_path / "a" / name
        content = path.read_bytes()
        path.unlink()
        refused(says)
        path.write_bytes(content[: len(content) // 2])
        refused("cut off or broken|is no JSON")
        path.write_bytes(content)
    prompting = tmp_path / "a" / PROMPTING
    prompting.write_text(json.dumps({**json.loads(prompting.read_text()), "base": {"checkpoint": 3}}))
    refused("its 'base' is broken")


def test_weights_of_another_training_are_not_taken_over(random_folder: Path, tmp_path: Path) -> None:
    GraniteSpeech(str(random_folder), lora_rank=4).save(tmp_path / "a")
    with pytest.raises(SpeechbenchError, match="another adapter than the model's"):
        GraniteSpeech(str(random_folder), lora_rank=2).load_weights(tmp_path / "a")
    with pytest.raises(SpeechbenchError, match=r"a holds an adapter of .*, and this model is trained as whole"):
        GraniteSpeech(str(random_folder)).load_weights(tmp_path / "a")
    with pytest.raises(SpeechbenchError, match="holds whole weights, and this model is trained as an adapter of"):
        GraniteSpeech(str(random_folder), lora_rank=4).load_weights(random_folder)


def test_a_runs_folder_says_what_learned(random_folder: Path) -> None:
    told = GraniteSpeech(str(random_folder), lora_rank=4, train="language_model").provenance()
    assert told["train"] == "language_model" and told["adapter"] is None
    assert told["lora"] == {"rank": 4, "alpha": None, "targets": "all-linear"}
    json.dumps(told)
