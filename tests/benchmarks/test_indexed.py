"""Benchmarks on an index: examples made when asked for, and what is known of recordings kept true."""

from __future__ import annotations

import itertools
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechbench.benchmarks import examination, index_building, indexed
from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import Example
from speechbench.benchmarks.fingerprint import fingerprint
from speechbench.benchmarks.index import Row
from speechbench.benchmarks.indexed import Examples, IndexedBenchmark
from speechbench.errors import MissingError, SpeechbenchError, UsageError

REPOSITORY = Path(__file__).parents[2]


class Lines(IndexedBenchmark):
    """`lines.txt` has a split and a name per line; `-` stands for an example without recording."""

    name = "lines"
    reads = 0

    def __init__(self, folder: Path, word: str = "", **seconds: float) -> None:
        super().__init__(**seconds)
        self.folder, self.word = folder, word

    def read(self) -> Iterator[Row]:
        Lines.reads += 1
        for number, line in enumerate((self.folder / "lines.txt").read_text().splitlines(), 1):
            split, name = line.split()
            if name == "bad":
                self.note(f"lines.txt:{number}", "is bad; left out", "bad line")
            else:
                audio = "" if name == "-" else f"{name}.wav"
                yield Row(split, f"{name}{number}", audio, f"lines.txt:{number}", f"Satz {name}")

    def sources(self) -> Sequence[Path]:
        return [self.folder / "lines.txt"]

    def identity(self) -> Mapping[str, Any]:
        return {"folder": str(self.folder), "word": self.word}

    def audio(self, name: str, sha256: str | None = None) -> Audio:
        return Audio(self.folder / name, sha256)

    def example(self, row: Row, audio: Audio | None) -> Example:
        return Example(row.id, audio, f"<|audio|> {self.word}", (row.reference,), row.source, "en", "de")


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all files had been written long ago."""
    for module in (examination, index_building):
        monkeypatch.setattr(module, "SETTLES", 0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recordings of 0.1, 0.2, 0.3, ... s in train, one in test."""
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "data"
    place.mkdir()
    for number, name in enumerate("abcdef", 1):
        write(place, name, number / 10)
    (place / "lines.txt").write_text("".join(f"train {name}\n" for name in "abcde") + "test f\ntrain bad\n")
    return place


def write(folder: Path, name: str, seconds: float) -> None:
    soundfile.write(folder / f"{name}.wav", np.full(int(16_000 * seconds), 0.1), 16_000)


def ids(examples: Sequence[Example]) -> str:
    return "".join(example.id[0] for example in examples)


def problems(benchmark: IndexedBenchmark) -> list[str]:
    return [f"{p.where} {p.kind}" for p in benchmark.problems]


def test_examples_are_a_sequence_like_a_list(folder: Path) -> None:
    examples = Lines(folder).load("train")
    plain = list(examples)
    assert isinstance(examples, Examples) and len(examples) == len(plain) == 5 and examples == plain == examples
    edges = [None, *range(-7, 8)]
    for start, stop, step in itertools.product(edges, edges, [None, -3, -1, 1, 2]):
        assert list(examples[start:stop:step]) == plain[start:stop:step]
    for number in range(-5, 5):
        assert examples[number] == examples[np.int64(number)] == plain[number]
    with pytest.raises(IndexError):
        examples[5]
    assert examples[1:] != plain and examples != "abcde" and examples != 5 and plain[2] in examples
    assert list(reversed(examples)) == plain[::-1] and examples.index(plain[3]) == 3
    assert examples[::-1][1:3] == [plain[3], plain[2]] and not examples[3:1]
    copied = pickle.loads(pickle.dumps(examples[::2]))
    assert copied == plain[::2] and fingerprint(copied) == fingerprint(plain[::2])


def test_a_limit_is_of_examples_not_of_rows(folder: Path) -> None:
    write(folder, "b", 0.001)  # too short to be used
    for limit, expected in ((0, ""), (1, "a"), (2, "ac"), (4, "acde"), (5, "acde"), (10**9, "acde")):
        benchmark = Lines(folder)
        assert ids(benchmark.load("train", limit)) == expected
        assert len(benchmark.problems) == (1 if limit < 2 else 2)  # what was not come to is not told
        assert ids(Lines(folder, min_seconds=0.25).load("train", limit)) == "cde"[:limit]
    with pytest.raises(UsageError, match="limit=-1 should be a number of examples, 0 or more"):
        Lines(folder).load("train", -1)
    with pytest.raises(UsageError, match="unknown split 'dev'"):
        Lines(folder).load("dev")
    with pytest.raises(MissingError, match=r"lines: the validation split is empty \(1 problem, .*lines\.txt:7: is bad"):
        Lines(folder).load("validation")


