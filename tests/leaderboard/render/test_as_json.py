"""The board as plain data."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from speechbench.leaderboard import Board, to_json
from speechbench.leaderboard.render.as_json import JSON_SCHEMA
from speechbench.leaderboard.statistics import smallest_p


@pytest.fixture
def content(board: Board) -> Any:
    return json.loads(json.dumps(to_json(board), allow_nan=False))


def test_what_the_board_is_of(board: Board, content: Any) -> None:
    assert content["schema"] == JSON_SCHEMA == 2 and content["notes"] == list(board.notes)
    facts = ("ablation", "benchmark", "split", "data_fingerprint", "examples", "test", "resamples", "family", "alpha")
    assert {name: content[name] for name in facts} == {name: getattr(board, name) for name in facts}
    assert content["clusters"] == {"level": "example", "number": 60}
    assert content["smallest_p"] == {
        "raw": smallest_p(board.most_resamples, 60, "bootstrap"),
        "holm": board.smallest_p[1],
    }
    assert content["broken"] == [] and content["sampled"] is None
    assert content["columns"] == [asdict(column) for column in board.columns]


def test_figures_are_found_by_their_columns_key(board: Board, content: Any) -> None:
    for given, row in zip(content["rows"], board.rows, strict=True):
        facts = {"label": row.label, "trainer": row.trainer, "reward": row.reward, "control": row.control}
        assert {name: given[name] for name in facts} == facts
        assert (given["seeds"], given["run_ids"]) == (list(row.seeds), list(row.run_ids))
        assert list(given["cells"]) == [column.key for column in board.columns]
        for cell, column in zip(row.cells, board.columns, strict=True):
            its = given["cells"][column.key]
            assert its["value"] == cell.value and its["level_with_best"] == cell.level_with_best
            assert its["rank"] == (None if cell.rank is None else list(cell.rank))
            for baseline in ("base", "sft", "control"):
                test = getattr(cell, baseline)
                assert (its[baseline] is None) == (test is None)
                if test is not None:
                    same = ("against", "difference", "p", "p_holm", "examples", "resamples", "detectable")
                    assert {name: its[baseline][name] for name in same} == {name: getattr(test, name) for name in same}
        assert given["overall"] == (None if row.overall is None else json.loads(json.dumps(asdict(row.overall))))


def test_tests_over_seeds_and_over_both_are_there(board: Board, content: Any) -> None:
    cell, given = board.rows[2].cells[0], content["rows"][2]["cells"]["bleu"]
    assert cell.base is not None and cell.base.seeds is not None and cell.base.pigeonhole is not None
    seeds = cell.base.seeds
    assert given["base"]["seeds"] == {"n": 5, "interval": list(seeds.interval), "p": seeds.p}
    assert given["base"]["pigeonhole"] == list(cell.base.pigeonhole)
    assert cell.seeds is not None and given["seeds"]["standard_deviation"] == cell.seeds.standard_deviation
    assert content["rows"][1]["cells"]["bleu"]["base"]["seeds"] is None


def test_gains_and_runs_are_there(board: Board, content: Any) -> None:
    for given, its in zip(content["goodhart"], board.goodhart, strict=True):
        assert (given["label"], given["own_gain"], given["flag"]) == (its.label, its.own_gain, its.flag)
        assert given["own"] == [name for name, gain in its.gains.items() if gain.is_own]
        assert {name: gain["relative"] for name, gain in given["gains"].items()} == {
            name: gain.relative for name, gain in its.gains.items()
        }
    assert [run["id"] for run in content["runs"]] == [run.id for run in board.runs]
    assert {run["state"] for run in content["runs"]} == {"finished"}


def test_what_was_named_to_do_harm_is_data(hostile: Board) -> None:
    text = json.dumps(to_json(hostile))
    assert text.isprintable() and json.loads(text)["ablation"] == hostile.ablation
