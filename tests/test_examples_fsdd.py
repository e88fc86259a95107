import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from speechbench.benchmarks import load_benchmark

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data" / "fsdd"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo")
COUNTS = {"train": 12, "validation": 3, "test": 6}


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fsdd_manifest", ROOT / "examples" / "fsdd_manifest.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings that can be read back: 100 samples, each saying which digit and speaker it is."""
    folder = tmp_path_factory.mktemp("fsdd") / "recordings"
    folder.mkdir()
    for number, speaker in enumerate(SPEAKERS, 1):
        for digit in range(10):
            for take in range(2):
                samples = np.full(100, 100 * number + digit + 1, dtype=np.int16)
                soundfile.write(folder / f"{digit}_{speaker}_{take}.wav", samples, 8000, subtype="PCM_16")
    return folder.parent


def heard(path: Path) -> tuple[set[str], list[int]]:
    """Speakers and digits of a string made from the recordings above."""
    samples = soundfile.read(path, dtype="int16")[0]
    values = samples[samples != 0].reshape(-1, 100)
    assert (values == values[:, :1]).all()
    return {SPEAKERS[value // 100 - 1] for value in values[:, 0]}, [int(value % 100 - 1) for value in values[:, 0]]


def test_labels_say_what_is_heard_and_speakers_are_disjoint(
    example: ModuleType, recordings: Path, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in example.make(recordings, tmp_path, **COUNTS).read_text().splitlines()]
    speakers: dict[str, set[str]] = {}
    for line in lines:
        voices, digits = heard(tmp_path / line["audio"])
        assert voices == {line["speaker"]} and 2 <= len(digits) <= 5
        assert line["source"].split() == [example.ENGLISH[digit] for digit in digits]
        assert line["references"] == [" ".join(example.GERMAN[digit] for digit in digits)]
        speakers[line["split"]] = speakers.get(line["split"], set()) | voices
    assert speakers == {"train": {"jackson", "nicolas"}, "validation": {"lucas"}, "test": {"theo", "george"}}
    asked = example.ask([3, 7, 5], "translate", None)
    assert (asked["references"], asked["target_language"]) == (["drei sieben fünf"], "de")


def test_questions_are_answered_rightly(example: ModuleType, recordings: Path, tmp_path: Path) -> None:
    manifest = example.make(recordings, tmp_path, "qa", **COUNTS)
    for item in load_benchmark(f"manifest(path={manifest}, task=question-answering)").load("train"):
        place = next(
            index for index, ordinal in enumerate(example.ORDINALS) if f"the {ordinal} digit?" in item.instruction
        )
        assert item.audio is not None and item.source is not None
        digit = example.ENGLISH[heard(item.audio.path)[1][place]]
        assert item.references == (f"The {example.ORDINALS[place]} digit is {digit}.",)


def test_the_seed_decides(example: ModuleType, recordings: Path, tmp_path: Path) -> None:
    def made(name: str, seed: int) -> dict[str, bytes]:
        example.make(recordings, tmp_path / name, seed=seed, **COUNTS)
        return {
            str(p.relative_to(tmp_path / name)): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()
        }

    assert made("a", 0) == made("b", 0) != made("c", 1)


def test_the_command(example: ModuleType, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    counts = ["--train", "2", "--validation", "1", "--test", "2"]
    assert example.main([str(recordings / "recordings"), str(out), *counts]) == 0
    assert "2 train, 1 validation, 2 test" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    assert example.main([str(tmp_path / "empty"), str(out)]) == 1
    assert "git clone" in capsys.readouterr().err


@pytest.mark.skipif(not REAL.is_dir(), reason="no copy of the Free Spoken Digit Dataset here")
def test_real_voices_become_a_benchmark(example: ModuleType, tmp_path: Path) -> None:
    manifest = example.make(REAL, tmp_path, **COUNTS)
    benchmark = load_benchmark(f"manifest(path={manifest})")
    assert benchmark.expected_counts() == COUNTS
    assert (benchmark.source_language, benchmark.target_language) == ("en", "de")
    for split in COUNTS:
        for item in benchmark.load(split):
            assert item.audio is not None
            assert 0.5 < item.audio.seconds() < 8 and abs(item.audio.samples(16_000)).max() > 0.01
    assert benchmark.problems == []


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="no copy of the Free Spoken Digit Dataset beside the repository")
def test_the_whole_way_on_human_speech_in_short(example: ModuleType, tmp_path: Path) -> None:
    """SFT with the encoder, then GRPO and mixed-policy GRPO from its checkpoint, as docs/human-speech.md has it."""
    from speechbench.ablation import board_of, plan, run_all
    from speechbench.progress import Progress

    manifest = example.make(REAL, tmp_path / "digits", train=96, validation=4, test=24)
    benchmark = f"manifest(path={manifest})"
    settings = {"sft": {"learning_rate": 1e-3}, "grpo": {"num_generations": 4}, "mixed-grpo": {"num_generations": 4}}
    whole = "tiny(train=encoder+projector+language_model)"
    first = plan([], ["sft"], benchmark, whole, steps=30, config={"sft": settings["sft"]}, out=tmp_path / "runs")
    run_all(first, Progress())
    chrf = {row.label: row.cells[1].value or 0.0 for row in board_of(first).rows}
    assert chrf["sft"] > chrf["base"] + 3

    settings.pop("sft")
    sft = str(first.runs[1].folder)
    second = plan(["bleu"], list(settings), benchmark, sft, steps=2, config=settings, out=tmp_path / "runs")
    run_all(second, Progress())
    rows = {row.label: row.cells[1].value for row in board_of(second).rows}
    assert list(rows) == ["base", "grpo(bleu)", "mixed-grpo(bleu)"] and rows["base"] == chrf["sft"]
