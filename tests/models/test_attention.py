"""Which implementation of attention a model uses, and the forward that each of them allows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import flex_attention
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from speechbench.benchmarks.base import Example
from speechbench.errors import MissingError, UsageError
from speechbench.models import attention
from speechbench.models.granite_speech import GraniteSpeech
from speechbench.models.options import check_attention, device_of
from speechbench.models.packing import visible_to
from tests.models.learning import logprobs, loss_and_gradients

TEXTS = [["Anna sold it.", "drei rote Äpfel gekauft", "", "Who?"]] * 3


@pytest.fixture
def flash(random_folder: Path) -> Iterator[GraniteSpeech]:
    """A model that believes in FlashAttention-2, which is played by sdpa: like it, it is given masks of padding."""
    AttentionInterface.register("flash_attention_2", ALL_ATTENTION_FUNCTIONS["sdpa"])
    AttentionMaskInterface.register("flash_attention_2", sdpa_mask)
    model = GraniteSpeech(str(random_folder))
    model.language_model.config._attn_implementation = "flash_attention_2"
    attention._say_repeated.cache_clear()
    yield model
    for interface in (AttentionInterface, AttentionMaskInterface):
        interface._global_mapping.pop("flash_attention_2")


def test_flash_attention_repeats_prompts_and_says_so_once(
    flash: GraniteSpeech, random_model: GraniteSpeech, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    flash.decoder.register_forward_pre_hook(
        lambda _, __, given: rows.append(len(given["inputs_embeds"])), with_kwargs=True
    )
    with pytest.warns(UserWarning, match="flash_attention_2 takes no block mask, so each prompt runs once per"):
        loss, gradient = loss_and_gradients(flash, examples, TEXTS, is_packed=True)
    assert rows == [12]
    expected, expected_gradient = loss_and_gradients(random_model, examples, TEXTS, is_packed=True)
    assert abs(loss - expected) / abs(expected) < 1e-5
    assert (gradient - expected_gradient).norm() / expected_gradient.norm() < 1e-5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logprobs(flash, examples)


def test_one_completion_needs_no_warning(flash: GraniteSpeech, examples: list[Example]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss_and_gradients(flash, examples, [["Anna"]] * 3, is_packed=True)


def test_flex_attention_scores_as_sdpa_does(
    random_folder: Path, random_model: GraniteSpeech, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without compiling it, which needs a compiler or a GPU; torch has no backward pass of it for the CPU."""
    kinds: list[str] = []

    def uncompiled(*tensors: torch.Tensor, training: bool = False, **settings: Any) -> torch.Tensor:
        kinds.append(type(settings["block_mask"]).__name__)
        found: torch.Tensor = flex_attention(*tensors, **settings)  # type: ignore[assignment]
        return found

    monkeypatch.setattr("transformers.integrations.flex_attention.compile_friendly_flex_attention", uncompiled)
    model = GraniteSpeech(str(random_folder))
    prompts, completions = random_model.embed(examples), random_model.completions_of(TEXTS)
    model.language_model.set_attn_implementation("flex_attention")
    with torch.no_grad():
        torch.testing.assert_close(
            model.logprobs(prompts, completions), random_model.logprobs(prompts, completions), atol=2e-5, rtol=1e-5
        )
    assert kinds == ["BlockMask", "BlockMask"]  # of two layers


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.randoms(use_true_random=False))
def test_flex_mask_says_what_the_additive_one_says(
    prompts: int, width: int, group: int, length: int, random: Any
) -> None:
    prompt_mask = torch.tensor([[column >= random.randrange(width) for column in range(width)] for _ in range(prompts)])
    prompt_mask[:, -1] = True
    kept = torch.tensor([[random.randint(0, length) for _ in range(group)] for _ in range(prompts)])
    token_mask = torch.arange(length) < kept[..., None]
    mask = attention.flex_mask(prompt_mask, token_mask, torch.float32)
    visible = visible_to(prompt_mask, token_mask)
    size = visible.shape[-1]
    told = torch.tensor(
        [[[bool(mask.mask_mod(torch.tensor(p), torch.tensor(0), torch.tensor(q), torch.tensor(k))) for k in range(size)]
          for q in range(size)] for p in range(prompts)]
    )  # fmt: skip
    assert torch.equal(told, visible) and tuple(mask.shape) == (prompts, 1, size, size)


def test_the_option_reaches_the_language_model_alone(random_folder: Path, examples: list[Example]) -> None:
    models = {name: GraniteSpeech(str(random_folder), attention=name) for name in ("sdpa", "eager")}
    for name, model in models.items():
        assert model.language_model.config._attn_implementation == model.provenance()["attention"] == name
    torch.testing.assert_close(*(logprobs(model, examples) for model in models.values()), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("attention", "dtype", "device", "error", "says"),
    [
        ("flash", torch.float32, "cpu", UsageError, "choose one of sdpa, eager, flash_attention_2, flex_attention"),
        ("flash_attention_2", torch.bfloat16, "cpu", UsageError, "no kernel for the CPU.*or attention=sdpa"),
        ("flex_attention", torch.float32, "cpu", UsageError, "no backward pass on the CPU.*or attention=sdpa"),
        ("flash_attention_2", torch.float32, "cuda", UsageError, "no float32: add dtype=bfloat16"),
        ("flash_attention_2", torch.bfloat16, "cuda", MissingError, "pip install flash-attn"),
    ],
)
def test_attention_that_cannot_run_here_is_refused(
    attention: str, dtype: torch.dtype, device: str, error: type[Exception], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: False)
    with pytest.raises(error, match=says):
        check_attention(attention, dtype, torch.device(device))


def test_flash_attention_runs_where_there_is_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: True)
    for name, dtype in (("flash_attention_2", torch.bfloat16), ("flex_attention", torch.float32)):
        check_attention(name, dtype, torch.device("cuda"))


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def have(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return have


def test_devices(gpus: Callable[[int], None]) -> None:
    gpus(0)
    assert device_of(None) == device_of("cpu") == torch.device("cpu")
    for name in ("cuda", "cuda:0"):
        with pytest.raises(UsageError, match=rf"device='{name}' is not there: this machine has cpu$"):
            device_of(name)
    gpus(2)
    assert device_of(None) == torch.device("cuda") and device_of("cuda:1") == torch.device("cuda:1")
    assert device_of("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="this machine has cpu, cuda:0, cuda:1"):
        device_of("cuda:2")
    for wrong in ("gpu", "mps", "", 3):
        with pytest.raises(UsageError, match="choose cpu, cuda, or"):
            device_of(wrong)  # type: ignore[arg-type]
