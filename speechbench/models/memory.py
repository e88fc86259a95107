"""How much memory a training step will take, found by walking through it without any weights.

The step is done on fake tensors, which have shapes and no content, and every allocation is counted. What a device
holds beside tensors (CUDA's context, the allocator's fragments, libraries, and the float32 copies in which a CPU's
kernels may compute with bfloat16) is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

from speechbench.benchmarks.audio import SHORTEST
from speechbench.errors import UsageError
from speechbench.models.branches import is_shareable
from speechbench.models.expectation import row_logprobs
from speechbench.models.options import FLASH, FLEX
from speechbench.models.packing import completion_hidden
from speechbench.models.walking import Peak, most_held

if TYPE_CHECKING:
    from speechbench.models.pretrained import PretrainedSpeechModel


@dataclass(frozen=True)
class Step:
    """What one forward and backward pass is given.

    Attributes:
        prompts: Examples in it, `per_device_train_batch_size`.
        group_size: Completions of each, G.
        seconds: Of audio in each.
        prompt_tokens: Of each prompt's text.
        completion_tokens: Of each completion.
        with_reference: Whether there is a model before training to compare with (β above 0).
        bf16: Whether it runs under bfloat16 autocast.
        gradient_checkpointing: Whether activations are computed again in the backward pass.
    """

    prompts: int = 8
    group_size: int = 8
    seconds: float = 10.0
    prompt_tokens: int = 64
    completion_tokens: int = 200
    with_reference: bool = True
    bf16: bool = False
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class Memory:
    """Bytes that a training holds.

    Attributes:
        weights: Of the model.
        reference: Of the model before training: a copy of what learns.
        gradients: Of what learns.
        optimizer: AdamW's two moments of what learns.
        activations: The most that a step holds beside these.
        sampling: Of the key-value cache and the probabilities while completions are sampled; not at the same time.
    """

    weights: int
    reference: int
    gradients: int
    optimizer: int
    activations: int
    sampling: int

    @property
    def peak(self) -> int:
        """The most that is held at once."""
        standing = self.weights + self.reference + self.optimizer
        return standing + max(self.activations + self.gradients, self.sampling)


def bytes_of(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of tensors that share no storage."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def estimate(model: PretrainedSpeechModel, step: Step) -> Memory:
    """What training takes, by walking through one step.

    Args:
        model: Within `speechbench.models.weightless.simulated`.
        step: What a step is given.

    Raises:
        UsageError: If a training would refuse it: audio that is too short or too long, more tokens than positions.
    """
    _check_audio(model, step)
    learning = bytes_of(p for p in model.parameters() if p.requires_grad)
    weights = bytes_of([*model.parameters(), *model.buffers()])
    if step.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    model.train()
    is_shared = is_shareable(model.language_model.config)
    is_repeated = model.language_model.config._attn_implementation == FLASH
    if model.language_model.config._attn_implementation in (FLASH, FLEX):  # whose kernels take no fake tensors
        model.language_model.set_attn_implementation("sdpa")
    heard = _heard(model, step)
    length = _length(model, heard, step)
    peak = Peak()
    peak.hold([*model.parameters(), *model.buffers(), *heard])
    before = peak.now

    def walk() -> None:
        with torch.autocast("cpu", torch.bfloat16) if step.bf16 else nullcontext():
            torch.autograd.backward(_logprobs(model, heard, step, is_repeated).sum())

    most = most_held(peak, model.decoder, walk)
    model.zero_grad()
    model.gradient_checkpointing_disable()
    return Memory(
        weights=weights,
        reference=learning if step.with_reference else 0,
        gradients=learning,
        optimizer=2 * learning,
        activations=max(0, most - before - learning),
        sampling=_sampling_bytes(model, step, length, is_shared),
    )


def _check_audio(model: PretrainedSpeechModel, step: Step) -> None:
    if step.seconds < SHORTEST:
        raise UsageError(f"{step.seconds:g} s of audio are too few: take {SHORTEST:g} s or more")
    if model.longest is not None and step.seconds > model.longest:
        raise UsageError(f"{model.name} takes no {step.seconds:g} s of audio: take {model.longest:g} s or less")


def _heard(model: PretrainedSpeechModel, step: Step) -> list[torch.Tensor]:
    """The encoder's outputs, or its inputs where it learns."""
    with unset_fake_temporarily() as mode:  # some extractors compute with numpy
        real = model.features(torch.zeros(int(step.seconds * model.rate))).to(model.dtype_of("encoder"))
    features = cast(FakeTensorMode, mode).from_tensor(real)
    if not model.encoder_is_frozen:
        return [features] * step.prompts
    return [torch.zeros(model.encoded_shape(features), dtype=features.dtype)] * step.prompts


def _prompts(model: PretrainedSpeechModel, heard: Sequence[torch.Tensor], step: Step) -> torch.Tensor:
    encoded = heard if model.encoder_is_frozen else [model.encode(features) for features in heard]
    words = model.language_model.get_input_embeddings()(torch.zeros(step.prompt_tokens, dtype=torch.long))
    return torch.stack([torch.cat([words, audio.to(words.dtype)]) for audio in model.projected(encoded)])


def _length(model: PretrainedSpeechModel, heard: Sequence[torch.Tensor], step: Step) -> int:
    """Positions of a prompt and its completion."""
    with torch.no_grad():
        prompt = _prompts(model, heard, step).shape[1]
    limit = model.positions
    if limit is not None and prompt + step.completion_tokens > limit:
        raise UsageError(
            f"prompts of {prompt} positions, {prompt - step.prompt_tokens} of them audio, and completions of "
            f"{step.completion_tokens} more do not fit the {limit} of {model.name}: take fewer seconds or tokens"
        )
    return prompt + step.completion_tokens


def _logprobs(
    model: PretrainedSpeechModel, heard: Sequence[torch.Tensor], step: Step, is_repeated: bool
) -> torch.Tensor:
    """`SpeechModel.logprobs` with every token in place, each completion behind a prompt of its own if repeated."""
    prompts = _prompts(model, heard, step)
    tokens = torch.zeros((step.prompts, step.group_size, step.completion_tokens), dtype=torch.long)
    if is_repeated:
        prompts, tokens = prompts.repeat_interleave(step.group_size, dim=0), tokens.flatten(0, 1)[:, None]
    whole = torch.ones(prompts.shape[:2], dtype=torch.bool), torch.ones(tokens.shape, dtype=torch.bool)
    embed = model.language_model.get_input_embeddings()
    hidden = completion_hidden(model.decoder, embed, prompts, whole[0], tokens, whole[1])
    return row_logprobs(model.head, hidden.flatten(0, 2), tokens.flatten(), model.suppressed, 1.0)[0]


def _sampling_bytes(model: PretrainedSpeechModel, step: Step, length: int, is_shared: bool) -> int:
    config = model.language_model.config
    rows = step.prompts * step.group_size
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    number = 2 if step.bf16 else model.language_model.dtype.itemsize
    prompt = length - step.completion_tokens
    positions = (step.prompts if is_shared else rows) * prompt + rows * step.completion_tokens
    states = 2 * config.num_hidden_layers * heads * size * positions * number
    return int(states + 3 * rows * config.vocab_size * 8)  # probabilities in float64, cumulated and compared