def test_problems_come_back_and_go_when_they_are_mended(folder: Path) -> None:
    (folder / "b.wav").write_bytes(b"")
    (folder / "d.wav").rename(folder / "away.wav")
    (folder / "f.wav").write_bytes(b"no sound")
    whole = Lines(folder)
    assert ids(whole.load("train")) == "ace"
    found = ["lines.txt:7 bad line", "lines.txt:2 empty recording", "lines.txt:4 no recording"]
    with pytest.raises(
        MissingError, match=r"none of the 1 rows of test can be used \(lines\.txt:6: audio file .*f\.wav"
    ):
        whole.load("test")
    assert problems(whole) == [*found, "lines.txt:6 broken recording"]
    opened = Lines(folder)
    opened.load("train")
    opened.load("train")
    assert problems(opened) == found
    write(folder, "b", 0.2)
    (folder / "away.wav").rename(folder / "d.wav")
    assert ids(whole.load("train", 2)) == "ab"  # that the other is mended was not seen
    assert problems(whole) == [found[0], found[2], "lines.txt:6 broken recording"]
    assert ids(whole.load("train")) == ids(opened.load("train")) == "abcde"
    assert problems(whole) == [found[0], "lines.txt:6 broken recording"] and problems(opened) == found[:1]
    (folder / "lines.txt").write_text("train a\ntrain f\n")
    assert ids(whole.load("train")) == "a"
    assert problems(whole) == ["lines.txt:6 broken recording", "lines.txt:2 broken recording"]


def test_what_is_left_out_is_counted_once(folder: Path) -> None:
    benchmark = Lines(folder, min_seconds=0.15, max_seconds=0.35)
    for _ in range(3):
        assert ids(benchmark.load("train")) == "bc"
        assert benchmark.excluded == {"train: shorter than 0.15 s": 1, "train: longer than 0.35 s": 2}
    write(folder, "a", 0.2)
    assert ids(benchmark.load("train")) == "abc" and benchmark.excluded == {"train: longer than 0.35 s": 2}
    (folder / "lines.txt").write_text("train -\ntrain b\ntrain e\n")
    assert ids(benchmark.load("train")) == "-b" and benchmark.load("train")[0].audio is None


def test_a_large_split_is_trusted_until_it_is_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "b.wav").write_bytes(b"")
    assert ids(Lines(folder).load("train")) == "acde"
    write(folder, "c", 0.5)
    for lasts, many in (("small", 5), ("large", 4)):
        monkeypatch.setattr(indexed, "LOOKED_AT_AGAIN", many)
        example = Lines(folder).load("train")[1]
        assert example.audio is not None and example.id == "c3"
        if lasts == "large":
            write(folder, "c", 0.6)
            assert Lines(folder).load("train")[1].audio == example.audio
            with pytest.raises(SpeechbenchError, match=r"c\.wav has changed since the benchmark was read; run"):
                example.audio.samples(16_000)
        else:
            assert len(example.audio.samples(16_000)) == 8000
    write(folder, "b", 0.2)  # what is known to be broken is always looked at again
    assert ids(Lines(folder).load("train")) == "abcde"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 5)), max_size=6),
    limit=st.sampled_from([None, 2]),
    large=st.booleans(),
)
def test_a_kept_fingerprint_is_that_of_the_examples(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changes: list[tuple[str, int]], limit: int | None, large: bool
) -> None:
    monkeypatch.setattr(indexed, "LOOKED_AT_AGAIN", 0 if large else 100)
    benchmark, earlier = Lines(folder), []
    for name, tenths in (("a", 1), *changes):
        write(folder, name, tenths / 10)
        examples = benchmark.load("train", limit)
        assert fingerprint(examples) == fingerprint(list(examples)) == fingerprint(examples[:])
        earlier.append(examples)
        for before in earlier:  # what was loaded before tells of the same recordings, or that they are others now
            try:
                assert fingerprint(list(before)) == fingerprint(before)
            except SpeechbenchError as error:
                assert "has changed since the benchmark was read" in str(error)
        if not large:
            bare = [Example(**{**vars(e), "audio": Audio(folder / f"{e.id[0]}.wav")}) for e in examples]
            assert fingerprint(bare) == fingerprint(examples)


