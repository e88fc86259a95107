"""What tests of learning share: a little training, what it moves, and both ways to score a group."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch

from speechbench.benchmarks.base import Example
from speechbench.models.base import Completions, SpeechModel

TEXTS = [["Anna sold it.", "drei rote Äpfel"], ["?", "Who?"], ["nine", "bottles"]]


def train_a_little(model: SpeechModel, examples: list[Example], steps: int = 2) -> None:
    """Steps of SFT without the trainer."""
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-2)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        (-model(examples, model.completions_of(TEXTS))[0].mean()).backward()
        optimizer.step()
    model.eval()


@torch.no_grad()
def logprobs(model: SpeechModel, examples: list[Example]) -> torch.Tensor:
    """Of some completions, shape [prompt, completion, token]."""
    return model.logprobs(model.embed(examples), model.completions_of(TEXTS))


def learning_names(model: SpeechModel) -> set[str]:
    """Names of the weights that learn."""
    return {name for name, p in model.named_parameters() if p.requires_grad}


def loss_and_gradients(
    model: SpeechModel,
    examples: Sequence[Example],
    texts: Sequence[Sequence[str]],
    *,
    is_packed: bool,
    autocast: bool = False,
    windows: int = 1,
) -> tuple[float, torch.Tensor]:
    """A weighted sum of all log-probabilities, and its gradient in all that learns, in float64.

    Args:
        model: In the mode that it is to be tested in.
        examples: The prompts.
        texts: For each prompt its completions, equally many.
        is_packed: Whether each group goes through in one row, or each completion behind a prompt of its own.
        autocast: Whether under bfloat16 autocast.
        windows: In how many backward passes gradients are accumulated.
    """
    completions = model.completions_of(texts)
    weights = torch.randn(*completions.tokens.shape[:2], 1, generator=torch.Generator().manual_seed(0))
    model.zero_grad()
    total = 0.0
    for window in torch.arange(len(examples)).tensor_split(windows):
        with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
            loss = torch.tensor(0.0)
            groups = [window] if is_packed else [window[i : i + 1] for i in range(len(window))]
            for rows in groups:
                size = completions.tokens.shape[1]
                for members in [slice(None)] if is_packed else [slice(c, c + 1) for c in range(size)]:
                    part = Completions(*(x[rows][:, members] for x in (
                        completions.tokens, completions.mask, completions.finished)))  # fmt: skip
                    found = model([examples[i] for i in rows], part)[0]
                    loss = loss + (found * weights[rows][:, members]).sum()
        loss.backward()
        total += loss.item()
    gradients = [p.grad.double().flatten() for p in model.parameters() if p.grad is not None]
    return total, torch.cat(gradients)


def assert_shared_prefix_equals_repeated_prompt(
    model: SpeechModel, examples: Sequence[Example], texts: Sequence[Sequence[str]], windows: int = 1
) -> None:
    """Of loss and gradients, to floating-point tolerance."""
    loss, gradient = loss_and_gradients(model, examples, texts, is_packed=True, windows=windows)
    expected, expected_gradient = loss_and_gradients(model, examples, texts, is_packed=False)
    assert abs(loss - expected) / abs(expected) < 1e-4
    assert (gradient - expected_gradient).norm() / expected_gradient.norm() < 1e-4


def assert_bfloat16_errs_no_more(
    model: SpeechModel, examples: Sequence[Example], texts: Sequence[Sequence[str]], windows: int = 1
) -> None:
    """The packed gradient under bfloat16 is within twice the repeated one's own error against float32."""
    _, exact = loss_and_gradients(model, examples, texts, is_packed=False)
    packed, repeated = (
        (loss_and_gradients(model, examples, texts, is_packed=is_packed, autocast=True, windows=windows)[1] - exact)
        .norm().item()
        for is_packed in (True, False)
    )  # fmt: skip
    assert 0 < packed <= 2 * repeated
