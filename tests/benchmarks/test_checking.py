"""`check` and `prepare` against what the test itself counts in the files."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbench.benchmarks import check, prepare
from speechbench.benchmarks.audio import Audio, Examined
from speechbench.benchmarks.covost2_official import OFFICIAL
from speechbench.benchmarks.fingerprint import fingerprint
from speechbench.benchmarks.loading import load_benchmark
from speechbench.errors import MissingError, SpeechbenchError

SPLITS = {"train": 6, "dev": 3, "test": 4}

OWN = """
from pathlib import Path
from speechbench.benchmarks import Audio, Benchmark, Example

class Folder(Benchmark):
    '''A folder of WAVs per split; it looks at none of them.'''
    task = "translation"
    def __init__(self, root):
        super().__init__()
        self.root = Path(root)
        self.warnings.append("No two of them are alike.")
    def load(self, split, limit=None):
        found = sorted((self.root / split).glob("*.wav"))
        return [Example(p.stem, Audio(p), "<|audio|> ?", (f"wort {p.stem}",), f"word {p.stem}", "en", "de", p.stem[0])
                for p in found][:limit]

class Silent(Benchmark):
    def load(self, split, limit=None):
        if split != "test":
            from speechbench.errors import UsageError
            raise UsageError(f"there is no {split}")
        return [Example("a", None, "?", ("b",), "c", "en", "de")]
"""


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as unchanged at once: elsewhere only when their time of change lies two seconds back."""
    for module in ("examination", "index_building"):
        monkeypatch.setattr(f"speechbench.benchmarks.{module}.SETTLES", -1)


