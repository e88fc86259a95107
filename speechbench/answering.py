"""What a model writes when it is measured: one answer to every example, or several that are sampled."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from speechbench.benchmarks.base import Example
from speechbench.errors import UsageError
from speechbench.models.base import Sampling, SpeechModel
from speechbench.out_of_memory import ShortOfMemoryError, is_out_of_memory
from speechbench.progress import Progress

BATCH = 50
"""Answers that are written at once: of so many examples, or of fewer where each has several."""


@dataclass(frozen=True)
class Drawing:
    """How answers are drawn.

    Attributes:
        temperature: 0 is greedy.
        top_p: Draws among the likeliest tokens whose probabilities sum to it; 1 for all.
        passes: How many answers each example gets.

    Raises:
        UsageError: If a value makes no sense, or does nothing.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    passes: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UsageError(
                f"temperature={self.temperature!r}: give 0 for greedy answers, or a number above it, as 0.9"
            )
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p={self.top_p!r}: give a number above 0 and up to 1, as 0.9")
        if not isinstance(self.passes, int) or isinstance(self.passes, bool) or self.passes < 1:
            raise UsageError(f"passes={self.passes!r}: give a whole number of at least 1, as 4")
        if self.temperature == 0 and self.passes > 1:
            raise UsageError(f"at temperature 0 all {self.passes} answers to an example are one: give temperature=0.9")
        if self.temperature == 0 and self.top_p < 1:
            raise UsageError(f"top_p={self.top_p!r} changes nothing at temperature 0: give temperature=0.9 too")

    def sampling(self, max_tokens: int, seed: int = 0) -> Sampling:
        """What the model is told."""
        return Sampling(self.temperature, max_tokens, seed, top_p=self.top_p)


PAPER = Drawing(temperature=0.9, top_p=0.9)
"""How arXiv 2509.16990 samples when it evaluates; it does not state the number of passes."""
WHOLE = Drawing(temperature=1.0)
"""The model's own distribution, which best-of-n and pass@k are drawn from unless said otherwise."""


@dataclass(frozen=True)
class Answers:
    """One answer to each example.

    Attributes:
        texts: The hypotheses.
        tokens: Their lengths in tokens.
        truncated: Whether each was cut at the limit.
    """

    texts: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)


def answer(
    model: SpeechModel,
    examples: Sequence[Example],
    sampling: Sampling,
    passes: int = 1,
    progress: Progress | None = None,
) -> list[Answers]:
    """Answers every example, once in each pass.

    The passes are written together, as the members of a group whose prompt runs once, at most `BATCH` of them: pass k
    is member k % BATCH of step k // BATCH. So a pass is the same however many there are, and no more than `BATCH`
    answers are held at once: of half as many examples, and so on, where memory is short, which is told.

    Returns:
        One for each pass.
    """
    found = [Answers() for _ in range(passes)]
    size = max(1, BATCH // passes)  # examples at once
    was_training = model.training
    model.eval()
    with torch.no_grad():
        model.expect(examples[:size])
        while (done := len(found[0].texts)) < len(examples):
            model.expect(examples[done + size : done + 2 * size])
            batch = examples[done : done + size]
            fit = _write(model, batch, sampling, passes)
            if fit is None:
                size = _fewer(model, len(batch), passes, progress)
                continue
            for its, new in zip(found, fit, strict=True):
                its.texts.extend(new.texts)
                its.tokens.extend(new.tokens)
                its.truncated.extend(new.truncated)
            if progress is not None:
                progress.advance("evaluating", passes * len(found[0].texts), passes * len(examples))
    model.train(was_training)
    return found


def _write(model: SpeechModel, examples: Sequence[Example], sampling: Sampling, passes: int) -> list[Answers] | None:
    """The answers to a few examples, by pass; `None` where memory does not hold so many at once."""
    found = []
    try:
        prompts = model.embed(examples)
        for step, first in enumerate(range(0, passes, BATCH), sampling.step):
            members = min(BATCH, passes - first)
            completions = model.sample(prompts, members, dataclasses.replace(sampling, step=step))
            texts, lengths_PG = model.texts_of(completions), completions.mask.sum(-1)
            found += [
                Answers(
                    [group[member] for group in texts],
                    lengths_PG[:, member].tolist(),
                    (~completions.finished[:, member]).tolist(),
                )
                for member in range(members)
            ]
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None  # and with the error what it holds: there is no room for more beside it
    return found


def _fewer(model: SpeechModel, examples: int, passes: int, progress: Progress | None) -> int:
    """How many examples to answer at once where so many were too many.

    Raises:
        ShortOfMemoryError: If it was one.
    """
    if examples == 1:
        fewer = f", ask for fewer answers to each example (now {passes})" if passes > 1 else ""
        raise ShortOfMemoryError(
            f"model {model.name} ran out of memory as it answered a single example: give it dtype=bfloat16, if it has "
            f"another{fewer}, or free memory, and run the same command again"
        )
    if progress is not None:
        progress.tell(
            f"memory is too short for answers to {examples} examples at once: model {model.name} goes on with "
            f"{examples // 2}"
        )
    return examples // 2
