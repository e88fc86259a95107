"""Boards that are kept: the same, faster, and never older than what they are of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from speechbench.leaderboard import boards, leaderboard
from speechbench.leaderboard.kept import keep, kept
from speechbench.runs import read_run, write_failure, write_result, write_samples

MakeRun = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "boards"


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A list that grows with each board that is computed."""
    calls: list[object] = []
    compute = boards.read_boards

    def counting(*arguments: object, **others: object) -> object:
        calls.append(arguments)
        return compute(*arguments, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(boards, "read_boards", counting)
    return calls


def test_a_kept_board_is_the_computed_one(ablation: Path, computed: list[object], cache: Path) -> None:
    first = leaderboard(ablation, resamples=200)
    assert leaderboard(ablation, resamples=200) == first and len(computed) == 1
    for path in cache.iterdir():
        path.unlink()
    assert leaderboard(ablation, resamples=200) == first and len(computed) == 2  # nothing is lost with it


def test_what_is_asked_for_otherwise_is_another_board(ablation: Path, computed: list[object]) -> None:
    leaderboard(ablation, resamples=200)
    assert leaderboard(ablation, resamples=201)[0].resamples == 201
    assert leaderboard(ablation, resamples=200, test="randomisation")[0].test == "randomisation"
    assert len(leaderboard(ablation, resamples=200, only=["base-None"])[0].rows) == 1
    leaderboard(ablation, resamples=200, together=True)
    assert len(computed) == 5


def test_every_change_of_a_run_folder_is_seen(make_run: MakeRun, tmp_path: Path, computed: list[object]) -> None:
    make_run("base", 0.5, None)
    sft = make_run("sft", 0.7, finished=False)
    runs = tmp_path / "runs"
    assert leaderboard(runs, resamples=100)[0].runs[1].state == "unfinished"
    write_failure(sft, ValueError("no room"))
    assert leaderboard(runs, resamples=100)[0].runs[1].reason == "ValueError: no room"
    (sft / "failure.json").unlink()
    make_run("sft", 0.7)
    (board,) = leaderboard(runs, resamples=100)
    assert board.runs[1].state == "finished"
    run = read_run(sft)
    assert run.result is not None
    write_samples(sft, run.samples.records[::-1])
    write_result(sft, run.result)
    leaderboard(runs, resamples=100)
    assert len(computed) == 4


def test_what_is_broken_in_the_cache_is_computed_again(ablation: Path, computed: list[object], cache: Path) -> None:
    first = leaderboard(ablation, resamples=100)
    for path in cache.iterdir():
        path.write_bytes(b"\x00 no board")
    assert leaderboard(ablation, resamples=100) == first and len(computed) == 2


def test_a_cache_that_cannot_be_written_is_none(ablation: Path, cache: Path) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text("a file stands where the folder would be")
    assert leaderboard(ablation, resamples=100)


def test_the_oldest_boards_go(cache: Path) -> None:
    for number in range(70):
        keep(f"key{number}", [])
    assert len(list(cache.iterdir())) == 64 and kept("key69") == []


def test_a_board_with_what_could_not_be_read_is_not_kept(
    make_run: MakeRun, tmp_path: Path, computed: list[object]
) -> None:
    make_run("base", 0.5, None)
    broken = make_run("sft") / "run.json"
    broken.write_text("{")
    for _ in range(2):
        (board,) = leaderboard(tmp_path / "runs", resamples=50)
        assert board.broken
    assert len(computed) == 2


def test_folders_of_one_name_elsewhere_are_others(
    make_run: MakeRun, tmp_path: Path, computed: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("base", 0.5, None)
    copied = tmp_path / "elsewhere" / "other"
    shutil.copytree(run.parent, copied)
    found = []
    for folder in (run.parent, copied):
        monkeypatch.chdir(folder)
        found += leaderboard(".", resamples=50)
    assert [board.ablation for board in found] == [run.parent.name, "other"]


def test_a_name_that_is_no_text_is_not_kept(make_run: MakeRun, tmp_path: Path, computed: list[object]) -> None:
    run = make_run("base", 0.5, None)
    named = os.fsdecode(os.fsencode(run.parent.parent) + b"/a\xff")
    os.rename(run.parent, named)
    assert len(leaderboard(run.parent.parent, resamples=50)) == 1
