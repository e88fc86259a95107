"""Whole or not there: markers, folders that are replaced, failures to write."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from speechbench.errors import SpeechbenchError
from speechbench.trainers.checkpoints import (
    keep_only,
    last_complete,
    mark_complete,
    markers,
    truncate_log,
    write_folder,
)


def checkpoint(folder: Path, step: int, complete: bool = True) -> Path:
    made = folder / f"checkpoint-{step}"
    made.mkdir()
    (made / "model.safetensors").write_text("weights")
    if complete:
        mark_complete(made, {"learning": 1.0})
    return made


def test_the_last_complete_one_counts(tmp_path: Path) -> None:
    assert last_complete(tmp_path) is None
    for step in (5, 20, 100):
        checkpoint(tmp_path, step)
    checkpoint(tmp_path, 120, complete=False)
    assert last_complete(tmp_path) == tmp_path / "checkpoint-100"


def test_only_the_newest_stays_and_what_was_left_half_written_goes(tmp_path: Path) -> None:
    newest = checkpoint(tmp_path, 40)
    checkpoint(tmp_path, 20)
    checkpoint(tmp_path, 60, complete=False)
    (tmp_path / "final").mkdir()
    keep_only(tmp_path, newest)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-40", "final"]
    keep_only(tmp_path, None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["final"]


def test_nothing_goes_on_from_a_checkpoint_whose_deletion_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    for step in (20, 40):
        checkpoint(tmp_path, step)
    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(Killed):
        keep_only(tmp_path, None)
    assert len(list(tmp_path.glob("checkpoint-*"))) == 2
    kept = last_complete(tmp_path)
    assert kept is not None and len(list(tmp_path.glob("checkpoint-*/complete.json"))) == 1


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    final = tmp_path / "final"

    def write(text: str, cut: type[BaseException] | None = None) -> None:
        def save(folder: Path) -> None:
            folder.mkdir()
            (folder / text).write_text(text)
            if cut is not None:
                raise cut

        write_folder(final, save)

    for cut in (KeyboardInterrupt, ValueError):
        with pytest.raises(cut):
            write("first", cut)
        assert not final.exists()
    write("second")
    with pytest.raises(KeyboardInterrupt):
        write("third", KeyboardInterrupt)
    assert [p.name for p in final.iterdir()] == ["second"]
    write("fourth")
    assert [p.name for p in final.iterdir()] == ["fourth"]
    assert [p.name for p in tmp_path.iterdir()] == ["final"]


def test_a_folder_that_cannot_be_written_leaves_no_half_and_the_old_one(tmp_path: Path) -> None:
    final = tmp_path / "final"
    write_folder(final, lambda folder: folder.mkdir())

    def full(folder: Path) -> None:
        folder.mkdir()
        (folder / "half").touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SpeechbenchError, match=f"^{final} cannot be written: No space left on device; make room"):
        write_folder(final, full)
    assert [p.name for p in tmp_path.iterdir()] == ["final"]


def test_the_log_is_cut_after_the_step_that_is_gone_on_from(tmp_path: Path) -> None:
    log = tmp_path / "train.jsonl"
    assert truncate_log(log, 3) == [] and not log.exists()
    log.write_text('{"step": 1, "loss": 0.1}\n{"step": 2, "loss": 1e-07}\n{"step": 3, "loss": 0.3}\n{"step": 4, "lo')
    assert truncate_log(log, 2) == [{"step": 1, "loss": 0.1}, {"step": 2, "loss": 1e-07}]
    assert log.read_text() == '{"step": 1, "loss": 0.1}\n{"step": 2, "loss": 1e-07}\n'


def test_a_copy_under_a_name_of_ones_own_is_no_checkpoint(tmp_path: Path) -> None:
    for name in ("checkpoint-4", "checkpoint-8-before", "checkpoint-x"):
        (tmp_path / name).mkdir()
        mark_complete(tmp_path / name, {})
    assert last_complete(tmp_path) == tmp_path / "checkpoint-4" and len(markers(tmp_path)) == 1
