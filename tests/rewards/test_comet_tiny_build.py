"""What comet[tiny] is worth, and how it is built."""

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from speechbench.rewards.comet import TINY_FOLDER, Comet
from speechbench.rewards.comet_tiny_build import measure, save, train, write_encoder
from speechbench.rewards.comet_tiny_data import Item, meanings, worth

TINY = Comet("tiny")


def mean_score(hypotheses: list[str], items: list[Item]) -> float:
    sources, references = [item.source for item in items], [item.reference for item in items]
    return statistics.mean(TINY.score_texts(sources, hypotheses, references))


@pytest.mark.parametrize("question", [None, 0, 2, 4, 6, 8, 10])
def test_tiny_prefers_the_reference_to_every_degradation_of_it(question: int | None) -> None:
    items = [Item(meaning, question) for meaning in meanings("held out")[:60]]
    others = items[1:] + items[:1]
    gold = mean_score([item.reference for item in items], items)
    twice = mean_score([f"{item.reference} {item.reference}" for item in items], items)
    backwards = mean_score([" ".join(reversed(item.reference.split())) for item in items], items)
    half = mean_score([item.reference[: len(item.reference) // 2] for item in items], items)
    wrong = mean_score([replace(item, meaning=one_other(item)).reference for item in items], items)
    foreign = mean_score(
        [item.meaning.question(0)[1] if question is None else item.meaning.german() for item in items], items
    )
    copied = mean_score([item.source for item in items], items)
    shouted = mean_score([item.source.upper().strip(".") for item in items], items)
    empty = mean_score([""] * len(items), items)
    unrelated = mean_score([other.reference for other in others], items)
    assert gold > 0.9
    assert 0.4 < wrong < gold - 0.05
    for low in (foreign, copied, shouted, empty):
        assert low < 0.3
    assert max(twice, backwards, half, unrelated) < gold - 0.1


def one_other(item: Item) -> Any:
    """The item's meaning with another value in the last slot that its reference names."""
    from speechbench.benchmarks.mini.grammar import SLOTS, VALUES

    place = SLOTS.index(item.slots[-1])
    values = list(item.meaning.slots)
    values[place] = next(value for value in VALUES[SLOTS[place]] if value != values[place])
    return replace(item.meaning, slots=tuple(values))


def test_tiny_follows_slots_more_closely_than_bleu_does() -> None:
    report = measure(TINY.score_texts, 600)
    assert report["comet[tiny] and target"]["pearson"] > 0.95
    for measured_by in ("pearson", "spearman"):
        assert report["comet[tiny] and slots"][measured_by] > report["bleu and slots"][measured_by]


def test_worth() -> None:
    item = Item(meanings("held out")[0], None)
    reference = item.reference
    assert worth(reference, item) == worth(reference.lower().rstrip("."), item) == 1.0
    assert worth("", item) == worth(item.source, item) == worth(item.source.upper(), item) == 0.0
    assert worth(f"{reference} {reference}", item) == 0.5
    fronted = replace(item, meaning=replace(item.meaning, time_first=not item.meaning.time_first))
    assert worth(fronted.reference, item) == pytest.approx(0.75**0.5)
    assert worth(replace(item, meaning=one_other(item)).reference, item) == pytest.approx(6 / 7)


def test_the_embedded_checkpoint_is_small_and_its_build_repeatable(tmp_path: Path) -> None:
    assert sum(file.stat().st_size for file in TINY_FOLDER.rglob("*") if file.is_file()) < 8_000_000
    write_encoder(tmp_path / "encoder")
    for file in ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "config.json"):
        assert (tmp_path / "encoder" / file).read_bytes() == (TINY_FOLDER / "encoder" / file).read_bytes()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        first, second = (train(tmp_path / "encoder", 2, lambda _: None).model for _ in range(2))
    finally:
        torch.set_num_threads(threads)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    save(first, tmp_path)
    assert (tmp_path / "hparams.yaml").read_bytes() == (TINY_FOLDER / "hparams.yaml").read_bytes()
    assert Comet(str(tmp_path)).score_texts(["a"], ["zwei"], ["zwei"]) != TINY.score_texts(["a"], ["zwei"], ["zwei"])
