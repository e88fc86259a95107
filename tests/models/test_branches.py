"""Branches that share their prompt go on as copies of it would."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    Cache,
    Gemma2Config,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from speechbench.models.branches import Branches, RepeatedPrompt, SharedPrompt, branch

SMALL: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
}  # fmt: skip
CONFIGS = [
    GraniteConfig(**SMALL, num_key_value_heads=2, attention_multiplier=0.3, residual_multiplier=0.7),
    LlamaConfig(**SMALL, num_key_value_heads=1),
    MistralConfig(**SMALL, num_key_value_heads=2, head_dim=16, sliding_window=None),
    Qwen2Config(**SMALL, num_key_value_heads=4),
    Qwen3Config(**SMALL, num_key_value_heads=2, head_dim=8),
]
GROUP = 3
PROMPTS = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 1, 1]]).bool()  # lengths 3, 5, 4
ROWS = len(PROMPTS) * GROUP


def decoder_of(config: PretrainedConfig, attention: str = "sdpa") -> Any:
    torch.manual_seed(1)
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval().model


def begun(decoder: Any) -> Cache:
    """The cache behind prompts of random embeddings, the same each time."""
    embeddings = torch.randn(*PROMPTS.shape, 32, generator=torch.Generator().manual_seed(2))
    return decoder(
        inputs_embeds=embeddings,
        attention_mask=PROMPTS.long(),
        position_ids=(PROMPTS.long().cumsum(-1) - 1).clamp(min=0),
        use_cache=True,
    ).past_key_values


def written(branches: Branches, endings: list[list[bool]]) -> Iterator[dict[int, torch.Tensor]]:
    """The last hidden state of each row that goes on, token by token; `endings` says which end after which."""
    drawn = torch.randn(len(endings), ROWS, 1, 32, generator=torch.Generator().manual_seed(3))
    lengths = PROMPTS.sum(-1).repeat_interleave(GROUP)
    active, going = torch.arange(ROWS), torch.ones(ROWS, dtype=torch.bool)
    for step, ends in enumerate(endings):
        hidden = branches.forward(drawn[step, active], (lengths[active] + step)[:, None])
        yield {int(row): hidden[place] for place, row in enumerate(active) if going[place]}
        going = going & ~torch.tensor(ends)[active]
        if not going.any():
            return
        keep = branches.ended(going)
        if keep is not None:
            assert going.sum() == going[keep].sum(), "a row that goes on was left behind"
            active, going = active[keep], going[keep]


def assert_equal_to_repeated(decoder: Any, endings: list[list[bool]], attention: str = "sdpa") -> None:
    with torch.no_grad():
        shared = SharedPrompt(decoder, begun(decoder), PROMPTS, GROUP)
        repeated = RepeatedPrompt(decoder, begun(decoder), PROMPTS, GROUP)
        pairs = list(zip(written(shared, endings), written(repeated, endings), strict=True))
    for ours, theirs in pairs:
        assert ours.keys() == theirs.keys()
        for row, expected in theirs.items():
            torch.testing.assert_close(ours[row], expected, rtol=1e-4, atol=1e-5)
    assert decoder.config._attn_implementation == attention


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_a_shared_prompt_is_that_prompt_repeated(config: PretrainedConfig, attention: str) -> None:
    going_on = [[False] * ROWS] * 36  # past the room that is made at once
    assert_equal_to_repeated(decoder_of(config, attention), going_on, attention)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.booleans(), min_size=ROWS, max_size=ROWS), min_size=1, max_size=5))
def test_whichever_rows_end(endings: list[list[bool]]) -> None:
    assert_equal_to_repeated(decoder_of(CONFIGS[0]), endings)


def test_ended_rows_and_prompts_are_left_behind() -> None:
    decoder = decoder_of(CONFIGS[0])
    with torch.no_grad():
        branches = SharedPrompt(decoder, begun(decoder), PROMPTS, GROUP)
        branches.forward(torch.randn(ROWS, 1, 32), torch.full((ROWS, 1), 5))
        going = torch.zeros(ROWS, dtype=torch.bool)
        going[[1, 7, 8]] = True
        keep = branches.ended(going)
    assert keep is not None and keep.tolist() == [0, 1, 7, 8], "two rows of each prompt that goes on"


def test_keys_and_values_of_a_prompt_are_held_once() -> None:
    decoder = decoder_of(CONFIGS[0])
    with torch.no_grad():
        cache = begun(decoder)
        branches = branch(decoder, cache, PROMPTS, GROUP)
        branches.forward(torch.randn(ROWS, 1, 32), torch.full((ROWS, 1), 5))
    layer: Any = cache.layers[0]
    assert layer.prompt_keys.shape[0] == layer.prompt_values.shape[0] == len(PROMPTS)
    assert layer.keys.shape[0] == ROWS and layer.keys.shape[2] == 1
    assert cache.get_seq_length() == PROMPTS.shape[1] + 1


def test_other_attentions_hold_copies() -> None:
    gemma = Gemma2Config(**SMALL, num_key_value_heads=2, head_dim=8, attn_logit_softcapping=5.0)
    sliding = MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=4)
    for config in (gemma, sliding):
        decoder = decoder_of(config, "eager")
        with torch.no_grad():
            assert isinstance(branch(decoder, begun(decoder), PROMPTS, GROUP), RepeatedPrompt)
    decoder = decoder_of(CONFIGS[0])
    with torch.no_grad():
        assert isinstance(branch(decoder, begun(decoder), PROMPTS, 1), RepeatedPrompt), "one row shares with none"
        assert isinstance(branch(decoder, begun(decoder), PROMPTS, GROUP), SharedPrompt)


def test_the_models_attention_is_its_own_again_after_a_failure() -> None:
    decoder = decoder_of(CONFIGS[0])
    with torch.no_grad():
        branches = SharedPrompt(decoder, begun(decoder), PROMPTS, GROUP)
        with pytest.raises(RuntimeError):
            branches.forward(torch.randn(ROWS, 1, 7), torch.full((ROWS, 1), 5))
        assert decoder.config._attn_implementation == "sdpa"
