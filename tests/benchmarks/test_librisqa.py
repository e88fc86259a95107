import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from speechbench.benchmarks import load_benchmark
from speechbench.benchmarks.base import Example
from speechbench.benchmarks.fingerprint import fingerprint
from speechbench.benchmarks.librisqa import LibriSQA
from speechbench.benchmarks.templates import WORDINGS
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.rewards import load_reward, measure

REAL = Path(__file__).parents[3] / "shared" / "data" / "LibriSpeech"
PART_TWO = {
    "question_and_option": "Who was it?\nA. She\nB. He\nC. They\nD. Nobody",
    "answer": "B",
    "answer_and_analysis": "B. He. The speaker says that it was he.",
    "text": "IT WAS HE",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def row(speech_path: str, question: str = "Who?", **changed: Any) -> dict[str, Any]:
    asked = {"speech_path": speech_path, "question": question, "answer": "He.", "text": "IT WAS HE", "duration": 1.0}
    return asked | changed


def write(root: Path, name: str, rows: list[Any], part: int = 1) -> Path:
    path = root / f"LibriSQA-Part{'I' * part}" / f"LibriSQA-Part{'I' * part}-{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=4))
    return path


def put_audio(root: Path, relative: str, seconds: float = 0.1) -> Path:
    path = root / "LibriSpeech" / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).standard_normal(round(seconds * 16_000)) * 0.1, 16_000)
    return path


def put_train(root: Path, speakers: int = 20, takes: int = 5) -> list[str]:
    names = [f"{speaker}-1-{take:04d}" for speaker in range(speakers) for take in range(takes)]
    for name in names:
        put_audio(root, f"train-clean-360/{name}.wav", 0.03)
    write(root, "train", [row(f"{name}.wav") for name in names])
    return names


def places(examples: Any) -> list[tuple[str, Path]]:
    return [(example.id, example.audio.path) for example in examples]


def test_names_with_and_without_prefix_and_either_suffix(root: Path) -> None:
    flac = put_audio(root, "test-clean/1/2/1-2-0000.flac")
    wav = put_audio(root, "test-clean/1/2/1-2-0001.wav")
    rows = ["LibriSpeech/test-clean/1/2/1-2-0000.wav", "test-clean/1/2/1-2-0001.flac"]
    write(root, "test", [*map(row, rows), row("1-2-0000.wav", "Where?")])
    benchmark = LibriSQA(root=str(root))
    examples = benchmark.load("test")
    assert places(examples) == [("1-2-0000#1", flac), ("1-2-0001#1", wav), ("1-2-0000#2", flac)]
    assert examples[2] == Example(
        id="1-2-0000#2",
        audio=examples[2].audio,
        instruction="Listen to the audio <|audio|> and answer the following question: Where?",
        references=("He.",),
        source="IT WAS HE",
        source_language="en",
        target_language="en",
        speaker="1",
        columns={"question": "Where?"},
    )
    assert [example.id for example in benchmark.load("test", limit=1)] == ["1-2-0000#1"]
    assert benchmark.problems == benchmark.warnings == []
    assert benchmark.expected_counts() == {"test": 2620}
    assert LibriSQA(split_by="random", validation_share=0.2, root=str(root)).expected_counts() == {
        "train": 104_014 - 20_803,
        "validation": 20_803,
        "test": 2620,
    }


def test_part_two_asks_for_a_letter_and_measures_letter_and_analysis(root: Path) -> None:
    put_audio(root, "1-2-0000.flac")
    write(root, "test", [{"speech_path": "1-2-0000.wav", **PART_TWO}], part=2)
    benchmark = LibriSQA(2, root=str(root))
    examples = benchmark.load("test")
    (example,) = examples
    question = PART_TWO["question_and_option"]
    assert example.instruction == WORDINGS["multiple-choice"].templates[0].format(question=question)
    assert example.references == ("B. He. The speaker says that it was he.",)
    assert example.columns == {"question": question, "answer": "B"}
    letter, *others = (load_reward(metric) for metric in benchmark.metrics)
    says = {"The answer is B.": 100.0, "C. The speaker says that it was he.": 0.0, example.references[0]: 100.0}
    assert [measure(letter, [text], examples).corpus for text in says] == list(says.values())
    for metric in others:
        short, wrong, gold = (measure(metric, [text], examples).corpus for text in says)
        assert short is not None and wrong is not None and gold is not None and short < wrong < gold
    assert LibriSQA(1).metrics[0] == "bleu" and "comet" not in LibriSQA(1).metrics + benchmark.metrics


