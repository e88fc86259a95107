"""The file of an index: what is in it, when it is made anew, and what becomes of it when something goes wrong."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechbench.benchmarks import examination, index_building
from speechbench.benchmarks.audio import Examined
from speechbench.benchmarks.base import Problem
from speechbench.benchmarks.examination import ABSENT
from speechbench.benchmarks.index import Index, Row, Seconds
from speechbench.benchmarks.index_building import build, current
from speechbench.benchmarks.index_file import DamagedError
from speechbench.errors import SpeechbenchError

OLD = (1000, 1)  # a stamp from long ago
ROWS = [Row("train", f"t{n}", f"{n}.mp3", f"f:{n}", f"Satz {n}", None, None, None) for n in range(1200)]
ROWS[700:700] = [Row("test", "x", "", "f:x", "ü", "ä\t", "ann", "{}")]
TRAIN = [row for row in ROWS if row.split == "train"]


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all files had been written long ago."""
    for module in (examination, index_building):
        monkeypatch.setattr(module, "SETTLES", 0)


def made(folder: Path, identity: str = "i", rows: Sequence[Row] = ROWS, sources: Sequence[Path] = ()) -> Index:
    return build(folder, identity, rows, lambda: (sources, [Problem("w", "what", "kind")]))


def found(seconds: float = 1.0, defect: str | None = None, sha256: str = "ab") -> Examined:
    return Examined(sha256, seconds, defect=defect)


def test_rows_and_problems_are_what_was_read(tmp_path: Path) -> None:
    index = made(tmp_path)
    assert [index.count(split) for split in ("train", "validation", "test")] == [1200, 0, 1]
    assert [row for row, *_ in index.rows(index.span("train"))] == TRAIN
    assert [row for row, *_ in index.rows(index.span("test"))] == [ROWS[700]]
    assert index.problems() == [Problem("w", "what", "kind")]
    entries = [entry for some in index.entries("train") for entry in some]
    assert [(e.audio, e.where, e.stamp, e.examined) for e in entries] == [(r.audio, r.where, None, None) for r in TRAIN]
    assert [e.position for e in entries] == list(index.span("train"))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 1199), max_size=1500), st.slices(1200))
def test_rows_are_given_in_any_order_that_is_asked_for(tmp_path: Path, numbers: list[int], place: slice) -> None:
    index = current(tmp_path, "i") or made(tmp_path)
    span = index.span("train")
    assert [row for row, *_ in index.rows([span[number] for number in numbers])] == [TRAIN[n] for n in numbers]
    assert [row for row, *_ in index.rows(span[place])] == TRAIN[place]


def test_what_was_read_of_recordings_is_kept_and_counted(tmp_path: Path) -> None:
    index = made(tmp_path)
    span = index.span("train")
    index.note((at, OLD, found(float(number))) for number, at in enumerate(span[:10], 1))
    index.note([(span[3], OLD, found(0.0, "is broken")), (index.span("test")[0], ABSENT, Examined(""))])
    index = Index(index.path)
    assert [e.examined for e in index.entries_at(span[:2])] == [found(1.0), found(2.0)]
    assert [(e.audio, e.examined) for e in index.broken(span)] == [("3.mp3", found(0.0, "is broken"))]
    assert index.sound(span) == index.sound(span[:10]) == 9
    assert list(index.usable(span, Seconds())) == [*span[:3], *span[4:10]]
    assert index.usable(span[4:9], Seconds(), 3) == span[4:7]
    assert list(index.usable(span, Seconds(3.0, 7.0), 3)) == [span[2], span[4], span[5]]
    assert index.outside(span, Seconds(3.0, 7.0)) == (2, 3)
    assert list(index.usable(index.span("test"), Seconds(3.0, 7.0))) == [*index.span("test")]  # it has no length
    assert [sha256 for _, sha256, _ in index.rows(span[9:11])] == ["ab", None]


def test_what_may_have_changed_unseen_is_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "SETTLES", 10**12)
    index, now = made(tmp_path), examination.time.time_ns()
    first = index.span("train")[:1]
    index.note([(first[0], (5, now), found())])
    assert (index.entries_at(first)[0].stamp, index.entries_at(first)[0].examined) == (None, found())
    assert index.sound(first) == 0 and len(index.usable(first, Seconds())) == 1


