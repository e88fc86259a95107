"""Voxtral's three operations against the model's own generate and forward, on real classes with random weights."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from transformers import VoxtralConfig, VoxtralForConditionalGeneration, VoxtralProcessor, WhisperFeatureExtractor

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import Example
from speechbench.benchmarks.manifest import Manifest
from speechbench.errors import SpeechbenchError
from speechbench.models.base import Completions, Sampling
from speechbench.models.loading import load_model
from speechbench.models.voxtral import Voxtral
from speechbench.rewards.loading import load_reward
from speechbench.trainers import grpo

GREEDY = Sampling(temperature=0.0, max_tokens=12)
WINDOW = 2  # seconds; the hub's checkpoints have 30
TEXTS = ["Anna ist hier.", "eins, zwei", "Who did it?"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tekken: Path) -> Path:
    """A checkpoint as the hub has it: config, weights, preprocessor_config.json and tekken.json."""
    folder = tmp_path_factory.mktemp("voxtral")
    torch.manual_seed(0)
    audio = {
        "hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_mel_bins": 8, "max_source_positions": 50 * WINDOW, "initializer_range": 0.3,
    }  # fmt: skip
    text = {
        "model_type": "llama", "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 320, "max_position_embeddings": 400,
        "initializer_range": 0.3, "tie_word_embeddings": False,
    }  # fmt: skip
    config = VoxtralConfig(audio_config=audio, text_config=text, audio_token_id=24)
    config.initializer_range = 0.3
    VoxtralForConditionalGeneration(config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=8, chunk_length=WINDOW).save_pretrained(folder)
    shutil.copy(tekken, folder)
    return folder


@pytest.fixture
def model(folder: Path) -> Voxtral:
    return Voxtral(str(folder), train="encoder+projector+language_model")


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """Less than a window, two windows, and three to the sample; the placeholder first, in the middle and last."""
    folder = tmp_path_factory.mktemp("audio")
    made = []
    instructions = ["<|audio|> translate it", "Listen to <|audio|> and say who", "What is said? <|audio|>"]
    for number, (seconds, instruction) in enumerate(zip([0.7, 3.1, 6.0], instructions, strict=True)):
        path = folder / f"{number}.wav"
        soundfile.write(path, np.random.default_rng(number).standard_normal(int(seconds * 16000)) * 0.1, 16000)
        made.append(Example(f"e{number}", Audio(path), instruction, (TEXTS[number],), "spoken", "en", "de"))
    return made


PROMPTS = ["[BEGIN_AUDIO]{}translate it", "Listen to[BEGIN_AUDIO]{}and say who", "What is said?[BEGIN_AUDIO]{}"]


def inputs_of(model: Voxtral, number: int, example: Example) -> dict[str, torch.Tensor]:
    """What the model's own processor makes of an example: its features, and one token per 80 ms of whole windows."""
    assert example.audio is not None
    samples = example.audio.samples(16000)
    features = VoxtralProcessor._retrieve_input_features(
        SimpleNamespace(feature_extractor=WhisperFeatureExtractor.from_pretrained(model.folder)), [samples],
        max_source_positions=100 * WINDOW, sampling_rate=16000, padding=True, truncation=False,
        pad_to_multiple_of=16000 * WINDOW, return_tensors="pt",
    )  # fmt: skip
    windows = -(-len(samples) // (16000 * WINDOW))
    text = f"<s>[INST]{PROMPTS[number].format('[AUDIO]' * (windows * 100 * WINDOW // 8))}[/INST]"
    ids = torch.tensor([model.tokenizer.encode(text, add_special_tokens=False)])
    return {"input_ids": ids, "input_features": features, "attention_mask": torch.ones_like(ids)}


def test_greedy_sampling_equals_generate(model: Voxtral, heard: list[Example]) -> None:
    ours = model.sample(model.embed(heard), 1, GREEDY)
    forbidden = model.suppressed.nonzero()[:, 0].tolist()
    for row, example in enumerate(heard):
        inputs = inputs_of(model, row, example)
        expected = model.network.generate(
            **inputs, do_sample=False, max_new_tokens=12, suppress_tokens=forbidden, eos_token_id=model.end_token,
            pad_token_id=model.end_token,
        )[0, inputs["input_ids"].shape[1] :]  # fmt: skip
        assert ours.tokens[row, 0][ours.mask[row, 0]].tolist() == expected.tolist()
    assert len({tuple(row) for row in ours.tokens[:, 0].tolist()}) == 3  # the model hears a difference


def test_logprobs_equal_the_models_own_forward(model: Voxtral, heard: list[Example]) -> None:
    completions = model.completions_of([TEXTS] * 3)
    with torch.no_grad():
        ours = model.logprobs(model.embed(heard), completions, temperature=0.7)
        for p, example in enumerate(heard):
            inputs = inputs_of(model, p, example)
            for c in range(3):
                tokens = completions.tokens[p, c][completions.mask[p, c]][None]
                ids = torch.cat([inputs["input_ids"], tokens], dim=1)
                out = model.network(
                    input_ids=ids, input_features=inputs["input_features"], attention_mask=torch.ones_like(ids)
                )
                logits = out.logits[0, -tokens.shape[1] - 1 : -1] / 0.7
                expected = logits.masked_fill(model.suppressed, -torch.inf).log_softmax(-1).gather(-1, tokens.T)
                torch.testing.assert_close(ours[p, c, : tokens.shape[1]], expected[:, 0], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_shared_prefix_equals_repeated_prompt(model: Voxtral, heard: list[Example], checkpointing: bool) -> None:
    if checkpointing:
        model.gradient_checkpointing_enable()
    model.train()
    completions = model.completions_of([[*TEXTS, ""]] * 3)
    weights = torch.randn(3, 4, 1, generator=torch.Generator().manual_seed(0))

    def gradients(loss: torch.Tensor) -> tuple[float, torch.Tensor]:
        model.zero_grad()
        loss.backward()
        learning = [p for p in model.parameters() if p.requires_grad and p.grad is not None]
        return loss.item(), torch.cat([p.grad.flatten() for p in learning if p.grad is not None])

    shared, shared_gradient = gradients((model(heard, completions)[0] * weights).sum())
    repeated = torch.tensor(0.0)
    for p in range(3):
        for c in range(4):
            one = Completions(*(x[p : p + 1, c : c + 1] for x in (completions.tokens, completions.mask)),
                              completions.finished[p : p + 1, c : c + 1])  # fmt: skip
            repeated = repeated + (model(heard[p : p + 1], one)[0] * weights[p, c]).sum()
    expected, expected_gradient = gradients(repeated)
    assert abs(shared - expected) / abs(expected) < 1e-4
    assert (shared_gradient - expected_gradient).norm() / expected_gradient.norm() < 1e-4
    for part in model.parts.values():
        assert any(p.grad is not None and p.grad.any() for p in part.parameters())


def test_a_batch_equals_one_by_one(model: Voxtral, heard: list[Example]) -> None:
    together = model.embed([*heard, dataclasses.replace(heard[0], id="text", audio=None, instruction="Who?")])
    for row, example in enumerate(heard):
        alone = model.embed([example])
        torch.testing.assert_close(together.embeddings[row][together.mask[row]], alone.embeddings[0])
    table = model.language_model.get_input_embeddings()
    asked = torch.tensor(model.tokenizer.encode("<s>[INST]Who?[/INST]", add_special_tokens=False))
    assert torch.equal(together.embeddings[3][together.mask[3]], table(asked))


def test_save_and_load_round_trip(model: Voxtral, heard: list[Example], tmp_path: Path) -> None:
    model.save(tmp_path)
    again = load_model(str(tmp_path))
    assert isinstance(again, Voxtral)
    ours, theirs = model.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(model.embed(heard).embeddings, again.embed(heard).embeddings)
    text = "Listen <|audio|> ein Äpfel?"
    assert model.prompt_ids(text) == again.prompt_ids(text) and model.render(text) == again.render(text)


def test_a_frozen_copy_shares_what_is_frozen_and_stays(folder: Path, heard: list[Example]) -> None:
    model = Voxtral(str(folder))
    copy, completions = model.frozen_copy(), model.completions_of([["Anna"]] * 3)
    before = copy(heard, completions)[0]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05)
    assert torch.equal(copy(heard, completions)[0], before) and not torch.equal(model(heard, completions)[0], before)
    assert next(copy.parts["encoder"].parameters()) is next(model.parts["encoder"].parameters())
    assert not any(p.requires_grad for p in copy.parameters())


def test_grpo_trains_it(folder: Path, few_manifest: Path, tmp_path: Path) -> None:
    model = Voxtral(str(folder))
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    config = grpo.GrpoConfig(output_dir=tmp_path, max_steps=2, per_device_train_batch_size=2, num_generations=4,
                             max_completion_length=8, learning_rate=1e-3)  # fmt: skip
    benchmark = Manifest(str(few_manifest))
    grpo.train(model, benchmark, load_reward("random", benchmark), config)
    moved = {name for name, value in model.network.state_dict().items() if not torch.equal(before[name], value)}
    assert any("projector" in n for n in moved) and any("lm_head" in n for n in moved)
    assert not any("audio_tower" in n for n in moved)
    assert isinstance(load_model(str(tmp_path / "checkpoints" / "final")), Voxtral)


def _of_other_bands(path: Path) -> None:
    WhisperFeatureExtractor(feature_size=9, chunk_length=WINDOW).save_pretrained(path.parent)


def _with_another_audio_token(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "audio_token_id": 23}))