def noise(path: Path, seconds: float, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).standard_normal(int(16000 * seconds)) * 0.1, 16000)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small CoVoST 2, en_ja: of each row the client, the clip, the sentence and the translation are its own."""
    clips = tmp_path / "cv" / "clips"
    validated, translations = [], []
    for number, split in enumerate(split for split, count in SPLITS.items() for _ in range(count)):
        noise(clips / f"{number}.wav", 0.5 + 0.1 * number, number)
        validated.append(
            {"client_id": f"client {number // 2}", "path": f"{number}.wav", "sentence": f"sentence {number}"}
        )
        translations.append({"path": f"{number}.wav", "translation": f"訳{number}", "split": split})
    for name, rows in (("validated", validated), ("covost_v2.en_ja", translations)):
        with (tmp_path / "cv" / f"{name}.tsv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys(), delimiter="\t", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return tmp_path / "cv"


def spec(root: Path, more: str = "") -> str:
    return f"covost2(en_ja, root={root}{more})"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), "utf-8")


def seconds_of(root: Path, numbers: range) -> list[float]:
    return [soundfile.info(root / "clips" / f"{number}.wav").duration for number in numbers]


def test_the_figures_are_those_of_the_files(root: Path) -> None:
    found = check(spec(root))
    assert dict(found.found) == {"train": 6, "validation": 3, "test": 4}
    ranges = {"train": range(6), "validation": range(6, 9), "test": range(9, 13)}
    for split, numbers in ranges.items():
        content, seconds = found.splits[split], seconds_of(root, numbers)
        assert content.seconds == pytest.approx(sum(seconds))
        assert (content.shortest, content.longest) == pytest.approx((min(seconds), max(seconds)))
        assert content.mean == pytest.approx(np.mean(seconds))
        assert content.speakers == len({number // 2 for number in numbers})
        assert content.broken == 0
    assert found.total.seconds == pytest.approx(sum(seconds_of(root, range(13))))
    assert (found.total.found, found.total.speakers) == (13, 7)
    assert found.problems == ()


def test_found_stands_beside_expected(root: Path) -> None:
    found, expected = check(spec(root)), OFFICIAL["en_ja"]
    assert found.expected == expected
    assert {split: content.expected for split, content in found.splits.items()} == expected
    assert found.total.expected == sum(expected.values())
    unknown = check("own.py:Silent")
    assert (unknown.splits["test"].expected, unknown.total.expected) == (None, None)


def test_who_is_heard_in_two_splits_is_counted_and_listed(root: Path) -> None:
    found = check(spec(root))
    assert [(shared.splits, shared.count, shared.first) for shared in found.shared_speakers] == [
        (("validation", "test"), 1, ("client 4",))
    ]
    assert found.problem_file is not None
    assert "oddity: speaker in two splits\tvalidation and test\tclient 4" in found.problem_file.read_text("utf-8")


def test_everything_missing_or_broken_is_counted_by_split_and_kind(root: Path) -> None:
    clips = root / "clips"
    (clips / "0.wav").unlink()
    (clips / "1.wav").write_bytes(b"")
    (clips / "9.wav").write_bytes((clips / "9.wav").read_bytes()[:3000])
    edit(root / "covost_v2.en_ja.tsv", "訳8", " ")
    found = check(spec(root))
    assert dict(found.found) == {"train": 4, "validation": 2, "test": 3}
    assert [found.splits[split].broken for split in ("train", "validation", "test")] == [1, 0, 1]
    kinds = sorted(problem.kind for problem in found.problems)
    assert kinds == ["broken recording", "empty recording", "empty translation", "no recording"]
    assert found.total.seconds == pytest.approx(
        sum(seconds_of(root, range(2, 8))) + sum(seconds_of(root, range(10, 13)))
    )
    assert found.problem_file is not None
    listed = found.problem_file.read_text("utf-8")
    assert all(f"{p.kind}\t{p.where}\t{p.what}\n" in listed for p in found.problems)


def test_a_split_of_which_nothing_can_be_used_does_not_hide_the_others(root: Path) -> None:
    for number in range(9, 13):
        (root / "clips" / f"{number}.wav").write_bytes(b"text")
    found = check(spec(root))
    assert (found.found["test"], found.splits["test"].broken, found.found["train"]) == (0, 4, 6)
    assert "missing split" in {problem.kind for problem in found.problems}


def test_the_same_recording_and_odd_texts_are_remarks_and_no_problems(root: Path) -> None:
    (root / "clips" / "9.wav").write_bytes((root / "clips" / "0.wav").read_bytes())
    edit(root / "covost_v2.en_ja.tsv", "訳3", "sentence 3")
    edit(root / "covost_v2.en_ja.tsv", "訳4", "Ã¼ 4 ")
    found = check(spec(root), strict=True)
    assert {remark.kind: (remark.count, remark.first) for remark in found.oddities} == {
        "oddity: reference equal to the source": (1, ("3.wav (train)",)),
        "oddity: mojibake in the reference": (1, ("4.wav (train)",)),
        "oddity: white space at an end of the reference": (1, ("4.wav (train)",)),
        "oddity: recording in two splits": (1, ("9.wav (test)",)),
    }


def test_only_some_of_a_remark_are_shown_and_all_are_listed(root: Path, tmp_path: Path) -> None:
    text = (root / "covost_v2.en_ja.tsv").read_text("utf-8")
    (root / "covost_v2.en_ja.tsv").write_text(text.replace("訳", "&amp;"), "utf-8")
    found = check(spec(root), problems=tmp_path / "listed.tsv")
    (remark,) = found.oddities
    assert (remark.count, remark.first) == (13, ("0.wav (train)", "1.wav (train)", "2.wav (train)"))
    assert found.problem_file == tmp_path / "listed.tsv"
    assert (tmp_path / "listed.tsv").read_text("utf-8").count("oddity: HTML in the reference\t") == 13


@pytest.mark.parametrize("work", [check, prepare])
def test_strict_makes_problems_an_error_that_names_the_file_with_all(root: Path, work: type) -> None:
    (root / "clips" / "0.wav").unlink()
    (root / "clips" / "1.wav").write_bytes(b"")
    assert len(work(spec(root)).problems) == 2
    with pytest.raises(SpeechbenchError, match=r"\.wav.*; left out \(the first of 2 problems\); .*\.tsv lists all"):
        work(spec(root), strict=True)


@pytest.mark.parametrize("work", [check, prepare])
def test_data_that_is_not_there_is_an_error(tmp_path: Path, work: type) -> None:
    with pytest.raises(MissingError, match="download Common Voice"):
        work(spec(tmp_path / "nowhere"))


def test_what_was_left_out_as_asked_is_counted(root: Path) -> None:
    for work in (check, prepare):
        found = work(spec(root, ", max_seconds=1.05"))
        assert sum(found.excluded.values()) == 7
        assert {what.partition(":")[0] for what in found.excluded} == {"validation", "test"}


def test_a_benchmark_without_index_is_read_as_well(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "train", "validation", "test")):
        noise(tmp_path / "data" / split / f"{number}.wav", 1 + number, number)
    (tmp_path / "data" / "test" / "9.wav").write_bytes(b"")
    asked = f"own.py:Folder(root={tmp_path / 'data'})"
    found, ready = check(asked), prepare(asked)
    assert dict(found.found) == {"train": 2, "validation": 1, "test": 1}
    assert [content.seconds for content in found.splits.values()] == [3.0, 3.0, 4.0]
    assert found.splits["test"].broken == 1
    assert [problem.kind for problem in found.problems] == ["empty recording"]
    assert found.warnings == ready.warnings == ("No two of them are alike.",)
    assert ready.index is None
    usable = load_benchmark(asked).load("test", 1)
    assert ready.splits["test"].fingerprint == fingerprint(usable)


def test_examples_without_speech_and_splits_that_nobody_claims_are_no_problem() -> None:
    found = check("own.py:Silent")
    assert dict(found.found) == {"train": 0, "validation": 0, "test": 1}
    assert (found.problems, found.problem_file) == ((), None)
    assert (found.total.seconds, found.total.mean, found.total.speakers) == (0, None, 0)
    assert prepare("own.py:Silent").splits["train"].fingerprint is None


def test_prepare_says_what_training_will_be_known_by(root: Path) -> None:
    ready = prepare(spec(root))
    assert ready.index is not None and ready.index.is_file()
    benchmark = load_benchmark(spec(root))
    for split, content in ready.splits.items():
        examples = list(benchmark.load(split))
        assert (content.examples, content.fingerprint) == (len(examples), fingerprint(examples))
        assert content.seconds == pytest.approx(sum(e.audio.seconds() for e in examples if e.audio is not None))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the recordings that are read."""
    names: list[str] = []
    examine = Audio.examine

    def counted(audio: Audio) -> Examined:
        names.append(audio.path.name)
        return examine(audio)

    monkeypatch.setattr(Audio, "examine", counted)
    yield names