def test_fingerprints_are_forgotten_when_a_recording_is_another(tmp_path: Path) -> None:
    index = made(tmp_path)
    span = index.span("train")
    index.note([(span[0], OLD, found())])
    index.keep_fingerprint("a", "f", index.changes())
    index.note([(span[1], OLD, found()), (span[0], (1000, 2), found())])  # new, and touched
    assert index.fingerprint("a") == "f" and index.fingerprint("b") is None
    before = index.changes()
    index.note([(span[0], OLD, found(sha256="cd"))])
    assert index.fingerprint("a") is None
    index.keep_fingerprint("a", "of what it was before", before)
    assert index.fingerprint("a") is None
    for other in (found(sha256="cd", defect="d"), found(2.0, "d", "cd")):
        index.keep_fingerprint("a", "f", index.changes())
        index.note([(span[0], OLD, other)])
        assert index.fingerprint("a") is None


def test_it_is_current_as_long_as_nothing_has_changed(tmp_path: Path) -> None:
    source, gone = tmp_path / "table.tsv", tmp_path / "gone.tsv"
    source.write_text("some")
    folder = tmp_path / "index"
    first = made(folder, sources=[source, gone])
    again = current(folder, "i")
    assert again is not None and again.path == first.path
    assert current(folder, "another") is None and current(folder, "i", but=first.path) is None
    before = source.stat()
    source.write_text("other"[:4])
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))  # as copying with its date does
    assert (source.stat().st_size, source.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert current(folder, "i") is None
    made(folder, sources=[source, gone])
    assert current(folder, "i") is not None
    gone.write_text("")
    assert current(folder, "i") is None
    made(folder, sources=[source, gone])
    source.unlink()
    assert current(folder, "i") is None
    made(folder).path.unlink()
    assert current(tmp_path / "nowhere", "i") is None


def test_what_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "table.tsv"
    source.write_text("some")

    def reading() -> Iterator[Row]:
        yield from TRAIN[:3]
        source.write_text("some more")

    build(tmp_path / "index", "i", reading(), lambda: ([source], []))
    assert current(tmp_path / "index", "i") is None
    build(tmp_path / "index", "i", TRAIN[:3], lambda: ([source], []))
    assert current(tmp_path / "index", "i") is not None
    monkeypatch.setattr(index_building, "SETTLES", 10**12)  # as where dates are coarse
    build(tmp_path / "index", "i", TRAIN[:3], lambda: ([source], []))
    assert current(tmp_path / "index", "i") is None


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    def failing(error: BaseException) -> Iterator[Row]:
        yield TRAIN[0]
        raise error

    first = made(tmp_path)
    for error in (SpeechbenchError("no such column"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            build(tmp_path, "j", failing(error), lambda: ([], []))
    with pytest.raises(SpeechbenchError, match=r"table\.tsv cannot be read or written: No space"):
        build(tmp_path, "j", failing(OSError(28, "No space", "table.tsv")), lambda: ([], []))
    with pytest.raises(SpeechbenchError, match=r"'.*\\udcff' is no UTF-8: give it another name"):
        build(tmp_path, "j", [TRAIN[0]._replace(where="\udcff")], lambda: ([], []))
    assert current(tmp_path, "i") is not None and [*tmp_path.iterdir()] == [first.path]
    (tmp_path / "unfinished.sqlite3").write_bytes(b"of a process that was killed")
    assert made(tmp_path, "j").count("train") == 1200


def test_who_reads_the_edition_before_is_not_disturbed(tmp_path: Path) -> None:
    first = made(tmp_path, rows=TRAIN[:3])
    first.note([(first.span("train")[0], OLD, found())])
    second = made(tmp_path, rows=TRAIN[5:9])
    assert [row for row, *_ in pickle.loads(pickle.dumps(first)).rows(first.span("train"))] == TRAIN[:3]
    first.path.with_name(f"{first.path.name}-journal").touch()  # of a process that was killed in writing
    third = made(tmp_path)
    assert first.path.is_file()  # others may have begun with it a moment ago
    os.utime(first.path, (0, 0))
    os.utime(second.path, (0, 0))
    third.path.unlink()
    third = made(tmp_path)
    assert sorted(tmp_path.iterdir()) == [second.path, third.path]
    assert [row for row, *_ in first.rows(first.span("train"))] == TRAIN[:3]  # open as it is
    first.close()
    with pytest.raises(SpeechbenchError, match=r"rows-000001\.sqlite3 is gone, .*: run the same command again"):
        first.count("train")


@pytest.mark.parametrize("content", [b"", b"no database" * 100, None, "cut", "foreign"])
def test_what_is_no_index_is_not_current(tmp_path: Path, content: bytes | str | None) -> None:
    path = made(tmp_path).path
    if content is None:
        path.unlink()
        path.mkdir()
    elif content == "cut":
        path.write_bytes(path.read_bytes()[:50_000])
    elif content == "foreign":
        path.unlink()
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE facts (something)")
    else:
        path.write_bytes(content)  # type: ignore[arg-type]
    assert current(tmp_path, "i") is None
    made(tmp_path)
    assert current(tmp_path, "i") is not None


def test_damage_within_is_told_from_other_errors(tmp_path: Path) -> None:
    index = made(tmp_path)
    index.close()
    content = bytearray(index.path.read_bytes())
    content[16_384:] = os.urandom(len(content) - 16_384)
    index.path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"sqlite3, which keeps .* malformed; mend or remove it"):
        list(index.rows(index.span("train")))


def test_an_interrupted_note_is_no_note(tmp_path: Path) -> None:
    index = made(tmp_path)
    span = index.span("train")

    def killed() -> None:
        with index._database.transaction() as database:
            database.execute("INSERT INTO recordings (position, sha256) VALUES (?, 'x')", (span[0],))
            database.execute("PRAGMA cache_spill=1")
            os._exit(9)

    process = multiprocessing.get_context("fork").Process(target=killed)
    process.start()
    process.join()
    assert process.exitcode == 9 and index.entries_at(span[:1])[0].examined is None

    def interrupted() -> Iterator[tuple[int, tuple[int, int], Examined]]:
        yield span[0], OLD, found()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.note(interrupted())
    assert index.entries_at(span[:1])[0].examined is None
    index.note([(span[0], OLD, found())])
    assert index.sound(span[:1]) == 1


def test_threads_and_processes_read_and_write_together(tmp_path: Path) -> None:
    index = made(tmp_path)
    span = index.span("train")
    failures: list[BaseException] = []
    parent = os.getpid()

    def work(part: range) -> None:
        try:
            for at in part:
                index.note([(at, OLD, found())])
                assert [row.id for row, *_ in index.rows([at])] == [f"t{at - span.start}"]
            assert os.getpid() in index._database._held  # SQLite forbids what was opened before a fork
        except BaseException as error:
            failures.append(error)
            if os.getpid() != parent:
                raise

    processes = [multiprocessing.get_context("fork").Process(target=work, args=(span[n:60:6],)) for n in range(3)]
    threads = [threading.Thread(target=work, args=(span[n:60:6],)) for n in range(3, 6)]
    for worker in (*processes, *threads):
        worker.start()
    for worker in (*processes, *threads):
        worker.join()
    assert not failures and not any(process.exitcode for process in processes) and index.sound(span) == 60


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpeechbenchError, match=r"file/index/.*cannot be read or written: .*SPEECHBENCH_CACHE"):
        made(tmp_path / "file" / "index")
    index = made(tmp_path / "index")
    with sqlite3.connect(index.path) as database:
        database.execute("CREATE TRIGGER no BEFORE INSERT ON fingerprints BEGIN SELECT raise(ABORT, 'no'); END")
    index.keep_fingerprint("a", "f", index.changes())  # it is computed again instead
    assert index.fingerprint("a") is None


def test_an_index_that_nobody_opens_for_months_is_removed(tmp_path: Path) -> None:
    old, used, foreign = tmp_path / "old", tmp_path / "used", tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "mine.txt").touch()
    made(old)
    made(used)
    for folder in (old, used, foreign):
        for path in (*folder.iterdir(), folder):
            os.utime(path, (0, 0))
    assert current(used, "i") is not None  # and so it is marked
    made(tmp_path / "another")
    assert {path.name for path in tmp_path.iterdir()} == {"used", "foreign", "another"}