@pytest.mark.parametrize(
    ("file", "spoil", "says"),
    [
        ("preprocessor_config.json", Path.unlink, r"lacks its processor: it holds no preprocessor_config\.json"),
        ("preprocessor_config.json", lambda path: path.write_text("{"), "is no feature extractor"),
        ("preprocessor_config.json", _of_other_bands, "its feature_size is 9, but the checkpoint's encoder takes 8"),
        ("tekken.json", Path.unlink, "lacks its tokenizer"),
        ("config.json", _with_another_audio_token, r"disagree on the id of \[AUDIO\]"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(
    folder: Path, tmp_path: Path, file: str, spoil: Callable[[Path], object], says: str
) -> None:
    spoil(Path(shutil.copytree(folder, tmp_path / "copy")) / file)
    with pytest.raises(SpeechbenchError, match=rf"{tmp_path}/copy.*{says}.*; copy, download"):
        Voxtral(str(tmp_path / "copy"))


def test_audio_and_prompts_beyond_its_limits_are_refused(
    model: Voxtral, heard: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpeechbenchError, match=r"'e0': its prompt takes \d+ positions of the 400"):
        model.embed([dataclasses.replace(heard[0], instruction="<|audio|>" + "word " * 400)])
    with pytest.raises(SpeechbenchError, match="once, not 2 times"):
        model.embed([dataclasses.replace(heard[0], instruction="<|audio|> and <|audio|>")])
    monkeypatch.setattr(Voxtral, "longest", 6.0)
    monkeypatch.setattr(model, "_encoded", {})
    model.embed([heard[2]])
    with pytest.raises(SpeechbenchError, match=r"'e1'.* lasts 3\.1 s, but .* takes 3 s at most"):
        monkeypatch.setattr(Voxtral, "longest", 3.0)
        model.embed([heard[1]])