def test_the_wording_can_be_chosen(root: Path) -> None:
    put_audio(root, "1-2-0000.flac")
    write(root, "test", [row("1-2-0000.wav")])
    (root / "own.txt").write_text("Hear <|audio|> and say: {question}\n")
    for parameters, template in (
        ({"prompts": "paraphrases", "prompt": 3}, WORDINGS["question-answering"].templates[2]),
        ({"prompts": str(root / "own.txt")}, "Hear <|audio|> and say: {question}"),
    ):
        (example,) = LibriSQA(root=str(root), **parameters).load("test")  # type: ignore[arg-type]
        assert example.instruction == template.format(question="Who?")


def test_the_transcript_file_steps_in_for_text(root: Path) -> None:
    for number in range(3):
        audio = put_audio(root, f"test-clean/1/2/1-2-000{number}.flac")
    (audio.parent / "1-2.trans.txt").write_bytes(b"1-2-0000 FROM THE FILE\r\n1-2-0002 DAMAG\xffED\r\n")
    write(root, "test", [row(f"1-2-000{number}.wav", text="" if number else None) for number in range(3)])
    benchmark = LibriSQA(root=str(root))
    assert [example.source for example in benchmark.load("test")] == ["FROM THE FILE", None, None]
    assert [(problem.where[-1], problem.kind) for problem in benchmark.problems] == [
        ("2", "no transcript"),
        ("3", "no transcript"),
    ]


def test_recordings_in_several_folders(root: Path, tmp_path: Path) -> None:
    one, other = put_audio(tmp_path / "one", "1-2-0000.flac"), put_audio(tmp_path / "two", "3-4-0000.flac")
    write(root, "test", [row("1-2-0000.wav"), row("3-4-0000.wav")])
    audio = f"{one.parent}{os.pathsep}{other.parent}"
    spec = f"librisqa(audio='{audio}', root='{root}')"
    assert places(load_benchmark(spec).load("test")) == [("1-2-0000#1", one), ("3-4-0000#1", other)]
    odd = put_audio(tmp_path / f"odd{os.pathsep}name", "1-2-0000.flac")
    assert places(LibriSQA(root=str(root), audio=str(odd.parent)).load("test")) == [("1-2-0000#1", odd)]
    with pytest.raises(MissingError, match=r"there is no folder .*gone; .*openslr\.org/12"):
        LibriSQA(root=str(root), audio=f"{one.parent}{os.pathsep}{tmp_path / 'gone'}").load("test")


def test_what_is_missing_or_broken_is_listed(root: Path, tmp_path: Path) -> None:
    put_audio(root, "a/1-2-0000.flac")
    second = put_audio(root, "b/1-2-0000.flac")
    put_audio(root, "1-2-0001.flac").write_bytes(b"")
    put_audio(root, "1-2-0002.flac").write_text("no sound but a text")
    whole = put_audio(root, "1-2-0003.flac", 2.0)
    whole.write_bytes(whole.read_bytes()[:20_000])
    secret = put_audio(tmp_path / "outside", "9-9-0000.flac")
    (root / "link").symlink_to(secret.parent)
    paths = [*(f"1-2-000{number}.wav" for number in range(5)), "9-9-0000.wav", str(secret), "../../etc/passwd"]
    where = write(root, "test", [*map(row, paths), row("1-2-0000.wav", answer=None), row("1-2-0000.wav")])
    benchmark = LibriSQA(root=str(root))
    assert [example.id for example in benchmark.load("test")] == ["1-2-0000#1"]
    assert len(benchmark.load("test")) == 1
    found = {(problem.where, problem.kind) for problem in benchmark.problems}
    assert len(found) == len(benchmark.problems)
    assert found == {
        (f"{where}, row 2", "empty recording"),
        *((f"{where}, row {number}", "broken recording") for number in (3, 4)),
        *((f"{where}, row {number}", "no recording") for number in (5, 6, 8)),
        (f"{where}, row 9", "incomplete row"),
        *((f"{where}, row {number}", "duplicate row") for number in (7, 10)),
        (str(second), "recording there twice"),
        (str(root / "link"), "path outside"),
    }
    benchmark.strict = True
    with pytest.raises(SpeechbenchError, match="the first of 11 problems"):
        benchmark.refuse_problems()


def test_without_a_folder_of_recordings_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(MissingError, match=r"no folder of recordings is named; .*audio=FOLDER"):
        LibriSQA().load("test")


