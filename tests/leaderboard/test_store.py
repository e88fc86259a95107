"""Rows, their order, and what must not be compared."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from speechbench.benchmarks.controls import INPUTS
from speechbench.errors import SpeechbenchError
from speechbench.leaderboard.store import groups
from speechbench.runs import Score, find_runs, read_run, write_result, write_samples

MakeRun = Callable[..., Path]


def test_rows_stand_in_the_boards_order_with_controls_last(ablation: Path, make_run: MakeRun) -> None:
    make_run("dpo(bleu)")
    (group,) = groups(ablation)
    assert [row.label for row in group.rows] == [
        "base",
        "sft",
        "grpo(bleu)",
        "grpo(comet)",
        "mixed-grpo(bleu)",
        "dpo(bleu)",
        "grpo(random)",
    ]
    assert [run.info.seed for run in group.rows[2].runs] == [0, 1, 2, 3, 4]


def test_what_a_control_is_the_run_says(make_run: MakeRun, tmp_path: Path) -> None:
    """A reward of the user's own may be one, and the name of another says nothing."""
    make_run("base", seed=None)
    make_run("grpo(constant)")
    make_run("grpo(silly)", has_control_reward=True)
    for name in reversed(INPUTS):
        make_run(name, seed=None, id=name, trainer=None, control=name)
    (group,) = groups(tmp_path / "runs")
    assert [row.label for row in group.rows] == ["base", "grpo(constant)", *INPUTS, "grpo(silly)"]
    assert [row.is_control for row in group.rows] == [False, False, True, True, True, True]


def test_what_is_not_asked_for_does_not_stand_in_the_way(make_run: MakeRun, tmp_path: Path) -> None:
    base = make_run("base", seed=None)
    other = make_run("sft")
    (other / "run.json").write_text("{")
    (group,) = groups(tmp_path / "runs", only=["base-None"])
    assert [run.folder for run in group.runs] == [base]
    assert [run.info.id for run in groups(base, only=["base-None"])[0].runs] == ["base-None"]
    (group,) = groups(tmp_path / "runs")
    assert [run.folder for run in group.runs] == [base]
    assert [(its.folder, "run.json is broken" in its.reason) for its in group.broken] == [(other, True)]


@pytest.mark.parametrize("name", ["samples.jsonl", "train.jsonl"])
def test_a_run_whose_answers_cannot_be_read_counts_as_unfinished(make_run: MakeRun, tmp_path: Path, name: str) -> None:
    make_run("base", seed=None)
    folder = make_run("sft")
    (folder / name).write_text("{}\n")
    (group,) = groups(tmp_path / "runs")
    assert [run.finished for run in group.runs] == [True, False]
    (broken,) = group.broken
    assert broken.folder == folder and f"{name} was changed or cut" in broken.reason


