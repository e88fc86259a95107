import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from speechbench.benchmarks import load_benchmark
from speechbench.benchmarks.covost2 import Covost2
from speechbench.benchmarks.librisqa import LibriSQA
from speechbench.benchmarks.mini import writer
from speechbench.benchmarks.mini.corpora import Covost2Mini, LibriSQAMini
from speechbench.benchmarks.mini.grammar import QUESTIONS, SPLIT_SIZES, split
from speechbench.benchmarks.mini.voices import SPEAKERS, Voice
from speechbench.benchmarks.mini.writer import Utterance, made_once, speak_all, stable_number
from speechbench.errors import MissingError, SpeechbenchError

pytest.importorskip("espeakng_loader")
FEW = {"train": 20, "validation": 2, "test": 4}  # one utterance per speaker
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def covost2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("covost2")
    Covost2Mini.write(folder, FEW)
    return folder


@pytest.fixture(scope="module")
def librisqa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("librisqa")
    LibriSQAMini.write(folder, FEW)
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_covost2_reads_back_what_the_grammar_says(covost2: Path) -> None:
    benchmark = Covost2(root=str(covost2))
    speakers = set()
    for name in SPLITS:
        examples = benchmark.load(name)
        meanings = split("covost2-mini", name)[: FEW[name]]
        assert [(e.source, e.references) for e in examples] == [(m.english(), (m.german(),)) for m in meanings]
        speakers |= {(name, e.speaker) for e in examples}
        for example in examples:
            assert example.audio is not None
            assert 1.0 < example.audio.seconds() < 8.0
            assert abs(example.audio.samples(16_000)).max() > 0.05
    assert benchmark.problems == []
    assert len({speaker for _, speaker in speakers}) == len(speakers) == sum(map(len, SPEAKERS.values()))


def test_librisqa_reads_back_what_the_grammar_says(librisqa: Path) -> None:
    mini = LibriSQAMini()
    benchmark = LibriSQA(root=str(librisqa), validation_share=mini.split.share, split_seed=mini.split.seed)
    speakers = []
    for name in SPLITS:
        examples = benchmark.load(name)
        meanings = split("librisqa-mini", name)[: FEW[name]]
        assert [e.source for e in examples] == [m.english().upper().rstrip(".") for m in meanings]
        for example, meaning in zip(examples, meanings, strict=True):
            asked = [meaning.question(index) for index in range(len(QUESTIONS))]
            assert (example.columns["question"], example.references[0]) in asked
            assert example.audio is not None and example.audio.path.suffix == ".flac"
        speakers += [e.speaker for e in examples]
    assert benchmark.problems == []
    assert len(set(speakers)) == len(speakers)  # one utterance per speaker: none stands in two splits
    transcripts = [line for path in librisqa.rglob("*.trans.txt") for line in path.read_text().splitlines()]
    test = {f"{e.id.partition('#')[0]} {e.source}" for e in benchmark.load("test")}
    assert len(transcripts) == sum(FEW.values()) and test < set(transcripts)
    (row, *_) = json.loads((librisqa / "LibriSQA-PartI" / "LibriSQA-PartI-test.json").read_text())
    assert set(row) == {"speech_path", "question", "answer", "text", "duration"}
    first = benchmark.load("test", limit=1)[0].audio
    assert first is not None and row["duration"] == first.seconds()


