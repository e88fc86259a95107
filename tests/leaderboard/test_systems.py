"""By what the test set is resampled: speakers, chapters, recordings or single examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from speechbench.leaderboard import Board, leaderboard
from speechbench.leaderboard.drawing import blocks, resample_counts
from speechbench.leaderboard.statistics import interval, of_few
from speechbench.leaderboard.store import groups
from speechbench.leaderboard.systems import Clusters, clusters_of, shared_ids, systems_of
from speechbench.runs import read_run, write_result, write_samples

MakeRun = Callable[..., Path]
Names = Sequence[str | None]


def rename(folder: Path, speakers: Names | None = None, audio: Names | None = None) -> None:
    """Changes who speaks and where it was recorded, by the examples' ids."""
    run = read_run(folder)
    assert run.result is not None
    samples = []
    for s in run.samples.records:
        number = int(s.id[1:])
        changes = {name: its[number] for name, its in (("speaker", speakers), ("audio", audio)) if its is not None}
        samples.append(replace(s, **changes))
    write_samples(folder, samples)
    write_result(folder, run.result)


def found(folder: Path) -> Clusters:
    (group,) = groups(folder)
    return clusters_of(group, shared_ids(group))


SPEAKERS = [f"s{number % 30}" for number in range(60)]
CHAPTERS = [f"dev/{number % 5}/{number % 25}/{number % 5}-{number % 25}-{number:04d}.flac" for number in range(60)]
LONG = [f"recordings/{number // 2}.wav" for number in range(60)]  # two segments each


@pytest.mark.parametrize(
    ("speakers", "audio", "level", "number", "too_few"),
    [
        (SPEAKERS, CHAPTERS, "speaker", 30, ()),
        ([*SPEAKERS[:-1], None], CHAPTERS, "chapter", 25, ()),
        ([f"s{number % 5}" for number in range(60)], CHAPTERS, "chapter", 25, ("5 speakers",)),
        (["s"] * 60, LONG, "recording", 30, ("1 speaker",)),
        ([None] * 60, [f"{number}.wav" for number in range(60)], "example", 60, ()),
        ([None] * 60, ["all.wav"] * 60, "example", 60, ("1 recording",)),
        (["s"] * 60, ["1-2-0001.flac"] * 60, "example", 60, ("1 speaker", "1 chapter", "1 recording")),
        ([f"s{number}" for number in range(60)], LONG, "example", 60, ()),
        ([None] * 60, [None] * 60, "example", 60, ()),
        ([f"s{number % 20}" for number in range(60)], [None] * 60, "speaker", 20, ()),
        ([f"s{number % 19}" for number in range(60)], [None] * 60, "example", 60, ("19 speakers",)),
    ],
)
def test_the_coarsest_level_that_is_known_and_has_enough_is_drawn(
    make_run: MakeRun, speakers: Names, audio: Names, level: str, number: int, too_few: tuple[str, ...]
) -> None:
    folder = make_run("base", 0.6, None)
    rename(folder, speakers, audio)
    its = found(folder)
    assert (its.level, its.number, its.too_few) == (level, number, too_few)
    assert len(its.of) == 60 and set(its.of) == set(range(number))
    names = {
        "speaker": speakers,
        "recording": audio,
        "chapter": [str(a).split("/")[2] for a in audio if level[0] == "c"],
    }
    if level != "example":  # one place for each name, and one name for each place
        assert len(set(zip(its.of, names[level], strict=True))) == number


def test_a_row_that_heard_no_speech_does_not_say_who_spoke(make_run: MakeRun, tmp_path: Path) -> None:
    rename(make_run("no-audio", 0.1, None, id="a", trainer=None, control="no-audio"), SPEAKERS, [None] * 60)
    (group,) = groups(tmp_path / "runs")
    assert clusters_of(group, shared_ids(group)).level == "example"
    rename(make_run("base", 0.6, None), SPEAKERS)
    assert found(tmp_path / "runs").level == "speaker"


def test_systems_are_in_the_order_of_ids_whatever_the_files(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", 0.6, None)
    for seed in (0, 1):
        make_run("sft", 0.7, seed, reverse=seed == 1)
    (group,) = groups(tmp_path / "runs")
    ids = shared_ids(group)
    assert list(ids) == sorted(ids) and len(ids) == 60
    systems = systems_of(group, ids, lambda run: [run.samples])
    assert {place for place, _ in systems} == {0, 1}
    assert [s.seed for s in systems[1, "bleu"]] == [0, 1] and systems[0, "bleu"][0].seed is None
    for seed, run in enumerate(group.rows[1].runs):
        by_id = {s.id: s.metrics["bleu"].statistics for s in run.samples.records}
        np.testing.assert_array_equal(systems[1, "bleu"][seed].statistics, [by_id[id_] for id_ in ids])
    assert systems_of(group, ids, lambda run: []) == {}  # nothing was sampled


def test_what_is_not_finished_has_no_systems(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", finished=False, seed=None)
    (group,) = groups(tmp_path / "runs")
    assert shared_ids(group) == () and systems_of(group, (), lambda run: [run.samples]) == {}


def board_of(folder: Path) -> Board:
    (board,) = leaderboard(folder, resamples=400)
    return board


def test_intervals_and_p_are_those_of_whole_speakers_drawn(make_run: MakeRun, tmp_path: Path) -> None:
    """By hand: speakers drawn with replacement, all that each said counted as often."""
    folders = [make_run("base", 0.55, None), make_run("sft", 0.6)]
    for folder in folders:
        rename(folder, SPEAKERS)
    board = board_of(tmp_path / "runs")
    assert board.clusters == ("speaker", 30)
    scores = [read_run(folder).samples.scores["comet"] for folder in folders]  # whose corpus score is the mean
    names = sorted(set(SPEAKERS))
    drawn = np.concatenate([resample_counts(30, *its) for its in blocks(30, 0, 400)]).astype(int)
    means = np.empty((2, 400))
    for row, counts in enumerate(drawn):
        said = [
            n
            for place, name in enumerate(names)
            for n in np.flatnonzero(np.array(SPEAKERS) == name).tolist() * counts[place]
        ]
        means[:, row] = [its[said].mean() for its in scores]
    place = [column.key for column in board.columns].index("comet")
    cell = board.rows[1].cells[place]
    assert cell.interval == pytest.approx(interval(means[1], 30))
    test, difference = cell.base, scores[1].mean() - scores[0].mean()
    assert test is not None and test.difference == pytest.approx(difference)
    assert test.interval == pytest.approx(interval(means[1] - means[0], 30))
    strays = np.sum(np.abs(means[1] - means[0] - difference) >= abs(difference) - 1e-9)
    assert test.p == pytest.approx(of_few(np.array([(1 + strays) / 401]), np.array([30]))[0])
    assert any("60 test examples, drawn by speaker (30); 95% intervals" in note for note in board.notes)


def test_too_few_speakers_are_told(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", 0.55, None)  # of four speakers, each example in a file of its own
    board = board_of(tmp_path / "runs")
    assert board.clusters == ("example", 60)
    (note,) = [note for note in board.notes if "too few" in note]
    assert note.startswith("4 speakers: too few to be drawn (at least 20)")
