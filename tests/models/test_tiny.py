"""The embedded base model: it knows both tasks imperfectly, and it listens."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from speechbench.answering import answer
from speechbench.benchmarks.base import Example
from speechbench.benchmarks.loading import load_benchmark
from speechbench.models.base import Sampling
from speechbench.models.tiny import FOLDER, Tiny
from speechbench.rewards.loading import load_reward
from speechbench.rewards.measure import measure


def bleu(model: Tiny, shown: list[Example], asked: list[Example]) -> float:
    """Greedy corpus BLEU of answers to `shown` against the references of `asked`."""
    texts = answer(model, shown, Sampling(temperature=0.0))[0].texts
    return measure(load_reward("bleu"), texts, asked).corpus


@pytest.mark.slow
@pytest.mark.parametrize(("benchmark", "lowest", "highest"), [("covost2-mini", 50, 75), ("librisqa-mini", 30, 90)])
def test_it_is_a_base_that_listens(
    benchmark: str, lowest: float, highest: float, record_property: pytest.RecordProperty
) -> None:
    model = Tiny()
    examples = list(load_benchmark(benchmark).load("validation"))
    turned = examples[1:] + examples[:1]
    swapped = [dataclasses.replace(e, audio=other.audio) for e, other in zip(examples, turned, strict=True)]
    silent = [dataclasses.replace(e, audio=None) for e in examples]
    heard, other, nothing = (bleu(model, shown, examples) for shown in (examples, swapped, silent))
    for name, value in (("audio", heard), ("swapped", other), ("none", nothing)):
        record_property(name, value)
    print(f"{benchmark}: BLEU {heard:.1f} with its audio, {other:.1f} with another's, {nothing:.1f} with none")
    assert lowest < heard < highest
    # What is left without the right audio is what the language alone gives away.
    assert other < 0.5 * heard and nothing < 0.5 * heard


def test_it_is_small_and_is_a_real_granite_speech() -> None:
    assert sum(file.stat().st_size for file in Path(FOLDER).iterdir()) <= 8 * 2**20
    model = Tiny()
    assert type(model.network).__name__ == "GraniteSpeechForConditionalGeneration"
    parameters = sum(p.numel() for p in model.parameters())
    assert 2e6 < parameters < 5e6