def test_the_formats_are_the_official_ones(covost2: Path, librisqa: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    clip = soundfile.info(next((covost2 / "clips").glob("common_voice_en_*.mp3")))
    assert (clip.format, clip.samplerate, clip.channels) == ("MP3", 32_000, 1)
    flac = soundfile.info(next((librisqa / "LibriSpeech" / "test-clean").rglob("*.flac")))
    assert (flac.format, flac.subtype, flac.samplerate, flac.channels) == ("FLAC", "PCM_16", 16_000, 1)


def test_every_kind_of_question_is_asked_in_every_split() -> None:
    for name in SPLITS:
        kinds = Counter(stable_number(m.english()) % len(QUESTIONS) for m in split("librisqa-mini", name))
        assert len(kinds) == len(QUESTIONS)
        assert max(kinds.values()) < 3 * min(kinds.values())


def test_the_whole_corpora_have_the_promised_sizes() -> None:
    for corpus in ("covost2-mini", "librisqa-mini"):
        counts = load_benchmark(corpus).expected_counts()
        assert counts == {name: SPLIT_SIZES[corpus, name] for name in SPLITS}
        assert counts["train"] >= 2000 and counts["validation"] >= 200 and counts["test"] >= 300


@pytest.mark.slow
def test_bytes_depend_neither_on_the_number_of_workers_nor_on_the_time(
    covost2: Path, librisqa: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    told: list[tuple[str, int, int]] = []
    for corpus, first in ((Covost2Mini, covost2), (LibriSQAMini, librisqa)):
        folder = tmp_path / corpus.corpus
        folder.mkdir()
        corpus.write(folder, FEW, lambda *step: told.append(step))
        assert contents(folder) == contents(first)
    assert told[: sum(FEW.values())] == [("covost2-mini", done, 26) for done in range(1, 27)]


def folders(cache: Path) -> list[Path]:
    """The corpora that lie there, and what is left of others."""
    return [path for path in cache.iterdir() if "corpus" in path.name or "mini" in path.name if path.suffix != ".lock"]


def test_made_once_into_the_cache_and_found_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Covost2Mini, "expected_counts", lambda self: {"train": 2, "validation": 1, "test": 1})
    assert len(load_benchmark("covost2-mini").load("train")) == 2
    (folder,) = folders(cache)
    assert folder.name.startswith("covost2-mini-")
    monkeypatch.setattr(Covost2Mini, "write", lambda *_: pytest.fail("made a second time"))
    assert [e.source for e in load_benchmark("covost2-mini").load("test")] == [
        split("covost2-mini", "test")[0].english()
    ]


@pytest.mark.parametrize("corpus", [Covost2Mini, LibriSQAMini])
def test_a_corpus_whose_recordings_are_gone_is_not_to_be_downloaded(
    cache: Path, monkeypatch: pytest.MonkeyPatch, corpus: type[Covost2Mini] | type[LibriSQAMini]
) -> None:
    monkeypatch.setattr(corpus, "expected_counts", lambda self: {"train": 2, "validation": 1, "test": 1})
    corpus().load("test")
    (folder,) = folders(cache)
    for recording in [*folder.rglob("*.mp3"), *folder.rglob("*.flac")]:
        recording.unlink()
    with pytest.raises(MissingError, match=rf"remove {folder}, and it is made anew") as caught:
        corpus().load("test")
    assert "download" not in str(caught.value) and "unpack" not in str(caught.value)
    shutil.rmtree(folder)
    assert len(corpus().load("test")) == 1


def test_a_failure_leaves_nothing_behind(cache: Path) -> None:
    def fails(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made_once("corpus", {}, fails)
    assert folders(cache) == []


def test_killed_half_way_leaves_no_corpus_and_the_next_call_removes_its_rest(cache: Path) -> None:
    code = (
        "import os, signal; from speechbench.benchmarks.mini.writer import made_once\n"
        "def make(folder): (folder / 'half').touch(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "made_once('corpus', {}, make)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    left = folders(cache)
    assert len(left) == 2 and all(path.name.startswith(".corpus") for path in left)  # half the corpus, and who made it
    folder = made_once("corpus", {}, lambda folder: (folder / "whole").touch())
    assert folders(cache) == [folder] and contents(folder).keys() == {"whole"}


def test_killed_when_it_was_whole_leaves_nothing_once_it_is_used(cache: Path) -> None:
    code = (
        "import os, pathlib, signal; from speechbench.benchmarks.mini.writer import made_once\n"
        "rename = pathlib.Path.rename\n"
        "pathlib.Path.rename = lambda *moved: (rename(*moved), os.kill(os.getpid(), signal.SIGKILL))\n"
        "made_once('corpus', {}, lambda folder: (folder / 'whole').touch())"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert len(folders(cache)) == 2
    folder = made_once("corpus", {}, lambda _: pytest.fail("made a second time"))
    assert folders(cache) == [folder] and contents(folder).keys() == {"whole"}


def test_of_two_makers_at_once_the_slower_takes_the_others(cache: Path) -> None:
    ready = threading.Barrier(2, timeout=30)
    made: list[Path] = []
    returned: list[Path] = []
    told: list[str] = []

    def make(folder: Path) -> None:
        made.append(folder)
        time.sleep(0.2)  # the other comes meanwhile
        (folder / "whole").touch()

    def ask() -> None:
        ready.wait()
        returned.append(made_once("corpus", {}, make, lambda what, *_: told.append(what)))

    makers = [threading.Thread(target=ask) for _ in range(2)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(made) == 1 and len(returned) == 2
    (waiting,) = told
    assert waiting.startswith(("waiting for process ", "waiting for another process")) and waiting.endswith("corpus")
    assert folders(cache) == [returned[0]] == [returned[1]] and contents(returned[0]).keys() == {"whole"}


def test_another_recipe_is_another_folder(cache: Path) -> None:
    assert made_once("corpus", {"a": 1}, lambda _: None) != made_once("corpus", {"a": 2}, lambda _: None)
    assert len(folders(cache)) == 2


def test_a_failing_worker_says_why(tmp_path: Path) -> None:
    with pytest.raises(SpeechbenchError, match=r"only 1 of 2 utterances.*no voice 'xx-nobody'"):
        speak_all(
            tmp_path,
            [Utterance("a.flac", "Yes.", Voice("en"), 16_000), Utterance("b.flac", "No.", Voice("xx-nobody"), 16_000)],
            "corpus",
        )


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SpeechbenchError, match="SPEECHBENCH_CACHE"):
        made_once("corpus", {}, lambda _: None)


def test_a_libsndfile_without_mp3_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soundfile.available_formats", lambda: {"WAV": ""})
    with pytest.raises(MissingError, match="pip install"):
        writer.libraries()
