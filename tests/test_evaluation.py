"""Evaluation: greedy once, or sampled in passes, each of which is an evaluation of its own."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import speechbench
from speechbench import answering
from speechbench.answering import Drawing, answer
from speechbench.benchmarks.base import Example
from speechbench.benchmarks.loading import load_benchmark
from speechbench.cli import main
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.evaluation import evaluate_passes, load_metrics
from speechbench.models.base import Completions, Prompts, Sampling
from speechbench.models.tiny import Tiny
from speechbench.progress import Progress
from speechbench.rewards.measure import measure

LIMIT = 3


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    benchmark = load_benchmark("covost2-mini")
    benchmark.prepare()
    return list(benchmark.load("test", LIMIT))


@pytest.fixture(scope="module")
def model() -> Iterator[Tiny]:
    yield Tiny()


def test_a_pass_is_a_member_of_the_group_however_many_passes_there_are(model: Tiny, examples: list[Example]) -> None:
    sampling = Sampling(temperature=0.9, max_tokens=12, seed=3, top_p=0.9)
    passes = answer(model, examples, sampling, 3)
    completions = model.sample(model.embed(examples), 3, sampling)
    texts = model.texts_of(completions)
    for number, its in enumerate(passes):
        assert its.texts == [group[number] for group in texts]
        assert its.tokens == completions.mask[:, number].sum(-1).tolist()
        assert its.truncated == (~completions.finished[:, number]).tolist()
    assert answer(model, examples, sampling, 2) == passes[:2]
    assert len({tuple(its.texts) for its in passes}) == 3


def test_no_more_answers_are_written_at_once_than_fit(
    model: Tiny, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "BATCH", 4)
    rows: list[int] = []
    sample = model.sample

    def counted(prompts: Prompts, group_size: int, sampling: Sampling) -> Completions:
        rows.append(len(prompts.ids) * group_size)
        return sample(prompts, group_size, sampling)

    monkeypatch.setattr(model, "sample", counted)
    sampling = Sampling(temperature=1.0, max_tokens=6)
    passes = answer(model, examples, sampling, 6)
    assert max(rows) == 4 and sum(rows) == 6 * LIMIT
    parts = [sample(model.embed(examples), size, Sampling(1.0, 6, step=step)) for step, size in ((0, 4), (1, 2))]
    texts = [model.texts_of(part) for part in parts]
    assert [its.texts for its in passes] == [
        [group[member] for group in its] for its in texts for member in range(len(its[0]))
    ]


class Told(Progress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def tell(self, text: str) -> None:
        self.texts.append(text)


def short_of_memory(monkeypatch: pytest.MonkeyPatch, model: Tiny, room: int) -> None:
    """Memory for so many answers at once."""
    sample = model.sample

    def limited(prompts: Prompts, group_size: int, sampling: Sampling) -> Completions:
        if len(prompts.ids) * group_size > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return sample(prompts, group_size, sampling)

    monkeypatch.setattr(model, "sample", limited)


@pytest.mark.parametrize(("passes", "room"), [(1, 1), (1, 2), (2, 5)])
def test_where_memory_is_short_fewer_are_answered_at_once_and_none_is_lost(
    model: Tiny, examples: list[Example], monkeypatch: pytest.MonkeyPatch, passes: int, room: int
) -> None:
    sampling = Sampling(float(passes > 1), 8)
    expected = answer(model, examples, sampling, passes)
    short_of_memory(monkeypatch, model, room)
    told = Told()
    assert answer(model, examples, sampling, passes, told) == expected
    assert told.texts == ["memory is too short for answers to 3 examples at once: model tiny goes on with 1"]


def test_one_example_that_is_too_much_is_said_with_what_helps(
    model: Tiny, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    short_of_memory(monkeypatch, model, 0)
    with pytest.raises(SpeechbenchError, match=r"^model tiny ran out of memory .* give it dtype=bfloat16"):
        answer(model, examples, Sampling(0.0, 8))
    with pytest.raises(SpeechbenchError, match=r"ask for fewer answers to each example \(now 3\)"):
        answer(model, examples, Sampling(1.0, 8), 3)


def test_each_pass_is_measured_by_itself(model: Tiny, examples: list[Example]) -> None:
    metrics = load_metrics(load_benchmark("covost2-mini"), ["bleu", "wer"])
    found = evaluate_passes(model, examples, metrics, Sampling(1.0, 12), 2)
    for its in found:
        hypotheses = [sample.hypothesis for sample in its.samples]
        assert its.metrics == {str(m.spec): measure(m, hypotheses, examples).corpus for m in metrics}


def evaluated(**options: Any) -> dict[str, Any]:
    return speechbench.eval(limit=LIMIT, metrics=["bleu", "chrf"], **options)


def test_passes_have_their_scores_their_mean_and_their_spread(tmp_path: Path) -> None:
    found = evaluated(passes=3, samples=tmp_path / "answers.jsonl")
    assert found["sampling"] == {"temperature": 0.9, "top_p": 0.9, "passes": 3, "seed": 0}
    for name, scores in found["passes"].items():
        assert len(set(scores)) == 3
        assert found["metrics"][name] == pytest.approx(statistics.mean(scores))
        assert found["spread"][name] == pytest.approx(statistics.stdev(scores))
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [line["pass"] for line in lines] == [number for number in range(3) for _ in range(LIMIT)]


def test_temperature_top_p_and_seed_change_what_is_drawn_and_greedy_is_the_default() -> None:
    greedy = evaluated()
    assert greedy["sampling"] == {"temperature": 0.0, "top_p": 1.0, "passes": 1, "seed": 0}
    assert "passes" not in greedy
    hot = evaluated(temperature=1.0)["metrics"]
    assert hot != greedy["metrics"]
    for other in ({"temperature": 0.7}, {"top_p": 0.3}, {"seed": 1}):
        assert evaluated(**{"temperature": 1.0, **other})["metrics"] != hot


def test_the_best_of_n_by_a_metric_is_the_best_of_its_passes(tmp_path: Path) -> None:
    """At n = N it is the corpus of each example's best answer; pass@N counts the examples with one that passes."""
    found = evaluated(best_of=[4, 1, 2], pass_at=["binary=100", "chrf=60"], samples=tmp_path / "answers.jsonl")
    assert found["sampling"] == {"temperature": 1.0, "top_p": 1.0, "passes": 4, "seed": 0}
    assert list(found["best_of"]["BLEU"]) == ["1", "2", "4"]
    assert set(found["metrics"]) == {"BLEU", "chrF", "binary"}  # what is asked for in pass_at is measured too
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    by_example: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        by_example.setdefault(line["id"], []).append(line)
    examples = load_benchmark("covost2-mini").load("test", LIMIT)
    for metric, name in zip(
        load_metrics(load_benchmark("covost2-mini"), ["bleu", "chrf"]), ("BLEU", "chrF"), strict=True
    ):
        key = str(metric.spec)
        best = [max(by_example[e.id], key=lambda line: line["metrics"][key]["score"])["hypothesis"] for e in examples]
        assert found["best_of"][name]["4"] == pytest.approx(measure(metric, best, examples).corpus)
    passed = [any(line["metrics"]["chrf"]["score"] >= 60 for line in its) for its in by_example.values()]
    share = [sum(line["metrics"]["chrf"]["score"] >= 60 for line in its) / 4 for its in by_example.values()]
    assert found["pass_at"]["chrF=60"]["4"] == statistics.mean(passed)
    assert found["pass_at"]["chrF=60"]["1"] == pytest.approx(statistics.mean(share))
    assert set(found["pass_at"]) == {"binary=100", "chrF=60"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"passes": 3, "temperature": 0.0}, "at temperature 0 all 3 answers to an example are one"),
        ({"top_p": 0.9}, "top_p=0.9 changes nothing at temperature 0"),
        ({"top_p": 0.0, "temperature": 1.0}, "top_p=0.0: give a number above 0"),
        ({"temperature": -1.0}, "temperature=-1.0: give 0 for greedy"),
        ({"passes": 0}, "passes=0: give a whole number"),
        ({"passes": 2, "best_of": [1, 2]}, "passes=2 beside best_of, which draws 2 passes"),
        ({"pass_at": ["binary=100"]}, "say for which k with best_of"),
        ({"best_of": [0, 1]}, "best_of=0"),
        ({"best_of": [1], "pass_at": ["binary"]}, "pass_at='binary': write a metric and the score to reach"),
        ({"best_of": [1], "pass_at": ["binry=100"]}, "did you mean 'binary'"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        evaluated(**options)


def test_what_is_drawn_says_how() -> None:
    assert Drawing(0.7, 0.8, 2).sampling(9, 4) == Sampling(0.7, 9, 4, top_p=0.8)


def test_the_command_prints_passes_and_curves() -> None:
    def said(*words: str) -> str:
        result = CliRunner().invoke(main, ["eval", "--limit", "2", "--metrics", "bleu,wer", "--quiet", *words])
        assert result.exit_code == 0, result.output
        return result.output

    passes = said("--passes", "2")
    for part in ("temperature 0.9, top-p 0.9, mean of 2 passes", "± over passes", "pass 1", "pass 2", "WER ↓"):
        assert part in passes
    curves = said("--best-of", "1,3", "--pass-at", "wer=50", "--temperature", "0.8")
    for part in ("best of n, by itself", "pass@k, WER ≤ 50", "%", "temperature 0.8, top-p 1"):
        assert part in curves
    assert "pass 1" not in curves