@pytest.mark.usefixtures("settled")
def test_prepare_reads_what_is_new_and_check_reads_all(root: Path, read: list[str]) -> None:
    everything = sorted(f"{number}.wav" for number in range(13))
    prepare(spec(root))
    assert sorted(read) == everything
    read.clear()
    assert prepare(spec(root)).changed == 0
    assert read == []
    noise(root / "clips" / "2.wav", 2.0, 99)
    assert prepare(spec(root)).changed == 1
    assert read == ["2.wav"]
    read.clear()
    check(spec(root))
    assert sorted(read) == everything


@pytest.mark.usefixtures("settled")
def test_check_finds_what_changed_behind_an_unchanged_size_and_date(root: Path) -> None:
    before = prepare(spec(root))
    clip = root / "clips" / "2.wav"
    content, stamp = bytearray(clip.read_bytes()), clip.stat()
    content[-1] ^= 1
    clip.write_bytes(content)
    os.utime(clip, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert prepare(spec(root)).splits == before.splits  # as it cannot know
    found = check(spec(root))
    assert found.changed == 1
    after = prepare(spec(root)).splits
    assert after["train"].fingerprint != before.splits["train"].fingerprint
    assert after["test"].fingerprint == before.splits["test"].fingerprint


def test_progress_goes_through_each_split(root: Path) -> None:
    told: list[tuple[str, int, int]] = []
    check(spec(root), lambda what, done, total: told.append((what, done, total)))
    reading = [step for step in told if step[0].startswith("reading recordings")]
    assert reading[-1] == ("reading recordings of test", 4, 4)
    assert {what.rpartition(" ")[2] for what, _, _ in reading} == {"train", "validation", "test"}
    assert all(0 <= done <= total for _, done, total in told)
