"""A manifest as a benchmark: what its lines become, and what becomes of those that are wrong."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from speechbench.benchmarks import load_benchmark
from speechbench.benchmarks import manifest as module
from speechbench.benchmarks.manifest import Manifest
from speechbench.errors import MissingError, SpeechbenchError, UsageError

LINE = {
    "audio": "wavs/a.wav",
    "instruction": "Translate into German.",
    "references": ["Ja.", "Doch."],
    "source": "Yes.",
    "target_language": "de",
    "speaker": 7,
    "split": "test",
    "difficulty": 3,
}


@pytest.fixture(autouse=True)
def wavs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("speechbench.benchmarks.index_building.SETTLES", 0)  # nothing changes as it is read
    (tmp_path / "wavs").mkdir()
    noise = np.random.default_rng(0).standard_normal(3200) * 0.1
    for name, seconds in (("a", 0.1), ("long", 0.2)):
        soundfile.write(tmp_path / "wavs" / f"{name}.wav", noise[: int(seconds * 16000)], 16000)


def jsonl(folder: Path, *lines: Mapping[str, Any] | str) -> str:
    path = folder / "manifest.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


def without(*names: str, **changed: Any) -> dict[str, Any]:
    return {name: value for name, value in (LINE | changed).items() if name not in names}


def instructions(benchmark: Manifest) -> list[str]:
    return [example.instruction for example in benchmark.load("test")]


def test_lines_become_examples(tmp_path: Path) -> None:
    benchmark = Manifest(jsonl(tmp_path, LINE, without("split", "instruction", references="Nein.")))
    (example,) = benchmark.load("test")
    assert example.audio is not None and example.audio.path == tmp_path / "wavs" / "a.wav"
    assert example.instruction == "<|audio|> Translate into German."
    assert (example.references, example.source, example.speaker) == (("Ja.", "Doch."), "Yes.", "7")
    assert (example.source_language, example.target_language) == ("en", "de")
    assert (example.id, example.columns) == ("a-1", {"difficulty": 3})
    assert [(e.id, e.references) for e in benchmark.load("train")] == [("a-2", ("Nein.",))]
    assert (benchmark.source_language, benchmark.target_language) == ("en", "de")
    assert benchmark.expected_counts() == {"train": 1, "test": 1}
    benchmark.refuse_problems()
    with pytest.raises(UsageError, match=r"no line is of the split 'validation'.*1 train, 1 test\)$"):
        benchmark.load("validation")


@pytest.mark.parametrize("column", ["reference", "references"])
def test_csv(tmp_path: Path, column: str) -> None:
    path = tmp_path / "manifest.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["audio", "instruction", column, "split", "id", "source", "topic"])
        writer.writerow(["wavs/a.wav", "Listen to <|audio|>, answer.", 'Yes, "he" did.', "train", "x", "", "cats"])
    (example,) = Manifest(str(path)).load("train")
    assert example.instruction == "Listen to <|audio|>, answer."
    assert example.references == ('Yes, "he" did.',)
    assert (example.id, example.source, example.columns) == ("x", None, {"topic": "cats"})


def test_languages_are_those_of_all_lines(tmp_path: Path) -> None:
    benchmark = Manifest(jsonl(tmp_path, LINE, without(target_language="fr", split="train")))
    assert (benchmark.source_language, benchmark.target_language) == ("en", "mul")


def test_default_instruction_follows_the_languages(tmp_path: Path) -> None:
    lines = [without("instruction", target_language=code) for code in ("de", "en-US", "tlh")]
    assert instructions(Manifest(jsonl(tmp_path, *lines))) == [
        "<|audio|> listen to the speech and translate it into German.",
        "<|audio|> write down what is said.",
        "<|audio|> listen to the speech and translate it into tlh.",
    ]


def test_prompts_word_the_lines_that_have_no_instruction(tmp_path: Path) -> None:
    path = jsonl(tmp_path, *(without("instruction", id=n) for n in range(40)), without(target_language="en"))
    plain = instructions(Manifest(path))
    varied = instructions(Manifest(path, prompts="paraphrases"))
    assert len(set(plain[:-1])) == 1 and len(set(varied[:-1])) > 4 and all("German" in text for text in varied)
    assert set(instructions(Manifest(path, prompts="paraphrases", prompt=2))[:-1]) == {
        "Translate the speech into German: <|audio|>"
    }
    assert varied[-1] == plain[-1] == "<|audio|> Translate into German."  # the line's own


def test_templates_of_ones_own_must_fit_the_lines(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("<|audio|> {source_language} to {language}\n")
    mine = str(tmp_path / "mine.txt")
    path = jsonl(tmp_path, without("instruction"))
    assert instructions(Manifest(path, prompts=mine)) == ["<|audio|> English to German"]
    path = jsonl(tmp_path, without("instruction"), without("instruction", target_language="en"))
    assert len(instructions(Manifest(path))) == 2
    for _ in range(2):
        with pytest.raises(UsageError, match=r"mine\.txt:1: \{source_language\} is no field: .* for transcription"):
            Manifest(path, prompts=mine).load("test")
    with pytest.raises(UsageError, match="prompts=nonsense"):
        Manifest(path, prompts="nonsense")


def test_questions(tmp_path: Path) -> None:
    path = jsonl(tmp_path, without("instruction", question="Who?"), without(question="Why?"))
    benchmark = Manifest(path, task="question-answering")
    assert instructions(benchmark) == [
        "Listen to the audio <|audio|> and answer the following question: Who?",
        "<|audio|> Translate into German.",
    ]
    assert [example.columns["question"] for example in benchmark.load("test")] == ["Who?", "Why?"]
    assert (
        instructions(Manifest(path, task="question-answering", prompts="paraphrases", prompt=2))[0] == "<|audio|> Who?"
    )
    assert "translate" in instructions(Manifest(path))[0]


def test_every_bad_line_is_listed_and_refused(tmp_path: Path) -> None:
    lines = [LINE, without("references"), "{oops", without(split="tset"), without(audio="/etc/passwd", split="train")]
    spec = f"manifest(path={jsonl(tmp_path, *lines)})"
    benchmark = load_benchmark(spec)
    assert [example.id for example in benchmark.load("test")] == ["a-1"]
    assert [(p.where.rpartition(":")[2], p.kind) for p in benchmark.problems] == [
        ("2", "bad line"),
        ("3", "bad line"),
        ("4", "unknown split"),
        ("5", "path outside"),
    ]
    assert benchmark.expected_counts() == {"train": 1, "test": 2}
    with pytest.raises(SpeechbenchError, match=r"manifest\.jsonl:2: .*'references' is lacking.* \(the first of 4 pro"):
        benchmark.refuse_problems()
    again = load_benchmark(spec)  # from the index
    again.load("test", limit=1)
    assert again.problems == benchmark.problems
    assert not benchmark.load("train")
    with pytest.raises(UsageError, match=r"split 'validation'.*cannot be used: .*jsonl:2: the field 'references'"):
        benchmark.load("validation")


def test_places_are_told_as_the_file_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = jsonl(tmp_path, LINE, "{oops")
    monkeypatch.chdir(tmp_path)
    for name in (path, "manifest.jsonl", "./wavs/../manifest.jsonl"):
        benchmark = Manifest(name)
        benchmark.index()
        assert [problem.where for problem in benchmark.problems] == [f"{Path(name)}:2"]


def test_a_file_of_bad_lines_alone_is_listed_too(tmp_path: Path) -> None:
    benchmark = Manifest(jsonl(tmp_path, "{oops", "{"))
    assert [len(benchmark.load(split)) for split in ("train", "validation", "test")] == [0, 0, 0]
    assert len(benchmark.problems) == 2 and benchmark.target_language == "mul"
    with pytest.raises(SpeechbenchError, match=r":1: the line is no JSON.*the first of 2"):
        benchmark.refuse_problems()


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"there is no file .*gone\.jsonl"):
        Manifest(str(tmp_path / "gone.jsonl"))
    with pytest.raises(MissingError, match=r"there is no folder .*nowhere; give audio=FOLDER"):
        Manifest(jsonl(tmp_path, LINE), audio=str(tmp_path / "nowhere"))
    (tmp_path / "m.txt").touch()
    with pytest.raises(UsageError, match=r"\.jsonl.* or \.parquet"):
        Manifest(str(tmp_path / "m.txt"))
    for lines, says in (
        ((), "is empty: write one line"),
        ((without("split"),), "no line has the field 'split', with .*; add"),
    ):
        benchmark = Manifest(jsonl(tmp_path, *lines))
        for _ in range(2):
            with pytest.raises(UsageError, match=says):
                benchmark.load("train")


def test_missing_audio_is_listed_and_an_empty_rest_refused(tmp_path: Path) -> None:
    benchmark = Manifest(jsonl(tmp_path, LINE, without(audio="b.wav"), without(audio="b.wav", split="train")))
    assert [e.id for e in benchmark.load("test")] == ["a-1"]
    ((where, what),) = [(problem.where, problem.what) for problem in benchmark.problems]
    assert where.endswith("manifest.jsonl:2") and "b.wav is missing" in what
    with pytest.raises(SpeechbenchError, match=r":2: .*b\.wav is missing; .*`speechbench benchmarks check .* all"):
        benchmark.refuse_problems()
    with pytest.raises(MissingError, match=r"none of the 1 rows of train .*:3: .*b\.wav is missing.*put the files"):
        benchmark.load("train")
    soundfile.write(tmp_path / "b.wav", np.ones(1600) * 0.1, 16000)
    assert len(benchmark.load("train")) == 1 and len(benchmark.load("test")) == 2
    benchmark.refuse_problems()


def test_a_link_that_takes_a_missing_recordings_place_is_refused_too(tmp_path: Path) -> None:
    outside = tmp_path / "wavs"
    (tmp_path / "data").mkdir()
    path = jsonl(tmp_path / "data", without(audio="b.wav"))
    with pytest.raises(MissingError):
        Manifest(path).load("test")
    (tmp_path / "data" / "b.wav").symlink_to(outside / "a.wav")
    benchmark = Manifest(path)
    assert not benchmark.load("test")
    assert [problem.kind for problem in benchmark.problems] == ["path outside"]


def test_audio_names_another_folder(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    path = jsonl(tmp_path / "texts", LINE, without(audio=str(tmp_path / "wavs" / "a.wav")))
    benchmark = Manifest(path, audio=str(tmp_path))
    assert [e.audio and e.audio.path for e in benchmark.load("test")] == [tmp_path / "wavs" / "a.wav"] * 2
    benchmark.refuse_problems()
    inside = Manifest(path)
    with pytest.raises(MissingError, match=r"put the files there or mend the paths, which are relative to .*texts"):
        inside.load("test")
    assert [problem.kind for problem in inside.problems][:1] == ["path outside"]


def test_seconds_leave_out_and_count(tmp_path: Path) -> None:
    path = jsonl(tmp_path, LINE, without(audio="wavs/long.wav"))
    for bounds, left in (({}, "a-1 long-2"), ({"max_seconds": 0.15}, "a-1"), ({"min_seconds": 0.15}, "long-2")):
        benchmark = Manifest(path, **bounds)
        assert " ".join(example.id for example in benchmark.load("test")) == left
        assert sum(benchmark.excluded.values()) == len(bounds)
        benchmark.refuse_problems()


def test_a_file_is_read_once_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = jsonl(tmp_path, LINE)
    reads: list[Path] = []
    genuine = module.read_records
    monkeypatch.setattr(module, "read_records", lambda path: (reads.append(path), genuine(path))[1])
    for _ in range(2):
        benchmark = Manifest(path)
        assert benchmark.target_language == "de" and len(benchmark.load("test")) == 1
        assert benchmark.expected_counts() == {"test": 1}
    assert len(reads) == 1
    jsonl(tmp_path, LINE, without(target_language="fr"))
    assert len(benchmark.load("test")) == 2 and benchmark.target_language == "mul"
    assert len(reads) == 2


def test_what_lines_have_in_common_survives_whoever_read_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = jsonl(tmp_path, LINE, "{oops")
    with monkeypatch.context() as killed:
        killed.setattr(module.Index, "keep_fact", lambda *words: None)
        Manifest(path).index()
    benchmark = Manifest(path)
    assert benchmark.target_language == "de" and benchmark.expected_counts() == {"test": 1}
    assert len(benchmark.problems) == 1


def test_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jsonl(tmp_path, LINE)
    monkeypatch.chdir(tmp_path)
    benchmark = load_benchmark("manifest(task=translation, path=./manifest.jsonl, metrics='bleu, chrf(word_order=2)')")
    assert benchmark.name == "manifest(metrics='bleu, chrf(word_order=2)', path=./manifest.jsonl, task=translation)"
    assert (benchmark.task, benchmark.metrics) == ("translation", ("bleu", "chrf(word_order=2)"))
    assert len(benchmark.load("test")) == 1
    with pytest.raises(UsageError, match="task"):
        Manifest("manifest.jsonl", task="poetry")
