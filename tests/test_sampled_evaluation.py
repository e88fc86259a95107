"""The second evaluation of an ablation, whose answers are sampled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from speechbench.ablation import Plan, board_of, plan, run_all
from speechbench.answering import answer
from speechbench.errors import UsageError
from speechbench.models.base import Sampling
from speechbench.progress import Progress
from speechbench.runs import read_run

SMALL = {"trainers": ["sft"], "steps": 1, "limit": 2, "metrics": ["bleu"]}


def planned(out: Path, **more: Any) -> Plan:
    return plan([], out=out, **{**SMALL, **more})


class Counted(Progress):
    """How much work was announced."""

    units = 0

    def plan(self, units: int) -> None:
        self.units = units


@pytest.mark.slow
def test_sampled_answers_are_measured_beside_the_greedy_ones(tmp_path: Path) -> None:
    both, progress = planned(tmp_path, sampled_passes=2, sampled_temperature=1.0), Counted()
    run_all(both, progress)
    assert progress.units == 2 * 3 * 2 + 1  # two runs, three times two examples; one step
    base = read_run(both.runs[0].folder)
    assert base.result is not None and base.result.sampled is not None
    sampling = Sampling(1.0, both.sampling.max_tokens, top_p=0.9)
    drawn = answer(both.model, both.examples, sampling, 2)
    assert [[sample.hypothesis for sample in its.records] for its in base.passes] == [its.texts for its in drawn]
    for its, score in zip(base.passes, base.result.sampled.metrics["bleu"], strict=True):
        assert its.ids == base.samples.ids and 0 <= score <= 100
    board = board_of(both)
    assert board.sampled is not None and board.sampled.passes == 2
    assert all(row.cells[0].sampled is not None for row in board.rows)
    greedy = planned(tmp_path)
    run_all(greedy, Progress())
    alone = read_run(greedy.runs[0].folder)
    assert alone.result is not None and alone.result.sampled is None and alone.passes == ()
    assert alone.result.metrics == base.result.metrics
    assert not (greedy.runs[0].folder / "sampled.jsonl").exists()


def test_a_run_is_another_only_where_sampled_answers_are_asked_for(tmp_path: Path) -> None:
    greedy = planned(tmp_path)
    assert "sampled" not in greedy.shared and "top_p" not in greedy.shared["evaluation"]
    asked = [{"sampled_passes": 2}, {"sampled_passes": 3}, {"sampled_passes": 2, "sampled_temperature": 0.5},
             {"sampled_passes": 2, "sampled_top_p": 0.5}]  # fmt: skip
    plans = [greedy, *(planned(tmp_path, **more) for more in asked)]
    assert len({its.folder for its in plans}) == len({its.runs[1].id for its in plans}) == len(plans)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sampled_temperature": 0.5}, "change nothing without sampled_passes"),
        ({"sampled_passes": 2, "sampled_temperature": 0.0}, "sampled_temperature=0 is greedy"),
        ({"sampled_passes": 2, "sampled_top_p": 0.0}, "top_p=0.0: give a number above 0"),
        ({"sampled_passes": -1}, "passes=-1: give a whole number of at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        planned(tmp_path, **options)
