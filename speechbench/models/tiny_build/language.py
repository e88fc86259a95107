"""Stage two: projector and language model learn from the frozen encoder's outputs, words before sentences.

Trained on whole sentences at once, or together with the encoder, such a small model learns the language
and ignores the audio; so it transcribes words first, then phrases, then sentences, and only then learns
to translate and to answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from speechbench.benchmarks import templates
from speechbench.benchmarks.base import Example
from speechbench.benchmarks.mini import grammar
from speechbench.models.granite_speech import GraniteSpeech
from speechbench.models.tiny_build import habits
from speechbench.models.tiny_build.recordings import Utterance

TRANSCRIBE = "<|audio|> can you transcribe the speech into a written format?"


@dataclass(frozen=True)
class Heard:
    """An utterance and what the frozen encoder makes of it, shape [frame, hidden]."""

    utterance: Utterance
    encoded: torch.Tensor


@dataclass(frozen=True)
class Stage:
    """One step of the curriculum.

    Attributes:
        steps: Optimizer steps.
        sources: What is drawn from, each with its share.
        tasks: Which of "transcribe", "translate", "answer" are asked, drawn evenly.
        has_habits: Whether translations and answers are worded in the model's own ways (`habits`).
        learning_rate: Constant after a short warm-up; decays to a tenth in the last stage.
    """

    name: str
    steps: int
    sources: tuple[tuple[str, float], ...]
    tasks: tuple[str, ...]
    learning_rate: float
    has_habits: bool = False


def ask(task: str, utterance: Utterance, rng: random.Random, has_habits: bool) -> tuple[str, str]:
    """Instruction and answer of one task about one utterance; what is no sentence can't be asked about."""
    meaning = utterance.meaning
    if task == "translate":
        loose = has_habits and meaning is not None
        return templates.translation("de"), habits.german(meaning, rng) if loose and meaning else utterance.german
    if task == "answer" and meaning is not None:
        index = rng.randrange(len(grammar.QUESTIONS))
        question, answer = meaning.question(index)
        return templates.question(question), habits.answer(meaning, index, rng) if has_habits else answer
    return TRANSCRIBE, utterance.text


def train(
    model: GraniteSpeech,
    sources: Mapping[str, Sequence[Heard]],
    stages: Sequence[Stage],
    batch: int = 48,
    progress: Callable[[str, int, int, float], None] | None = None,
) -> None:
    """Trains projector and language model in place, with the encoder's outputs given."""
    rng = random.Random(0)
    learning = [*model.parts["projector"].parameters(), *model.parts["language_model"].parameters()]
    optimizer = torch.optim.AdamW(learning, lr=1e-3, weight_decay=1e-2, betas=(0.9, 0.98))
    model.train()
    for number, stage in enumerate(stages):
        names, shares = zip(*stage.sources, strict=True)
        for step in range(stage.steps):
            rate = stage.learning_rate * min(1.0, (step + 1) / 50)
            if number == len(stages) - 1:
                rate *= 1.0 - 0.9 * step / stage.steps
            for group in optimizer.param_groups:
                group["lr"] = rate
            chosen = [rng.choice(sources[name]) for name in rng.choices(names, shares, k=batch)]
            asked = [ask(rng.choice(stage.tasks), item.utterance, rng, stage.has_habits) for item in chosen]
            loss = _loss(model, chosen, asked)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            optimizer.step()
            if progress is not None:
                progress(stage.name, step + 1, stage.steps, loss.item())
    model.eval()


def _loss(model: GraniteSpeech, chosen: Sequence[Heard], asked: Sequence[tuple[str, str]]) -> torch.Tensor:
    """Cross-entropy of the answers, in nats per token."""
    examples = [
        Example(f"{i}", None, instruction, (answer,), None, "en", "en") for i, (instruction, answer) in enumerate(asked)
    ]
    prompts = model.embed_encoded(examples, [item.encoded for item in chosen])
    completions = model.completions_of([[answer] for _, answer in asked])
    return -model.logprobs(prompts, completions).sum() / completions.mask.sum()
