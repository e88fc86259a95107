"""Run folders: what is written is read back, and what is broken is told."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from speechbench.errors import SpeechbenchError
from speechbench.run_schema import SCHEMA, Health
from speechbench.runs import (
    MetricInfo,
    Result,
    RunInfo,
    Sample,
    Score,
    check_sealed,
    find_runs,
    make_sure_of_run,
    read_run,
    read_samples,
    run_folders,
    write_failure,
    write_result,
    write_run,
    write_samples,
)

INFO = RunInfo(
    id="a1",
    label="grpo(bleu)",
    trainer="grpo",
    reward="bleu",
    seed=0,
    model="tiny",
    model_fingerprint="weights",
    benchmark="covost2-mini",
    data_fingerprint="data",
    config={"steps": 3, "lr": 1e-5},
    metrics=(MetricInfo("slots", "slots", "mean", 100.0, {"name": "slots"}),),
    provenance={"threads": 2},
)
SCORES = {"slots": Score(0.1 + 0.2, (0.1 + 0.2, 1.0))}
SAMPLE = Sample("e1", "a\u2028b", ("ä", "b"), "say", None, None, "de", "c\n", 2, False, SCORES)
SAMPLES = [SAMPLE, replace(SAMPLE, id="e2", metrics={"slots": Score(None, (0.0, 0.0))})]
RESULT = Result({"slots": 0.1 + 0.2}, Health(0.0, 0.0, 0.5, 0.0, None), {"train": 1.5, "total": 2.0}, 10, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "default" / "a1"
    write_run(folder, INFO)
    write_samples(folder, SAMPLES)
    write_result(folder, RESULT)
    return folder


def test_what_is_written_is_read_back_to_the_last_bit(folder: Path) -> None:
    run = read_run(folder)
    assert (run.info, run.result, run.finished) == (INFO, RESULT, True)
    assert run.samples.records == tuple(SAMPLES)
    assert run.samples.ids == ("e1", "e2")
    np.testing.assert_array_equal(run.samples.statistics["slots"], [[0.1 + 0.2, 1.0], [0.0, 0.0]])
    np.testing.assert_array_equal(run.samples.scores["slots"], [0.1 + 0.2, np.nan])


def test_files_are_json_as_documented(folder: Path) -> None:
    assert json.loads((folder / "run.json").read_text())["schema"] == SCHEMA
    assert json.loads((folder / "result.json").read_text())["metrics"] == {"slots": {"corpus": 0.1 + 0.2}}
    first = json.loads((folder / "samples.jsonl").read_text().split("\n")[0])
    assert first["metrics"]["slots"] == {"score": 0.1 + 0.2, "statistics": [0.1 + 0.2, 1.0]}
    assert first["references"] == ["ä", "b"]


def test_runs_are_found_finished_or_not_from_any_level(folder: Path) -> None:
    write_run(folder.parent.parent / "other" / "b2", replace(INFO, id="b2"))
    for out, expected in ((folder.parent.parent, ["a1", "b2"]), (folder.parent, ["a1"]), (folder, ["a1"])):
        assert [run.info.id for run in find_runs(out)] == expected
    assert [run.finished for run in find_runs(folder.parent.parent)] == [True, False]
    assert [run.info.id for run in find_runs(folder.parent.parent, only=["b2"])] == ["b2"]


def test_a_killed_write_leaves_the_old_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_result(folder, replace(RESULT, steps=99))
    assert read_run(folder).result == RESULT
    assert sorted(p.name for p in folder.iterdir()) == [
        *("result.json", "run.json", "samples.columns", "samples.jsonl")
    ]


def test_no_score_is_written_that_is_not_a_number(folder: Path) -> None:
    with pytest.raises(SpeechbenchError, match="sample e1"):
        write_samples(folder, [replace(SAMPLE, metrics={"slots": Score(float("nan"), (0.0, 1.0))})])
    with pytest.raises(SpeechbenchError, match=r"result\.json"):
        write_result(folder, replace(RESULT, metrics={"slots": float("inf")}))
    assert read_run(folder).samples.records == tuple(SAMPLES)


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_broken_folders_are_told_by_file_and_fix(folder: Path) -> None:
    keep = {path: path.read_text() for path in folder.iterdir() if path.suffix != ".columns"}

    def fails(*words: str) -> None:
        with pytest.raises(SpeechbenchError) as caught:
            find_runs(folder)[0].samples  # noqa: B018
        assert all(word in str(caught.value) for word in words), caught.value
        for path, text in keep.items():
            path.write_text(text)

    (folder / "run.json").write_text("{")
    fails("run.json is broken", "remove")
    (folder / "run.json").write_text("[]")
    fails("run.json is broken", "schema")
    edit(folder / "run.json", schema=SCHEMA + 1)
    fails("run.json", "newer", "upgrade")
    edit(folder / "run.json", schema=1)  # which would be read, if it were what was sealed
    fails("run.json was changed")
    edit(folder / "run.json", metrics=[{"name": "slots"}])
    fails("run.json is broken", "display")
    edit(folder / "run.json", metrics=[{**vars(INFO.metrics[0]), "aggregate": "median"}])
    fails("run.json", "'median'", "upgrade")
    edit(folder / "run.json", label="sft")
    fails("run.json was changed", "remove the run's folder")
    for change in ({"metrics": {"slots": {"corpus": 50.0}}}, {"steps": 4}, {"sha256": {}}):
        edit(folder / "result.json", **change)
        fails("result.json was changed", "remove the run's folder")
    (folder / "samples.jsonl").write_text(keep[folder / "samples.jsonl"].replace('"c\\n"', '"d\\n"'))
    fails("samples.jsonl was changed")
    (folder / "samples.jsonl").unlink()
    fails("samples.jsonl is missing")


@pytest.mark.parametrize("name", ["result.json", "run.json", "train.jsonl", "samples.jsonl"])
def test_all_that_is_sealed_is_looked_at_in_one_call(folder: Path, name: str) -> None:
    (folder / "train.jsonl").write_text('{"step": 1}\n')
    write_result(folder, RESULT)
    check_sealed(folder)
    path = folder / name
    path.write_text(path.read_text().replace("1", "7"))
    with pytest.raises(SpeechbenchError, match=rf"{name} was changed or cut .*remove the run's folder"):
        check_sealed(folder)
    path.unlink()
    if name == "result.json":
        check_sealed(folder)  # unfinished: its files are still being written
    else:
        with pytest.raises(SpeechbenchError, match=rf"{name} is missing"):
            check_sealed(folder)


def test_a_log_that_came_later_is_found(folder: Path) -> None:
    (folder / "train.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(SpeechbenchError, match=r"train\.jsonl was changed"):
        check_sealed(folder)


def test_broken_samples_are_told_by_line(tmp_path: Path) -> None:
    path = write_samples(tmp_path, SAMPLES)
    lines = path.read_text().split("\n")

    def fails(*words: str) -> None:
        with pytest.raises(SpeechbenchError) as caught:
            read_samples(path, INFO.metrics)
        assert all(word in str(caught.value) for word in words), caught.value

    path.write_text(lines[0] + "\n" + lines[1][:40])
    fails("samples.jsonl line 2 is broken")
    path.write_text(f"{lines[0]}\n{lines[0]}\n")
    fails("samples.jsonl holds an example twice")
    path.write_text("")
    fails("samples.jsonl is empty")
    path.unlink()
    fails("samples.jsonl is missing")


def test_the_log_is_read_back_and_sealed(tmp_path: Path) -> None:
    folder = tmp_path / "a1"
    write_run(folder, INFO)
    assert read_run(folder).log == []
    (folder / "train.jsonl").write_text('{"step": 1, "reward": 0.5}\n{"step": 2, "rew')
    assert read_run(folder).log == [{"step": 1, "reward": 0.5}]  # the second line is being written
    (folder / "train.jsonl").write_text('{"step": 1, "reward": 0.5}\n')
    write_samples(folder, SAMPLES)
    write_result(folder, RESULT)
    assert read_run(folder).log == [{"step": 1, "reward": 0.5}]
    (folder / "train.jsonl").write_text('{"step": 1, "reward": 0.9}\n')
    with pytest.raises(SpeechbenchError, match=r"train\.jsonl was changed"):
        read_run(folder).log  # noqa: B018


@pytest.mark.parametrize("text", ["5", '{"step": 2, "rew', "[1]", f'{{"parts": {{"bleu": -{10**100}}}}}'])
def test_a_broken_log_is_told_by_line(tmp_path: Path, text: str) -> None:
    write_run(tmp_path, INFO)
    (tmp_path / "train.jsonl").write_text(f'{{"step": 1}}\n{text}\n{{"step": 3}}\n')
    for finish in (lambda: None, lambda: write_samples(tmp_path, SAMPLES) and write_result(tmp_path, RESULT)):
        finish()
        with pytest.raises(SpeechbenchError, match=r"train\.jsonl line 2 is broken: .*; remove the run's folder"):
            read_run(tmp_path).log  # noqa: B018


def test_a_planned_run_is_announced_once_and_edits_are_found(tmp_path: Path) -> None:
    make_sure_of_run(tmp_path, INFO)
    first = (tmp_path / "run.json").read_bytes()
    make_sure_of_run(tmp_path, replace(INFO, provenance={"threads": 4}))
    assert (tmp_path / "run.json").read_bytes() == first
    edit(tmp_path / "run.json", config={"steps": 300, "lr": 1e-5})
    with pytest.raises(SpeechbenchError, match=r"was edited: its 'config' is .*300.*; remove the run's folder"):
        make_sure_of_run(tmp_path, INFO)


def test_what_an_older_schema_did_not_say_was_the_only_thing_there_was(tmp_path: Path) -> None:
    path = write_run(tmp_path, INFO)
    content = json.loads(path.read_text())
    assert (content.pop("split"), content.pop("reward_families")) == ("test", [])
    for metric in content["metrics"]:
        del metric["family"]
    path.write_text(json.dumps({**content, "schema": 3}))
    run = read_run(tmp_path)
    metrics = (replace(INFO.metrics[0], family="exact"),)
    assert run.info == replace(INFO, reward_families=("overlap",), metrics=metrics) and run.schema == 3
    make_sure_of_run(tmp_path, INFO)  # nothing of it was edited
    edit(path, config={"steps": 300, "lr": 1e-5})
    with pytest.raises(SpeechbenchError, match="was edited: its 'config'"):
        make_sure_of_run(tmp_path, INFO)
    write_run(tmp_path, INFO)
    with pytest.raises(SpeechbenchError, match="was edited: its 'split' is 'test', of this run it is 'validation'"):
        make_sure_of_run(tmp_path, replace(INFO, split="validation"))


@pytest.mark.parametrize("error", [SpeechbenchError("no room\nleft"), KeyError("audio"), RuntimeError()])
def test_why_a_run_failed_is_written_down_until_there_is_a_result(tmp_path: Path, error: Exception) -> None:
    write_run(tmp_path, INFO)
    assert read_run(tmp_path).failure is None
    write_failure(tmp_path, error)
    failure = read_run(tmp_path).failure
    assert failure is not None and failure.when.endswith("+00:00") and "\n" not in failure.reason
    said = {"SpeechbenchError": "no room left", "KeyError": "KeyError: 'audio'"}
    assert failure.reason == said.get(type(error).__name__, "RuntimeError: RuntimeError")
    write_samples(tmp_path, SAMPLES)
    write_result(tmp_path, RESULT)
    assert read_run(tmp_path).failure is None


def test_folders_are_found_however_broken_they_are(folder: Path) -> None:
    ablation = folder.parent
    (ablation / "b2").mkdir()
    (ablation / "b2" / "result.json").write_text("{}")
    (ablation / "c3").mkdir()
    (ablation / "c3" / "run.json").write_text("{")
    (ablation / "notes").mkdir()
    for out in (ablation, ablation.parent):
        assert [its.name for its in run_folders(out)] == ["a1", "b2", "c3"]
        assert [its.name for its in run_folders(out, only=["c3", "d4"])] == ["c3"]
    assert run_folders(folder) == [folder]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpeechbenchError, match="speechbench ablate"):
        find_runs(tmp_path / "nothing")
    with pytest.raises(SpeechbenchError, match=r"run\.json is missing"):
        read_run(tmp_path)
