"""The three operations against the model's own generate and forward, on real classes with random weights."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from speechbench.benchmarks.audio import SHORTEST, Audio
from speechbench.benchmarks.base import Example
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.models.base import Sampling
from speechbench.models.features import log_mel
from speechbench.models.granite_speech import GraniteSpeech
from speechbench.models.granite_speech_plus import GraniteSpeechPlus
from speechbench.models.loading import load_model
from speechbench.models.tiny import Tiny
from tests.models.own_network import (
    assert_greedy_sampling_equals_generate,
    assert_logprobs_equal_the_own_forward,
)

GREEDY = Sampling(temperature=0.0, max_tokens=12)


def inputs_of(model: GraniteSpeech, example: Example) -> dict[str, torch.Tensor]:
    """What the model's own processor makes of an example: the placeholder repeated once per audio embedding."""
    assert example.audio is not None
    features = log_mel(torch.from_numpy(example.audio.samples(16000)))[None]
    tokens = 3 * -(-features.shape[1] // 15)
    text = model.render(example.instruction).replace("<|audio|>", "<|audio|>" * tokens)
    ids = torch.tensor([model.tokenizer.encode(text, add_special_tokens=False)])
    return {"input_ids": ids, "input_features": features, "attention_mask": torch.ones_like(ids)}


@pytest.fixture(params=["random", "tiny", "plus"])
def model(request: pytest.FixtureRequest, random_folder: Path) -> GraniteSpeech:
    if request.param == "plus":
        return GraniteSpeechPlus(str(request.getfixturevalue("plus_folder")))
    return GraniteSpeech(str(random_folder)) if request.param == "random" else Tiny()


def test_greedy_sampling_equals_generate(model: GraniteSpeech, examples: list[Example]) -> None:
    assert_greedy_sampling_equals_generate(model, examples, [inputs_of(model, example) for example in examples])


def test_logprobs_equal_the_models_own_forward(model: GraniteSpeech, examples: list[Example]) -> None:
    # transformers 5.23 took the head out of Granite, which divides by a constant, and left the division behind.
    own_head_forgets_the_scaling = not hasattr(model.network, "language_model")
    assert_logprobs_equal_the_own_forward(
        model,
        examples,
        [inputs_of(model, example) for example in examples],
        ["Anna sold it.", "drei rote Äpfel", "?"],
        scaling=model.language_model.config.logits_scaling if own_head_forgets_the_scaling else 1.0,
    )


def test_probabilities_sum_to_one_over_what_may_be_written(model: GraniteSpeech, examples: list[Example]) -> None:
    completions = model.completions_of([["Anna"], ["Peter"], ["?"]])
    with torch.no_grad():
        probabilities = model.log_distribution(model.embed(examples), completions, temperature=1.3).exp()
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(completions.tokens.shape), atol=1e-5, rtol=0)
    assert (probabilities[..., model.suppressed] == 0).all() and not model.suppressed[model.end_token]


@pytest.mark.slow
def test_sampling_follows_the_probabilities_and_never_writes_special_tokens(
    random_model: GraniteSpeech, examples: list[Example]
) -> None:
    prompts = random_model.embed(examples[:1])
    first = random_model.sample(prompts, 4000, Sampling(max_tokens=1)).tokens[0, :, 0]
    with torch.no_grad():
        expected = random_model.log_distribution(prompts, random_model.completions_of([["?"]]))[0, 0, 0].exp()
    counts = torch.bincount(first, minlength=len(expected)) / 4000
    assert not counts[random_model.suppressed].any()
    assert 0.5 * (counts - expected).abs().sum() < 0.5 * (expected * (1 - expected) / 4000).sqrt().sum() * 1.5


def test_a_rows_randomness_is_its_own(random_model: GraniteSpeech, examples: list[Example]) -> None:
    sampling = Sampling(max_tokens=6, seed=3, step=7)
    together = random_model.sample(random_model.embed(examples), 4, sampling)
    for row, example in enumerate(examples):
        alone = random_model.sample(random_model.embed([example]), 3, sampling)
        for member in range(3):
            assert together.tokens[row, member][together.mask[row, member]].tolist() == (
                alone.tokens[0, member][alone.mask[0, member]].tolist()
            )
    other = random_model.sample(random_model.embed(examples), 4, dataclasses.replace(sampling, step=8))
    assert random_model.texts_of(other) != random_model.texts_of(together)


