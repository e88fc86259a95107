"""The board as plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from speechbench.leaderboard.comparisons import Comparison
from speechbench.leaderboard.table import Board, BoardRow, Cell

JSON_SCHEMA = 2


def to_json(board: Board) -> dict[str, Any]:
    """The board as plain data: figures by their column's key, every p with its difference and interval."""
    raw, corrected = board.smallest_p
    return {
        "schema": JSON_SCHEMA,
        "ablation": board.ablation,
        "benchmark": board.benchmark,
        "split": board.split,
        "data_fingerprint": board.data_fingerprint,
        "examples": board.examples,
        "clusters": dict(zip(("level", "number"), board.clusters, strict=True)),
        "test": board.test,
        "resamples": board.resamples,
        "most_resamples": board.most_resamples,
        "family": board.family,
        "alpha": board.alpha,
        "smallest_p": {"raw": raw, "holm": corrected},
        "sampled": None if board.sampled is None else asdict(board.sampled),
        "columns": [asdict(column) for column in board.columns],
        "rows": [_row(row, board) for row in board.rows],
        "goodhart": [
            {**asdict(its), "own": [metric for metric, gain in its.gains.items() if gain.is_own]}
            for its in board.goodhart
        ],
        "runs": [asdict(run) for run in board.runs],
        "broken": [{"folder": folder, "reason": reason} for folder, reason in board.broken],
        "notes": list(board.notes),
    }


def _row(row: BoardRow, board: Board) -> dict[str, Any]:
    return {
        "label": row.label,
        "trainer": row.trainer,
        "reward": row.reward,
        "control": row.control,
        "seeds": list(row.seeds),
        "run_ids": list(row.run_ids),
        "cells": {column.key: _cell(cell) for cell, column in zip(row.cells, board.columns, strict=True)},
        "overall": None if row.overall is None else asdict(row.overall),
    }


def _cell(cell: Cell) -> dict[str, Any]:
    tests = {name: _test(getattr(cell, name)) for name in ("base", "sft", "control")}
    sampled = None if cell.sampled is None else {**asdict(cell.sampled), "base": _test(cell.sampled.base)}
    return {**asdict(cell), **tests, "sampled": sampled}


def _test(test: Comparison | None) -> dict[str, Any] | None:
    if test is None:
        return None
    seeds = test.seeds
    over_seeds = None if seeds is None else {"n": seeds.seeds, "interval": list(seeds.interval), "p": seeds.p}
    return {**asdict(test), "seeds": over_seeds}
