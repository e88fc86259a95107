"""Log-probabilities in chunks against those of the whole, and heads against the language models' own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, CohereConfig, Gemma2Config, GraniteConfig, LlamaConfig, PretrainedConfig

from speechbench.models import expectation
from speechbench.models.base import SpeechModel
from speechbench.models.expectation import log_softmax, token_logprobs


@pytest.mark.parametrize("at_once", [1, 3 * 11, 1 << 24])
def test_chunks_give_the_values_and_gradients_of_the_whole(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expectation, "_AT_ONCE", at_once)
    torch.manual_seed(0)
    head = nn.Linear(6, 11, dtype=torch.float64)
    hidden = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    tokens, mask = torch.randint(0, 10, (2, 3, 4)), torch.rand(2, 3, 4) < 0.7
    suppressed = torch.arange(11) == 10
    weights = torch.randn(2, 3, 4, dtype=torch.float64)

    def gradients(logprobs: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad((logprobs * weights).sum(), [hidden, head.weight, head.bias]))

    ours, entropy = token_logprobs(head, hidden, tokens, mask, suppressed, 0.7)
    expected = log_softmax(head(hidden), suppressed, 0.7)
    whole = expected.gather(-1, tokens[..., None]).squeeze(-1) * mask
    torch.testing.assert_close(ours, whole)
    kept = expected[..., :10]
    torch.testing.assert_close(entropy, -(kept.exp() * kept).sum(-1).detach() * mask)
    for one, other in zip(gradients(ours), gradients(whole), strict=True):
        torch.testing.assert_close(one, other)


def test_no_token_at_all_gives_zeros_and_a_gradient_of_zero() -> None:
    hidden = torch.ones(1, 2, 3, 4, requires_grad=True)
    nothing = torch.zeros(1, 2, 3, dtype=torch.bool)
    logprobs, entropy = token_logprobs(nn.Linear(4, 5), hidden, nothing.long(), nothing, torch.zeros(5).bool(), 1.0)
    torch.autograd.backward(logprobs.sum())
    assert not logprobs.any() and not entropy.any() and hidden.grad is not None and not hidden.grad.any()


SMALL = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**SMALL),
        GraniteConfig(**SMALL, logits_scaling=8.0),
        CohereConfig(**SMALL, logit_scale=0.25),
        Gemma2Config(**SMALL, head_dim=8, num_key_value_heads=2, final_logit_softcapping=0.5),
    ],
    ids=lambda config: config.model_type,
)
def test_the_head_is_the_language_models_own(config: PretrainedConfig) -> None:
    class Bare:  # what `decoder` and `head` ask for
        language_model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        output_embeddings = language_model.get_output_embeddings()

    ids = torch.arange(2, 12)[None]
    inputs = Bare.language_model.get_input_embeddings()(ids)
    with torch.no_grad():
        hidden = SpeechModel.decoder.fget(Bare)(inputs_embeds=inputs).last_hidden_state  # type: ignore[attr-defined]
        logits = SpeechModel.head(Bare, hidden)  # type: ignore[arg-type]
        torch.testing.assert_close(logits, Bare.language_model(ids).logits)