def test_it_is_read_once_and_again_when_something_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reads(**parameters: Any) -> int:
        before = Lines.reads
        Lines(folder, **parameters).load("train")
        return Lines.reads - before

    assert (reads(), reads(), reads(word="other"), reads(), reads(min_seconds=0.2)) == (1, 0, 1, 0, 0)
    (folder / "lines.txt").write_text("train a\n")
    assert (reads(), reads()) == (1, 0)
    indexed._code.cache_clear()
    monkeypatch.setattr(indexed, "code_hash_of", lambda _: "edited")
    assert (reads(), reads()) == (1, 0)
    indexed._code.cache_clear()
    monkeypatch.setattr(indexed, "code_hash_of", lambda _: None)  # of what was typed at a prompt
    assert (reads(), reads()) == (1, 0)
    indexed._code.cache_clear()
    assert reads() == 1
    indexed._code.cache_clear()
    folders = [path for path in (folder.parent / "cache" / "indexes").iterdir() if path.is_dir()]
    assert len(folders) == 2  # one for each word, whatever the code was


def test_a_damaged_index_is_made_anew(folder: Path) -> None:
    expected = list(Lines(folder).load("train"))
    (path,) = (folder.parent / "cache" / "indexes").glob("*/*.sqlite3")
    whole = path.read_bytes()
    for content in (b"", whole[:20_000], b"no database" * 9999, whole[:16_384] + os.urandom(len(whole) - 16_384)):
        for edition in path.parent.glob("*.sqlite3"):
            edition.write_bytes(content)
        assert list(Lines(folder).load("train")) == expected
    opened = Lines(folder)
    opened.load("train")
    newest = sorted(path.parent.glob("*.sqlite3"))[-1]
    at = whole.rfind(b"a.wav")  # of the pages that only loading looks at
    with newest.open("r+b") as file:
        file.seek(at - at % 16_384)
        file.write(os.urandom(16_384))
    assert list(Lines(folder).load("train")) == expected


def test_a_lost_or_unwritable_cache(folder: Path) -> None:
    benchmark = Lines(folder)
    expected = list(benchmark.load("train"))
    shutil.rmtree(folder.parent / "cache")
    assert list(benchmark.load("train")) == expected
    shutil.rmtree(folder.parent / "cache")
    (folder.parent / "cache").write_text("a file")
    with pytest.raises(SpeechbenchError, match=r"cache/indexes/lines-\w+, which keeps .* set SPEECHBENCH_CACHE"):
        Lines(folder).load("train")


def test_progress_is_told_and_not_pickled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexed, "_TOLD", 2)
    monkeypatch.setattr(indexed, "_AT_ONCE", 2)
    told: list[tuple[str, int, int]] = []
    benchmark = Lines(folder)
    benchmark.prepare(lambda *what: told.append(what))
    examples = benchmark.load("train")
    reading = [what for what in told if what[0] == "reading lines"]
    assert reading == [("reading lines", 2, 2), ("reading lines", 4, 4), ("reading lines", 6, 6)]
    assert told[3:] == [("reading recordings of train", done, 5) for done in (2, 4, 5)]
    assert pickle.loads(pickle.dumps(examples)) == examples


WORKER = """
    import os, sys
    sys.path.insert(0, {tests!r})
    import test_indexed as tests
    from pathlib import Path
    from speechbench.benchmarks.fingerprint import fingerprint
    benchmark = tests.Lines(Path({folder!r}))
    print(tests.ids(benchmark.load("train")), fingerprint(benchmark.load("train")))
"""


def test_processes_and_threads_that_begin_together_agree(folder: Path) -> None:
    code = textwrap.dedent(WORKER.format(tests=str(Path(__file__).parent), folder=str(folder)))
    workers = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        for _ in range(2)
    ]
    shared, found = Lines(folder), []
    threads = [threading.Thread(target=lambda: found.append(ids(shared.load("train")))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = {worker.communicate()[0] for worker in workers}
    assert found == ["abcde"] * 4 and said == {f"abcde {fingerprint(shared.load('train'))}\n"}
    assert problems(shared) == ["lines.txt:7 bad line"]


def test_examples_refuse_a_recording_that_another_process_found_changed(folder: Path) -> None:
    examples = Lines(folder).load("train")
    before = [example.audio.samples(8000).tolist() for example in examples if example.audio is not None]
    write(folder, "a", 0.4)
    later = Lines(folder).load("train")  # as another process does
    assert [e.audio.samples(8000).tolist() for e in later if e.audio is not None] != before
    with pytest.raises(SpeechbenchError, match=r"a\.wav has changed since the benchmark was read; run"):
        list(examples)
    with pytest.raises(SpeechbenchError, match="has changed since"):
        list(examples[:])