def test_a_result_without_a_run_json_is_broken(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", seed=None)
    folder = make_run("sft")
    (folder / "run.json").unlink()
    (group,) = groups(tmp_path / "runs")
    assert [run.info.label for run in group.runs] == ["base"]
    assert [its.folder for its in group.broken] == [folder] and "run.json is missing" in group.broken[0].reason


def test_what_is_broken_stands_with_its_own_ablation(make_run: MakeRun, tmp_path: Path) -> None:
    for ablation in ("one", "two", "three"):
        make_run("base", seed=None, ablation=ablation)
        (make_run("sft", ablation=ablation) / "run.json").write_text("{")
    (tmp_path / "runs" / "three" / "base-None" / "run.json").write_text("[")
    found = {
        group.ablation: sorted(its.folder.parent.name for its in group.broken) for group in groups(tmp_path / "runs")
    }
    assert found == {"one": ["one", "three", "three"], "two": ["two"]}  # of "three" there is nothing else


def test_nothing_that_can_be_read_is_told_with_the_reason(make_run: MakeRun, tmp_path: Path) -> None:
    (make_run("base", seed=None) / "run.json").write_text("{")
    with pytest.raises(SpeechbenchError, match=r"runs holds no run that can be read: .*run\.json is broken"):
        groups(tmp_path / "runs")


def test_benchmarks_and_ablations_stand_apart(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", seed=None)
    make_run("sft", benchmark="librisqa-mini", data_fingerprint="other")
    make_run("base", seed=None, ablation="second", data_fingerprint="newer")
    names = [(group.ablation, group.benchmark) for group in groups(tmp_path / "runs")]
    assert names == [("default", "covost2-mini"), ("default", "librisqa-mini"), ("second", "covost2-mini")]


def test_other_settings_make_another_row_not_another_seed(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("grpo(bleu)", id="a", config={"steps": 100, "seed": 0, "grpo": {"beta": 0.02}})
    make_run("grpo(bleu)", id="b", config={"steps": 100, "seed": 0, "grpo": {"beta": 0.0}})
    (group,) = groups(tmp_path / "runs")
    assert sorted(row.label for row in group.rows) == ["grpo(bleu) grpo.beta=0.0", "grpo(bleu) grpo.beta=0.02"]


def test_another_signature_of_the_reward_makes_another_row(make_run: MakeRun, tmp_path: Path) -> None:
    for version in ("2.5.1", "2.6.0"):
        signature = {"name": "bleu", "sacrebleu": version}
        make_run("grpo(bleu)", id=version, config={"steps": 100, "seed": 0, "reward_signature": signature})
    (group,) = groups(tmp_path / "runs")
    assert sorted(row.label for row in group.rows) == [
        "grpo(bleu) reward_signature.sacrebleu=2.5.1",
        "grpo(bleu) reward_signature.sacrebleu=2.6.0",
    ]


def test_the_same_seed_twice_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("grpo(bleu)", id="a")
    make_run("grpo(bleu)", id="b")
    with pytest.raises(SpeechbenchError, match=r"grpo\(bleu\) seed 0"):
        groups(tmp_path / "runs")


def test_other_data_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", seed=None)
    make_run("sft", data_fingerprint="other")
    with pytest.raises(SpeechbenchError, match=r"base.*sft.*different data .*data and other"):
        groups(tmp_path / "runs")


def test_other_signatures_are_refused(make_run: MakeRun, tmp_path: Path) -> None:
    first = find_runs(make_run("base", seed=None))[0].info.metrics
    changed = replace(first[1], signature={**first[1].signature, "revision": "9999"})
    make_run("sft", metrics=(first[0], changed, first[2]))
    with pytest.raises(SpeechbenchError, match=r"base.*sft.*comet\[tiny\] .*signature.revision 3f2a and 9999"):
        groups(tmp_path / "runs")


def test_no_runs_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpeechbenchError, match="holds no runs"):
        groups(tmp_path)


def test_ablations_on_the_same_data_come_together(make_run: MakeRun, tmp_path: Path) -> None:
    for ablation, labels in (("one", ("base", "sft")), ("two", ("base", "grpo(bleu)")), ("three", ("base",))):
        for label in labels:
            data = "other" if ablation == "three" else "data"
            make_run(label, seed=None if label == "base" else 0, ablation=ablation, data_fingerprint=data)
    out = tmp_path / "runs"
    assert [group.ablation for group in groups(out)] == ["one", "three", "two"]
    joint, other = sorted(groups(out, together=True), key=lambda group: -len(group.runs))
    assert (joint.ablation, [row.label for row in joint.rows]) == ("one + two", ["base", "sft", "grpo(bleu)"])
    assert (other.ablation, [row.label for row in other.rows]) == ("three", ["base"])


def test_several_folders_are_read_and_each_run_once(make_run: MakeRun, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    one, two = make_run("base", seed=None, ablation="one"), make_run("sft", ablation="two")
    (tmp_path / "link").symlink_to(out)
    for outs in ([out, out / "one"], [one, two], [out, tmp_path / "link"], (str(out),)):
        assert [[run.folder.resolve() for run in group.runs] for group in groups(outs)] == [[one], [two]]
    with pytest.raises(SpeechbenchError, match="there is no folder"):
        groups([out, tmp_path / "nowhere"])
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(SpeechbenchError, match=r"a and .*b holds no runs"):
        groups([tmp_path / "a", tmp_path / "b"])
    assert len(groups([tmp_path / "a", out])) == 2


def test_the_same_run_of_two_ablations_counts_once_only_where_they_come_together(
    make_run: MakeRun, tmp_path: Path
) -> None:
    for ablation in ("one", "two"):
        make_run("base", seed=None, ablation=ablation)
    out = tmp_path / "runs"
    assert [len(group.runs) for group in groups(out)] == [1, 1]
    (joint,) = groups(out, together=True)
    assert len(joint.runs) == 1 and joint.ablation == "one"


def test_of_two_copies_of_a_run_the_finished_one_counts(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", 0.5, None, ablation="one")
    half, whole = (make_run("sft", 0.6, ablation=name, id="same") for name in ("one", "two"))
    (half / "result.json").unlink()
    for order in (("one", "two"), ("two", "one")):
        (group,) = groups([tmp_path / "runs" / name for name in order], together=True)
        (sft,) = [row for row in group.rows if row.label == "sft"]
        assert [run.folder.resolve() for run in sft.finished] == [whole.resolve()]


def test_two_copies_of_a_run_with_other_answers_are_refused(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("sft", 0.6, ablation="one", id="same")
    make_run("sft", 0.8, ablation="two", id="same")
    with pytest.raises(SpeechbenchError, match="the same run, sft seed 0, with other answers"):
        groups([tmp_path / "runs" / name for name in ("one", "two")], together=True)


def test_a_run_that_may_not_be_looked_into_is_listed(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("base", 0.5, None)
    closed = make_run("sft", 0.6)
    scandir, read_bytes = os.scandir, Path.read_bytes

    def refuse(path: Path) -> None:
        if Path(path) == closed or Path(path).parent == closed:
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", lambda path: refuse(path) or scandir(path))
    monkeypatch.setattr(Path, "read_bytes", lambda path: refuse(path) or read_bytes(path))
    (group,) = groups(tmp_path / "runs")
    assert [its.folder for its in group.broken] == [closed] and group.unknown == 1
    assert "Permission denied" in group.broken[0].reason


def test_links_to_themselves_and_what_is_nested_too_deep_stop_nothing(make_run: MakeRun, tmp_path: Path) -> None:
    base = make_run("base", 0.5, None)
    (base.parent / "loop").symlink_to("loop")
    (make_run("sft") / "run.json").write_text("[" * 100_000)
    odd = make_run("grpo(bleu)") / "run.json"
    odd.write_text(odd.read_text().replace('"bleu"', '"((("', 1))
    (group,) = groups(tmp_path / "runs")
    assert [row.label for row in group.rows] == ["base"] and len(group.broken) == 2


def test_statistics_that_are_none_of_the_metrics_are_broken(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("base", 0.5, None)
    for number, (name, statistics) in enumerate((("bleu", (1.0, 2.0)), ("comet", (1e308, 1.0)))):
        folder = make_run("sft", seed=number)
        run = read_run(folder)
        assert run.result is not None
        changed = [replace(s, metrics={**s.metrics, name: Score(1.0, statistics)}) for s in run.samples.records]
        write_samples(folder, changed)
        write_result(folder, run.result)
    (group,) = groups(tmp_path / "runs")
    wide, large = (its.reason for its in group.broken)
    assert "BLEU: expected 10 statistics, got 2" in wide and "a statistic is beyond" in large
    assert [len(row.finished) for row in group.rows] == [1, 0]