def test_a_batch_equals_one_by_one(model: GraniteSpeech, examples: list[Example]) -> None:
    together = model.embed(examples)
    for row, example in enumerate(examples):
        alone = model.embed([example])
        torch.testing.assert_close(together.embeddings[row][together.mask[row]], alone.embeddings[0])


def test_save_and_load_round_trip(model: GraniteSpeech, examples: list[Example], tmp_path: Path) -> None:
    model.save(tmp_path)
    again = load_model(str(tmp_path))
    assert model.texts_of(model.sample(model.embed(examples), 2, GREEDY)) == again.texts_of(
        again.sample(again.embed(examples), 2, GREEDY)
    )
    prompt, other = model.render("<|audio|> Äpfel?"), again.render("<|audio|> Äpfel?")  # type: ignore[attr-defined]
    assert prompt == other


def test_any_text_can_be_written(model: GraniteSpeech) -> None:
    texts = ["Äpfel, 日本語 und émigré!", "tab\tnew\nline"]
    assert model.texts_of(model.completions_of([texts])) == [texts]


def test_frozen_parts_are_shared_and_the_copy_stays(random_model: GraniteSpeech, examples: list[Example]) -> None:
    copy = random_model.frozen_copy()
    completions = random_model.completions_of([["Anna"]] * 3)
    before = copy(examples, completions)[0]
    with torch.no_grad():
        for parameter in random_model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05)
    assert torch.equal(copy(examples, completions)[0], before)
    assert not torch.equal(random_model(examples, completions)[0], before)
    encoder = next(random_model.parts["encoder"].parameters())
    assert next(copy.parts["encoder"].parameters()) is encoder and not any(p.requires_grad for p in copy.parameters())


def test_wrong_calls_are_named(random_folder: Path, examples: list[Example], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="encoder, projector, language_model"):
        GraniteSpeech(str(random_folder), train="ears")
    with pytest.raises(UsageError, match="no such folder"):
        GraniteSpeech(str(tmp_path / "missing" / "model"))
    with pytest.raises(SpeechbenchError, match="once, not 0 times"):
        GraniteSpeech(str(random_folder)).embed([dataclasses.replace(examples[0], instruction="no place for audio")])


def test_what_is_wrong_with_an_examples_audio_is_said_with_the_example(
    random_model: GraniteSpeech, examples: list[Example], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "one.wav", np.ones(1), 16000)
    with pytest.raises(SpeechbenchError, match=r"example 'e0': audio file .*one\.wav is too short.*; put"):
        random_model.embed([dataclasses.replace(examples[0], audio=Audio(tmp_path / "one.wav"))])
    soundfile.write(tmp_path / "shortest.wav", np.ones(int(SHORTEST * 16000)), 16000)
    prompts = random_model.embed([dataclasses.replace(examples[0], audio=Audio(tmp_path / "shortest.wav"))])
    assert torch.isfinite(prompts.embeddings).all()


def _without_a_tensor(path: Path) -> None:
    weights = load_file(path)
    del weights["projector.linear.weight"]
    save_file(weights, path, metadata={"format": "pt"})


