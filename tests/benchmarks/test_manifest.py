import csv
import json
from pathlib import Path
from typing import Any

import pytest

from speechbench.benchmarks import load_benchmark
from speechbench.benchmarks.manifest import Manifest
from speechbench.errors import MissingError, SpeechbenchError, UsageError

LINE = {
    "audio": "wavs/a.wav",
    "instruction": "Translate into German.",
    "references": ["Ja.", "Doch."],
    "source": "Yes.",
    "source_language": "en",
    "target_language": "de",
    "speaker": 7,
    "split": "test",
    "difficulty": 3,
}


@pytest.fixture(autouse=True)
def wavs(tmp_path: Path) -> None:
    (tmp_path / "wavs").mkdir()
    (tmp_path / "wavs" / "a.wav").write_bytes(b"sound")


def jsonl(folder: Path, *lines: dict[str, Any]) -> str:
    path = folder / "manifest.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return str(path)


def without(*names: str, **changed: Any) -> dict[str, Any]:
    return {name: value for name, value in (LINE | changed).items() if name not in names}


def test_jsonl(tmp_path: Path) -> None:
    benchmark = Manifest(jsonl(tmp_path, LINE, without("split", references="Nein.")))
    (example,) = benchmark.load("test")
    assert example.audio is not None and example.audio.path == tmp_path / "wavs" / "a.wav"
    assert example.instruction == "<|audio|> Translate into German."
    assert (example.references, example.source, example.speaker) == (("Ja.", "Doch."), "Yes.", "7")
    assert (example.id, example.columns) == ("a-1", {"difficulty": 3})
    assert (benchmark.source_language, benchmark.target_language) == ("en", "de")
    assert [(e.id, e.references) for e in benchmark.load("train")] == [("a-2", ("Nein.",))]
    assert benchmark.expected_counts() == {"train": 1, "test": 1}
    with pytest.raises(UsageError, match=r"'validation'.*1 train, 1 test"):
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


def test_default_instruction_follows_the_languages(tmp_path: Path) -> None:
    lines = [
        without("instruction"),
        without("instruction", target_language="en"),
        without("instruction", target_language="tlh"),
    ]
    instructions = [e.instruction for e in Manifest(jsonl(tmp_path, *lines)).load("test")]
    assert instructions == [
        "<|audio|> listen to the speech and translate it into German.",
        "<|audio|> write down what is said.",
        "<|audio|> listen to the speech and translate it into tlh.",
    ]
    with pytest.raises(UsageError, match="'target_language' is lacking"):
        Manifest(jsonl(tmp_path, without("instruction", "target_language")))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (without("audio"), "'audio' is lacking"),
        (without("references"), "'references' is lacking"),
        (without(references=[]), "'references' is lacking"),
        (without(references=["", "x"]), "'references' must hold"),
        (without(references=5), "'references' must hold"),
        (without(split="tests"), "'split' is 'tests': did you mean 'test'"),
        (without(split="dev"), "did you mean 'validation'"),
        (without(source=["x"]), "'source' must be text"),
        (without(instruction="<|audio|> <|audio|>"), "'instruction' has .* more than once"),
        (without(id="a-1"), "'a-1' stands already at .*:1"),
    ],
)
def test_a_wrong_line_is_named_with_file_line_and_field(tmp_path: Path, bad: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=rf"manifest\.jsonl:2: .*{says}"):
        Manifest(jsonl(tmp_path, LINE, bad))


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no line has the field 'split'; add it"):
        Manifest(jsonl(tmp_path, without("split")))
    with pytest.raises(MissingError, match=r"gone\.jsonl"):
        Manifest(str(tmp_path / "gone.jsonl"))
    with pytest.raises(UsageError, match="is empty: write one line"):
        Manifest(jsonl(tmp_path))
    (tmp_path / "m.txt").touch()
    with pytest.raises(UsageError, match=r"\.jsonl or \.csv"):
        Manifest(str(tmp_path / "m.txt"))
    (tmp_path / "m.jsonl").write_text(json.dumps(LINE) + "\n{oops\n")
    with pytest.raises(UsageError, match=r"m\.jsonl:2: the line is no JSON"):
        Manifest(str(tmp_path / "m.jsonl"))
    (tmp_path / "m.csv").write_text("audio,references,split\na.wav,x,train,extra\n")
    with pytest.raises(UsageError, match=r"m\.csv:2: .*more cells"):
        Manifest(str(tmp_path / "m.csv"))


def test_missing_audio_is_listed_and_an_empty_rest_refused(tmp_path: Path) -> None:
    benchmark = Manifest(jsonl(tmp_path, LINE, without(audio="b.wav"), without(audio="b.wav", split="train")))
    assert [e.id for e in benchmark.load("test")] == ["a-1"]
    ((where, what),) = [(problem.where, problem.what) for problem in benchmark.problems]
    assert where.endswith("manifest.jsonl:2") and "b.wav is missing" in what
    with pytest.raises(SpeechbenchError, match=r":2: .*b\.wav is missing; put .*`speechbench benchmarks check .* all"):
        benchmark.refuse_problems()
    with pytest.raises(MissingError, match=r"none of the 1 lines of the split 'train' .*:3: .*b\.wav is missing.*put"):
        benchmark.load("train")
    with pytest.raises(SpeechbenchError, match="the first of 2 problems"):
        benchmark.refuse_problems()


def test_whole_lines_are_not_refused(tmp_path: Path) -> None:
    benchmark = Manifest(jsonl(tmp_path, LINE))
    benchmark.load("test")
    benchmark.refuse_problems()


def test_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jsonl(tmp_path, LINE, without(target_language="fr"))
    monkeypatch.chdir(tmp_path)
    benchmark = load_benchmark("manifest(task=translation, path=./manifest.jsonl, metrics='bleu, chrf(word_order=2)')")
    assert benchmark.name == "manifest(metrics='bleu, chrf(word_order=2)', path=./manifest.jsonl, task=translation)"
    assert (benchmark.task, benchmark.metrics) == ("translation", ("bleu", "chrf(word_order=2)"))
    assert benchmark.target_language == "mul"
    assert len(benchmark.load("test")) == 2
    with pytest.raises(UsageError, match="task"):
        Manifest("manifest.jsonl", task="poetry")
