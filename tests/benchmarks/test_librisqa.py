import json
from pathlib import Path
from typing import Any

import pytest

from speechbench.benchmarks.librisqa import LibriSQA
from speechbench.benchmarks.speaker_split import validation_speakers
from speechbench.errors import MissingError, SpeechbenchError, UsageError

REAL = Path(__file__).parents[3] / "shared" / "data" / "LibriSpeech"


def row(speech_path: str, question: str = "Who?", **changed: Any) -> dict[str, Any]:
    return {
        "speech_path": speech_path,
        "question": question,
        "answer": "He.",
        "text": "IT WAS HE",
        "duration": 1.0,
    } | changed


def write(root: Path, name: str, rows: list[dict[str, Any]]) -> None:
    path = root / "LibriSQA-PartI" / f"LibriSQA-PartI-{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows))


def put_audio(root: Path, relative: str) -> Path:
    path = root / "LibriSpeech" / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"sound")
    return path


def test_names_with_and_without_prefix_and_either_suffix(tmp_path: Path) -> None:
    flac = put_audio(tmp_path, "test-clean/1/2/1-2-0000.flac")
    wav = put_audio(tmp_path, "test-clean/1/2/1-2-0001.wav")
    rows = [
        row("LibriSpeech/test-clean/1/2/1-2-0000.wav"),
        row("test-clean/1/2/1-2-0001.flac"),
        row("1-2-0000.wav", "Where?"),
    ]
    write(tmp_path, "test", rows)
    examples = LibriSQA(str(tmp_path)).load("test")
    assert [(e.id, e.audio.path) for e in examples if e.audio] == [
        ("1-2-0000#1", flac),
        ("1-2-0001#1", wav),
        ("1-2-0000#2", flac),
    ]
    last = examples[-1]
    assert last.instruction == "Listen to the audio <|audio|> and answer the following question: Where?"
    assert (last.references, last.source, last.speaker) == (("He.",), "IT WAS HE", "1")
    assert last.columns == {"question": "Where?"}
    assert [e.id for e in LibriSQA(str(tmp_path)).load("test", limit=1)] == ["1-2-0000#1"]


def test_the_transcript_file_steps_in_for_text(tmp_path: Path) -> None:
    audio = put_audio(tmp_path, "test-clean/1/2/1-2-0000.flac")
    put_audio(tmp_path, "test-clean/1/2/1-2-0001.flac")
    (audio.parent / "1-2.trans.txt").write_text("1-2-0000 FROM THE FILE\n")
    write(tmp_path, "test", [row("1-2-0000.wav", text=""), row("1-2-0001.wav", text=None)])
    benchmark = LibriSQA(str(tmp_path))
    assert [e.source for e in benchmark.load("test")] == ["FROM THE FILE", None]
    assert ["no transcript" in problem.what for problem in benchmark.problems] == [True]


def test_validation_takes_whole_speakers_whatever_audio_is_there(tmp_path: Path) -> None:
    names = [f"{speaker}-1-{take:04d}" for speaker in range(20) for take in range(5)]
    for name in names[::2]:
        put_audio(tmp_path, f"train-clean-360/{name}.flac")
    write(tmp_path, "train", [row(f"{name}.wav") for name in names])
    benchmark = LibriSQA(str(tmp_path), validation_share=0.2)
    train, validation = benchmark.load("train"), benchmark.load("validation")
    assert len(benchmark.problems) == len(names) // 2
    assert not {e.speaker for e in train} & {e.speaker for e in validation}
    assert len({e.speaker for e in validation}) == 4  # 20 of 100 rows
    assert sorted(e.id for e in train + validation) == sorted(f"{name}#1" for name in names[::2])
    for name in names:
        put_audio(tmp_path, f"train-clean-360/{name}.flac")
    whole = LibriSQA(str(tmp_path), validation_share=0.2)
    assert {e.speaker for e in whole.load("validation")} == {e.speaker for e in validation}
    drawn = {tuple(sorted(validation_speakers(dict.fromkeys("abcdefghij", 5), 0.2, seed))) for seed in range(9)}
    assert len(drawn) > 1
    assert validation_speakers({"a": 1}, 0.0, 0) == frozenset()


def test_what_is_missing_or_broken_is_listed(tmp_path: Path) -> None:
    put_audio(tmp_path, "1-2-0000.flac")
    put_audio(tmp_path, "1-2-0001.flac").write_bytes(b"")
    rows = [row("1-2-0000.wav"), row("1-2-0001.wav"), row("1-2-0002.wav"), row("1-2-0000.wav", answer=None)]
    write(tmp_path, "test", rows)
    benchmark = LibriSQA(str(tmp_path))
    assert len(benchmark.load("test")) == len(benchmark.load("test")) == 1
    assert sorted(problem.where.rpartition(" ")[2] for problem in benchmark.problems) == ["2", "3", "4"]
    whats = " ".join(problem.what for problem in benchmark.problems)
    assert "0 bytes" in whats and "no audio for 1-2-0002" in whats and "no 'answer'" in whats


def test_errors_say_what_to_download(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"LibriSQA-PartI-test.json.*hf download ZihanZhao/LibriSQA.*openslr"):
        LibriSQA(str(tmp_path)).load("test")
    write(tmp_path, "test", [row("1-2-0000.wav")])
    with pytest.raises(MissingError, match="no FLAC or WAV file below"):
        LibriSQA(str(tmp_path)).load("test")
    put_audio(tmp_path, "9-9-0000.flac")
    with pytest.raises(MissingError, match="none of the 1 rows of test has audio"):
        LibriSQA(str(tmp_path)).load("test")
    (tmp_path / "LibriSQA-PartI" / "LibriSQA-PartI-test.json").write_text("{")
    with pytest.raises(SpeechbenchError, match="no JSON"):
        LibriSQA(str(tmp_path)).load("test")
    write(tmp_path, "test", [])
    with pytest.raises(MissingError, match=r"the test split is empty: .*PartI-test\.json has no row .*download"):
        LibriSQA(str(tmp_path)).load("test")
    write(tmp_path, "train", [row("9-9-0000.wav")])
    with pytest.raises(MissingError, match=r"validation split is empty: with validation_share=0\.0, .*use more"):
        LibriSQA(str(tmp_path), validation_share=0.0).load("validation")
    with pytest.raises(MissingError, match=r"train split is empty: with validation_share=0\.9, .*use less"):
        LibriSQA(str(tmp_path), validation_share=0.9).load("train")
    with pytest.raises(UsageError, match="yet"):
        LibriSQA(str(tmp_path), part=2)
    with pytest.raises(UsageError, match="validation_share"):
        LibriSQA(str(tmp_path), validation_share=1.0)


@pytest.mark.skipif(not REAL.is_dir(), reason="no copy of LibriSpeech here")
def test_real_librispeech(tmp_path: Path) -> None:
    files = sorted(REAL.rglob("*.flac"))
    rows = [row(f"test-clean/{path.stem}.wav", text="") for path in files]
    write(tmp_path, "test", rows)
    benchmark = LibriSQA(str(tmp_path), audio=str(REAL.parent))
    examples = benchmark.load("test")
    assert len(examples) == len(files) and benchmark.problems == []
    transcripts = "\n".join(path.read_text() for path in REAL.rglob("*.trans.txt")).splitlines()
    assert {f"{e.id.partition('#')[0]} {e.source}" for e in examples} <= set(transcripts)
    first = examples[0].audio
    assert first is not None and len(first.samples(16_000)) == round(first.seconds() * 16_000)