def test_a_saved_data_set_without_whole_rows_is_no_matter_of_recordings(root: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_list([row("1-2-0000.wav", answer="")])
    datasets.DatasetDict(test=rows).save_to_disk(tmp_path / "saved")
    put_audio(root, "1-2-0000.flac")
    with pytest.raises(MissingError, match=r"saved/test has no row with .*; name another data set$"):
        LibriSQA(root=str(tmp_path / "saved"), audio=str(root)).load("test")


def test_short_and_long_recordings_are_left_out_when_asked_for(root: Path) -> None:
    for number, seconds in enumerate((0.1, 0.3, 0.5)):
        put_audio(root, f"1-2-000{number}.flac", seconds)
    write(root, "test", [row(f"1-2-000{number}.wav") for number in range(3)])
    benchmark = LibriSQA(root=str(root), min_seconds=0.2, max_seconds=0.4)
    assert [example.id for example in benchmark.load("test")] == ["1-2-0001#1"] and sum(
        benchmark.excluded.values()
    ) == 2


def test_what_changes_in_the_files_is_seen(root: Path) -> None:
    put_audio(root, "1-2-0000.flac")
    write(root, "test", [row("1-2-0000.wav"), row("1-2-0001.wav")])
    for path in (root, *root.rglob("*")):
        os.utime(path, (1e9, 1e9))
    benchmark = LibriSQA(root=str(root))
    assert len(benchmark.load("test")) == 1
    first = fingerprint(benchmark.load("test"))
    put_audio(root, "1-2-0001.flac")
    assert len(benchmark.load("test")) == 2 and benchmark.problems == []
    (root / "LibriSpeech" / "1-2.trans.txt").write_text("1-2-0000 AS READ\n")
    write(root, "test", [row("1-2-0000.wav", text=None)])
    assert [example.source for example in benchmark.load("test")] == ["AS READ"]
    write(root, "test", [row("1-2-0000.wav")])
    assert fingerprint(LibriSQA(root=str(root)).load("test")) == first
    with pytest.raises(MissingError, match=r"there is no .*PartI-train"):
        benchmark.load("train")
    put_train(root, 2)
    assert len(LibriSQA(root=str(root), validation_share=0.5).load("train")) == 5


@pytest.mark.skipif(not REAL.is_dir(), reason="no copy of LibriSpeech here")
@pytest.mark.parametrize("part", [1, 2])
@pytest.mark.parametrize("prefix", ["LibriSpeech/", ""])
def test_real_librispeech(root: Path, part: int, prefix: str) -> None:
    files = sorted(REAL.rglob("*.flac"))
    names = [f"{prefix}{path.relative_to(REAL).with_suffix('.wav').as_posix()}" for path in files]
    said = PART_TWO if part == 2 else {"question": "What is said?", "answer": "Something is said."}
    write(root, "test", [{"speech_path": name, **said, "text": "", "duration": 1.0} for name in names], part)
    benchmark = LibriSQA(part, root=str(root), audio=str(REAL.parent))
    examples = benchmark.load("test")
    assert places(examples) == [(f"{path.stem}#1", path) for path in files] and benchmark.problems == []
    transcripts = "\n".join(path.read_text() for path in REAL.rglob("*.trans.txt")).splitlines()
    assert {f"{example.id.partition('#')[0]} {example.source}" for example in examples} <= set(transcripts)
    assert {example.speaker for example in examples} == {path.parts[-3] for path in files}
    first = examples[0].audio
    assert first is not None and len(first.samples(16_000)) == soundfile.info(files[0]).frames


def test_errors_say_what_to_download(root: Path) -> None:
    def test(**parameters: Any) -> Any:
        return LibriSQA(root=str(root), **parameters).load("test")

    with pytest.raises(MissingError, match=r"LibriSQA-PartI-test.json.*hf download ZihanZhao/LibriSQA"):
        test()
    write(root, "test", [row("1-2-0000.wav")])
    with pytest.raises(MissingError, match=r"no FLAC or WAV file below .*openslr") as caught:
        test()
    assert "hf download" not in str(caught.value)  # of what is there already
    put_audio(root, "9-9-0000.flac")
    with pytest.raises(MissingError, match=r"test split is empty: none of its 1 rows in .* has a recording; .*openslr"):
        test()
    write(root, "test", [])
    with pytest.raises(MissingError, match=r"the test split is empty: .*PartI-test\.json has no row .*download"):
        test()
    write(root, "test", [row("1-2-0000.wav", answer="")])
    with pytest.raises(MissingError, match=r"has no row with .* \(.*json, row 1: the row has no 'answer'; left out\)"):
        test()
    for nowhere in ("", os.pathsep):
        with pytest.raises(MissingError, match=r"no folder of recordings is named; unpack .* that audio=FOLDER names"):
            test(audio=nowhere)
    with pytest.raises(UsageError, match="no part 3"):
        test(part=3)
    with pytest.raises(UsageError, match="unknown split"):
        LibriSQA(root=str(root)).load("dev")