def _of_another_shape(path: Path) -> None:
    weights = load_file(path)
    weights["projector.linear.weight"] = weights["projector.linear.weight"][:, :-1].contiguous()
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("file", "spoil", "says"),
    [
        ("model.safetensors", _without_a_tensor, r"lacks weights .*: (model\.)?projector\.linear\.weight"),
        ("model.safetensors", _of_another_shape, r"lacks weights .*: (model\.)?projector\.linear\.weight"),
        ("model.safetensors", Path.unlink, r"holds no \*\.safetensors file"),
        ("model.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-1]), "cut off or broken"),
        ("model.safetensors", lambda path: path.write_bytes(b""), "cut off or broken"),
        ("model.safetensors.index.json", lambda path: path.write_text('{"weight_map": {"a": "b.safetensors"}}'),
         r"b\.safetensors, named by .*index\.json, is not there"),
        ("model.safetensors.index.json", lambda path: path.write_text('{"weight_map": ["a.safetensors"]}'),
         "its 'weight_map' does not say which file"),
        ("config.json", Path.unlink, r"has no config\.json"),
        ("config.json", lambda path: path.write_text("{"), r"config\.json is no JSON"),
        ("config.json", lambda path: path.write_text("[]"), r"config\.json holds no JSON object"),
        ("config.json", lambda path: path.write_text('{"model_type": "llama"}'), r"config\.json is of a llama model"),
        ("tokenizer.json", Path.unlink, "lacks its tokenizer"),
        ("tokenizer.json", lambda path: path.write_text("{"), "lacks its tokenizer, or it is broken"),
        ("chat_template.jinja", Path.unlink, "no chat template"),
        ("speechbench.json", lambda path: path.write_text("{}"), r"speechbench\.json: its 'system_prompt'"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_is_not_whole_is_refused(
    random_folder: Path, tmp_path: Path, file: str, spoil: Callable[[Path], object], says: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(random_folder, folder)
    spoil(folder / file)
    with pytest.raises(SpeechbenchError, match=rf"{folder}.*{says}.*[;:] (copy|name)"):
        GraniteSpeech(str(folder))


@pytest.mark.parametrize(
    ("file", "edit"),
    [
        ("config.json", lambda text: text.replace('"logits_scaling": 0.25', '"logits_scaling": 0.5')),
        ("tokenizer_config.json", lambda text: json.dumps({**json.loads(text), "add_bos_token": True})),
        ("tokenizer.json", lambda text: text.replace('"single_word": false', '"single_word": true', 1)),
        ("speechbench.json", lambda _: json.dumps({"system_prompt": "Answer."})),
        ("added_tokens.json", lambda _: "{}"),
    ],
)
def test_whatever_decides_outputs_makes_another_model(
    random_folder: Path, tmp_path: Path, file: str, edit: Callable[[str], str]
) -> None:
    folder = Path(shutil.copytree(random_folder, tmp_path / "copy"))
    before = GraniteSpeech(str(folder)).fingerprint
    assert before == GraniteSpeech(str(random_folder)).fingerprint
    path = folder / file
    text = path.read_text() if path.exists() else ""
    path.write_text(edit(text))
    assert path.read_text() != text
    edited = GraniteSpeech(str(folder)).fingerprint
    (folder / "README.md").write_text("What says nothing to the model.")
    assert GraniteSpeech(str(folder)).fingerprint == edited != before


def test_folders_and_hub_names_stand_for_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert isinstance(load_model("tiny"), Tiny)  # a folder of a registered name is asked for as ./tiny
    with pytest.raises(SpeechbenchError, match=r"tiny holds no model: it has no config\.json"):
        load_model("./tiny")
    with pytest.raises(MissingError, match="hf download nobody/no-such-model"):
        load_model("nobody/no-such-model(train=projector)")
    run = tmp_path / "runs" / "grid-1" / "0123"
    run.mkdir(parents=True)
    with pytest.raises(UsageError, match=r"runs/grid-2: there is no such folder; did you mean 'runs/grid-1'"):
        load_model("runs/grid-2")
    with pytest.raises(UsageError, match="no such folder; name a folder that is there"):
        load_model("./a/b/c")
    (run / "run.json").touch()
    with pytest.raises(UsageError, match="0123 is unfinished: finish it"):
        load_model("runs/grid-1/0123")
    (run / "result.json").touch()
    with pytest.raises(UsageError, match="a base run trains nothing; name"):
        load_model("runs/grid-1/0123")


def test_a_hub_name_without_a_hub_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingError, match="hf download nobody/no-such-model"):
        load_model("granite-speech(checkpoint=nobody/no-such-model)")
