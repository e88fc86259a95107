"""A reward at work in a training: what is asked again, what is kept, what is counted."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from speechbench.benchmarks.base import Example
from speechbench.errors import SpeechbenchError
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.combined import Product, Sum
from speechbench.trainers import scoring
from speechbench.trainers.scoring import Scorer

EXAMPLES = [Example(name, None, "", ("Ja.",), None, "en", "de") for name in "ab"]


class Noted(Reward):
    """Scores a text by its length, and notes what it was asked; "?" has no score."""

    display = "noted"

    def __init__(self, is_pure: bool = True, waits: bool = False) -> None:
        self.is_pure, self.waits = is_pure, waits
        self.asked: list[tuple[str, str]] = []
        self.threads: list[threading.Thread] = []

    def score(self, batch: Batch) -> list[float | None]:
        self.asked += [(e.id, text) for e, text in zip(batch.examples, batch.hypotheses, strict=True)]
        self.threads.append(threading.current_thread())
        return [None if text == "?" else float(len(text)) for text in batch.hypotheses]

    def usage(self) -> Mapping[str, float]:
        return {"characters": float(sum(len(text) for _, text in self.asked))}


def ask(scorer: Scorer, *groups: list[str], step: int = 0) -> list[list[Any]]:
    rewards_PG = scorer.begin(groups, EXAMPLES[: len(groups)], 0, step)()
    assert rewards_PG.dtype is torch.float64
    return [[None if value != value else value for value in row] for row in rewards_PG.tolist()]


def test_each_text_of_an_example_is_scored_once() -> None:
    reward = Noted()
    scorer = Scorer(reward)
    assert ask(scorer, ["x", "xx", "x"], ["x", "?", ""]) == [[1, 2, 1], [1, None, 0]]
    assert ask(scorer, ["xx", "?"], ["x", "?"]) == [[2, None], [1, None]]
    assert sorted(reward.asked) == [("a", "?"), ("a", "x"), ("a", "xx"), ("b", ""), ("b", "?"), ("b", "x")]


def test_what_is_not_pure_is_asked_each_time() -> None:
    reward = Noted(is_pure=False)
    scorer = Scorer(reward)
    ask(scorer, ["x", "x"])
    ask(scorer, ["x", "x"])
    assert reward.asked == [("a", "x")] * 4


def test_batches_of_which_nothing_applies_are_silent_and_refused_only_if_it_never_does() -> None:
    scorer = Scorer(Noted())
    for _ in range(scoring.PATIENCE - 1):
        assert ask(scorer, ["?", "?"]) == [[None, None]]
    with pytest.raises(SpeechbenchError, match="reward noted does not apply here"):
        ask(scorer, ["?", "?"])
    scorer = Scorer(Noted())
    scorer.require_applied()
    ask(scorer, ["?"])
    with pytest.raises(SpeechbenchError, match=r"reward noted does not apply here: .* example 'a'"):
        scorer.require_applied()
    ask(scorer, ["x", "?"])
    scorer.require_applied()
    for _ in range(scoring.PATIENCE):
        assert ask(scorer, ["?", "?"]) == [[None, None]]


def test_only_so_many_scores_are_kept_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "KEPT", 2)
    reward = Noted()
    scorer = Scorer(reward)
    ask(scorer, ["1", "22", "333"])
    assert ask(scorer, ["333", "22", "1"]) == [[3, 2, 1]]
    assert reward.asked[3:] == [("a", "1")]


def test_training_that_goes_on_knows_what_it_knew(tmp_path: Path) -> None:
    """Scores to the last bit."""
    reward = Noted()
    first = Scorer(reward)
    ask(first, ["x", "?"])
    first._kept = {key: None if score is None else score / 3 for key, score in first._kept.items()}
    second = Scorer(reward)
    second.go_on(tmp_path, json.loads(json.dumps(first.save(tmp_path))))
    assert ask(second, ["x", "?"]) == [[1 / 3, None]]
    assert len(reward.asked) == 2
    assert second.seconds["noted"] > first.seconds["noted"]
    assert second.usage == first.usage == {"characters": 2}
    (tmp_path / "scores-0.json").write_text("{")
    with pytest.raises(SpeechbenchError, match=r"scores-0.json cannot be read .* remove the folder"):
        second.go_on(tmp_path, {})


def test_processes_that_train_together_keep_scores_apart(tmp_path: Path) -> None:
    for rank in (0, 1):
        Scorer(Noted(), rank).save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"scores-0.json", "scores-1.json"}


def test_use_is_counted_for_this_training_alone() -> None:
    reward = Noted()
    ask(Scorer(reward), ["xxx"])
    scorer = Scorer(reward)
    ask(scorer, ["x", "x"])
    assert scorer.usage == {"characters": 1}


def test_reward_that_waits_does_so_beside_other_work() -> None:
    """Scoring ends only after the caller has done something else."""
    released = threading.Event()

    class Waiting(Noted):
        def score(self, batch: Batch) -> list[float | None]:
            assert released.wait(10)
            return super().score(batch)

    reward = Waiting(waits=True)
    pending = Scorer(reward).begin([["x"]], EXAMPLES[:1], 0, 0)
    assert not reward.asked
    released.set()
    assert pending().tolist() == [[1.0]]
    assert reward.threads[0] is not threading.current_thread()


def test_failure_beside_other_work_is_raised_when_the_scores_are_needed() -> None:
    class Failing(Noted):
        def score(self, batch: Batch) -> list[float | None]:
            raise ValueError("no")

    pending = Scorer(Failing(waits=True)).begin([["x"]], EXAMPLES[:1], 0, 0)
    with pytest.raises(SpeechbenchError, match="ValueError: no"):
        pending()


def test_parts_of_a_sum_are_kept_one_by_one_and_their_means_told() -> None:
    """Also where the sum itself depends on the group."""
    reward, other = Noted(), Noted(is_pure=False)
    other.display = "other"
    inner = Product([reward], 2.0)
    scorer = Scorer(Sum([inner, other], [1.0, 1.0], "group"))
    first = ask(scorer, ["x", "xxx"])
    assert scorer.means() == {"2*noted": 4.0, "noted": 2.0, "other": 2.0} and scorer.means() == {}
    assert ask(scorer, ["x", "xxx"]) == first
    assert len(reward.asked) == 2 and len(other.asked) == 4
    assert set(scorer.seconds) == {"2*noted", "other", scorer.reward.display}


@pytest.mark.parametrize("waits", [False, True])
def test_the_means_of_parts_leave_out_what_the_policy_did_not_write(waits: bool) -> None:
    scorer = Scorer(Product([Noted(waits=waits)], 2.0))
    off_policy_PG = torch.tensor([[False, False, True], [False, True, True]])
    scorer.begin([["x", "?", "xxxxx"], ["xxx", "?", "xxxxx"]], EXAMPLES, 0, 0, None, off_policy_PG)()
    assert scorer.means() == {"noted": (1 + 3) / 2}
    ask(scorer, ["x", "xxxxx"])  # all are the policy's again
    assert scorer.means() == {"noted": (1 + 5) / 2}


def test_rewards_of_one_text_are_kept_apart() -> None:
    class Doubled(Noted):
        def score(self, batch: Batch) -> list[float | None]:
            return [None if score is None else 2 * score for score in super().score(batch)]

    plain, doubled = Noted(), Doubled()
    doubled.display = "doubled"
    assert ask(Scorer(Sum([plain, doubled], [1.0, 10.0])), ["xx", "x"]) == [[42, 21]]


def test_examples_of_one_id_are_kept_apart() -> None:
    class Matches(Noted):
        def score(self, batch: Batch) -> list[float | None]:
            return [float(text in e.references) for e, text in zip(batch.examples, batch.hypotheses, strict=True)]

    twins = [EXAMPLES[0], replace(EXAMPLES[0], references=("Nein.",))]
    assert Scorer(Matches()).begin([["Ja."], ["Ja."]], twins, 0, 0)().tolist() == [[1.0], [0.0]]


def test_what_is_kept_stays_in_the_training() -> None:
    """The same reward object measures, and serves other trainings, before and after."""
    reward = Noted()
    whole = Sum([reward], [1.0])
    batch = Batch.of(["x"], EXAMPLES[:1])
    assert whole.score(batch) == [1.0]
    ask(Scorer(whole), ["x"])
    ask(Scorer(whole), ["x"])
    assert whole.score(batch) == [1.0]
    assert len(reward.asked) == 4


@pytest.mark.parametrize("waits", [False, True])
def test_rewards_are_asked_without_gradients(waits: bool) -> None:
    class Neural(Noted):
        def score(self, batch: Batch) -> list[float | None]:
            return list(torch.nn.Linear(1, 1)(torch.ones(len(batch.hypotheses), 1)).numpy().flatten())

    assert Scorer(Neural(waits=waits)).begin([["x"]], EXAMPLES[:1], 0, 0)().isfinite().all()


def test_one_sum_may_be_two_factors() -> None:
    part = Sum([Noted()], [2.0])
    assert ask(Scorer(Product([part, part])), ["xx"]) == [[16.0]]
