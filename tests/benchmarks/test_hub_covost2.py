import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from speechbench.benchmarks import load_benchmark
from speechbench.benchmarks.base import Benchmark
from speechbench.benchmarks.fingerprint import fingerprint
from speechbench.benchmarks.hub_covost2 import HubCovost2, is_saved_dataset
from speechbench.benchmarks.stored_audio import StoredAudio
from speechbench.errors import MissingError, SpeechbenchError, UsageError

datasets = pytest.importorskip("datasets")
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
LIBRISPEECH = Path(__file__).parents[3] / "shared" / "data" / "LibriSpeech" / "test-clean"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
STRING = datasets.Value("string")
SCHEMA = {"client_id": STRING, "file": STRING, "audio": None, "sentence": STRING, "translation": STRING, "id": STRING}
Table = dict[str, Any]


def tone(form: str, hertz: float) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(2 * np.pi * hertz * np.arange(9600) / 32_000), 32_000, format=form)
    return file.getvalue()


def row(name: str, content: bytes | None = b"", **changes: Any) -> Table:
    """A row as fixie-ai/covost2 has them: with the path that the clip had on its maker's disk."""
    audio = {"bytes": content or tone("MP3", 300 + 10 * len(name)), "path": f"{name}.mp3"}
    texts = {"sentence": f'"Say ""{name}""."', "translation": f"Sag „{name}“.", "client_id": f"speaker {name[0]}"}
    return {"id": name, "file": f"/home/them/clips/{name}.mp3", "audio": audio, **texts, **changes}


def table(rows: list[Table], without: str = "") -> Any:
    """Made from Arrow: where `datasets` itself is given recordings, it wants torchcodec to look at them."""
    features = datasets.Features(
        {name: kind or datasets.Audio(sampling_rate=16_000) for name, kind in SCHEMA.items() if name != without}
    )
    rows = [{name: cell for name, cell in row.items() if name != without} for row in rows]
    return datasets.Dataset(pyarrow.Table.from_pylist(rows, schema=features.arrow_schema))


def upload(folder: Path, rows: dict[str, list[Table]], direction: str = "en_de", shards: int = 2) -> Path:
    """A folder laid out as fixie-ai/covost2."""
    place = folder / direction
    place.mkdir(parents=True)
    for split, some in rows.items():
        for number in range(shards):
            path = place / f"{split}-{number:05d}-of-{shards:05d}.parquet"
            parquet.write_table(table(some[number::shards]).data.table, path, row_group_size=1)
    return folder


def few() -> dict[str, list[Table]]:
    train = [row("t1"), row("t2", tone("WAV", 200)), row("t3"), row("t4", tone("FLAC", 400))]
    if LIBRISPEECH.is_dir():
        train += [row(path.stem, path.read_bytes()) for path in sorted(LIBRISPEECH.glob("*/*/*.flac"))[:2]]
    return {"train": train, "validation": [row("v1")], "test": [row("e1"), row("e2")]}


def of(name: Path | str, direction: str = "en_de", **more: str) -> Benchmark:
    return load_benchmark(f"covost2({', '.join([direction, f'root={name}', *(f'{k}={v}' for k, v in more.items())])})")


def problems(benchmark: Benchmark, split: str = "train") -> dict[str, tuple[str, str]]:
    benchmark.load(split)
    return {p.where.rpartition(", ")[2]: (p.kind, p.what) for p in benchmark.problems}


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))


def expected(rows: list[Table]) -> list[tuple[Any, ...]]:
    return [(r["id"], r["sentence"], (r["translation"],), r["client_id"]) for r in rows]


def said(examples: Any) -> list[tuple[Any, ...]]:
    return [(e.id, e.source, e.references, e.speaker) for e in examples]


@pytest.mark.parametrize("form", ["parquet", "saved", "saved by direction", "one split", "in the direction's folder"])
def test_examples_are_the_rows_and_decode_as_their_bytes(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, name = few(), tmp_path / "data"
    if form in ("parquet", "in the direction's folder"):
        upload(name, rows)
        rows = {split: some[::2] + some[1::2] for split, some in rows.items()}  # as the files stand
        name = name if form == "parquet" else name / "en_de"
    elif form == "one split":
        saved = datasets.Dataset(table(rows["train"]).data.table, split="train")
        saved.save_to_disk(name, num_shards=2)
    else:
        both = datasets.DatasetDict({split: table(some) for split, some in rows.items()})
        both.save_to_disk(name / "en_de" if form == "saved by direction" else name, num_shards=dict.fromkeys(rows, 1))
    assert is_saved_dataset(name)
    for split in rows if form != "one split" else ["train"]:
        with monkeypatch.context() as context:  # for the rows only texts are read
            context.setattr(StoredAudio, "content", lambda self: pytest.fail(f"{self} was read"))
            list(HubCovost2(str(name), "en_de").read(lambda *_: None))
        examples = of(name).load(split)
        assert said(examples) == expected(rows[split])
        for number, (example, asked) in enumerate(zip(examples, rows[split], strict=True)):
            data, rate = soundfile.read(io.BytesIO(asked["audio"]["bytes"]), dtype="float32")
            assert example.audio is not None
            np.testing.assert_array_equal(example.audio.samples(rate), data)
            assert str(example.audio) == f"audio of row {number} of {split} of {name}"
            assert example.audio.path.parts[-2:] == (split, str(number))
            assert (example.source_language, example.target_language) == ("en", "de")
    if form == "one split":
        with pytest.raises(MissingError, match="the test split is empty; use fixie-ai/covost2"):
            of(name).load("test")


def test_the_index_is_used_again_until_the_data_set_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(tmp_path / "data", few())
    monkeypatch.setattr("speechbench.benchmarks.index_building.SETTLES", 0)  # nothing changes as it is read
    benchmark = of(tmp_path / "data")
    before = fingerprint(benchmark.load("test"))
    shutil.rmtree(tmp_path / "datasets")  # which only holds copies
    with monkeypatch.context() as context:
        context.setattr(HubCovost2, "read", lambda *_: pytest.fail("it was read again"))
        assert fingerprint(of(tmp_path / "data").load("test")) == before
    shutil.rmtree(tmp_path / "data")
    upload(tmp_path / "data", {**few(), "test": [row("e1"), row("e3")]})
    for changed in (benchmark.load("test"), of(tmp_path / "data").load("test")):
        assert [e.id for e in changed] == ["e1", "e3"] and fingerprint(changed) != before


def test_rows_that_give_no_example_are_told_once(tmp_path: Path) -> None:
    rows = [
        row("good"),
        row("mute", translation="  "),
        row("none", translation=None),
        row("good", sentence="Again."),
        row("long", sentence="x" * 20_000),
        row("nul", translation="a\0b"),
        row("absent", audio=None, file=None),
        row("empty", audio={"bytes": b"", "path": "empty.mp3"}),
        row("text", b"no audio " * 50),
        row("half", tone("FLAC", 500)[:-3000]),
        row("silent", sentence=None, client_id=None),
        {**row("named"), "id": None},
        {**row("lost"), "id": None, "file": None, "audio": {"bytes": tone("WAV", 250), "path": None}},
    ]
    upload(tmp_path / "data", {"train": rows, "other": [row("o1")]}, shards=1)
    benchmark = of(tmp_path / "data")
    assert said(benchmark.load("train")) == [
        *expected([rows[0]]),
        ("silent", None, ("Sag „silent“.",), None),
        *expected([{**rows[11], "id": "named"}, {**rows[12], "id": "train-12"}]),
    ]
    benchmark.load("train")
    assert len(benchmark.problems) == 10
    found = problems(benchmark)
    assert "its split 'other' is none of train, validation, test; left out" in [p.what for p in benchmark.problems]
    for number, (kind, says) in {
        1: ("empty translation", "mute has no translation"),
        2: ("empty translation", "none has no translation"),
        3: ("duplicate row", "good stands a second time"),
        4: ("damaged text", "20,000 characters"),
        5: ("damaged text", "NUL byte"),
        6: ("no recording", "has no recording"),
        7: ("empty recording", "audio of row 7 of train of"),
        8: ("broken recording", "cannot be decoded"),
        9: ("broken recording", "cut off"),
    }.items():
        assert found[f"row {number} of train"][0] == kind and says in found[f"row {number} of train"][1]


def test_clips_that_are_only_named_are_looked_up_and_none_outside(tmp_path: Path) -> None:
    clips, data, secret = tmp_path / "clips", tmp_path / "data", tmp_path / "secret.mp3"
    clips.mkdir()
    secret.write_bytes(tone("MP3", 900))
    (clips / "a.mp3").write_bytes(tone("MP3", 300))
    (clips / "link.mp3").symlink_to(secret)
    rows = [
        row("a"),
        row("inner", file="sub/inner.wav"),
        row("b"),
        row("up", file="../secret.mp3"),
        row("absolute", file=str(secret)),
        row("link"),
        row("windows", file="C:\\clips\\a.mp3"),
        row("none", file=None),
    ]
    upload(data, {})
    parquet.write_table(table(rows, "audio").data.table, data / "en_de" / "train-00000-of-00001.parquet")
    (data / "sub").mkdir()
    (data / "sub" / "inner.wav").write_bytes(tone("WAV", 500))
    with pytest.raises(MissingError, match=r"has no column 'audio'.*name the folder of Common Voice's clips too"):
        of(data).load("train")
    with pytest.raises(MissingError, match=r"no folder of clips .*nowhere"):
        of(data, clips=str(tmp_path / "nowhere")).load("train")
    benchmark = of(data, clips=str(clips))
    train = benchmark.load("train")
    paths = [example.audio.path for example in train if example.audio is not None]
    assert [example.id for example in train] == ["a", "inner", "windows"]
    assert paths == [clips / "a.mp3", data / "sub" / "inner.wav", clips / "a.mp3"]
    kinds = {where: kind for where, (kind, _) in problems(benchmark).items()}
    assert kinds == {
        "row 2 of train": "no recording",
        "row 3 of train": "path outside",
        "row 4 of train": "path outside",
        "row 5 of train": "path outside",
        "row 7 of train": "no recording",
    }


def test_a_cell_with_a_path_and_no_bytes_is_such_a_clip(tmp_path: Path) -> None:
    places = {"a": "a.wav", "b": str(tmp_path / "b.wav")}
    rows = [row(name, audio={"bytes": None, "path": path}) for name, path in places.items()]
    upload(tmp_path / "data", {})
    parquet.write_table(table(rows).data.table, tmp_path / "data" / "en_de" / "train.parquet")
    for place in (tmp_path / "data" / "a.wav", tmp_path / "b.wav"):
        place.write_bytes(tone("WAV", 500))
    benchmark = of(tmp_path / "data")
    assert [e.audio.path for e in benchmark.load("train") if e.audio] == [tmp_path / "data" / "a.wav"]
    assert problems(benchmark)["row 1 of train"][0] == "path outside"


def test_another_schema_or_direction_is_refused(tmp_path: Path) -> None:
    upload(tmp_path / "data", few())
    with pytest.raises(
        MissingError, match=r"data has no data set of de_en, which is.*; use fixie.*--include 'de_en/\*'"
    ):
        of(tmp_path / "data", "de_en").load("train")
    named = table([row("a")])
    named.info.config_name = "en_de"
    datasets.DatasetDict({"train": named}).save_to_disk(tmp_path / "saved")
    assert len(of(tmp_path / "saved").load("train")) == 1
    with pytest.raises(SpeechbenchError, match="holds the direction en_de, not de_en"):
        of(tmp_path / "saved", "de_en").load("train")
    (tmp_path / "data" / "en_de" / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(MissingError, match=r"en_de is not whole: train has 1 of 2 files; use"):
        of(tmp_path / "data").load("test")
    for without in ("translation", "id"):
        datasets.DatasetDict({"train": table(few()["train"], without)}).save_to_disk(tmp_path / without)
        with pytest.raises(SpeechbenchError, match=f"has no column '{without}', only client_id.*is no CoVoST 2"):
            of(tmp_path / without).load("train")
    decoded = table([row("a")], "audio").add_column("audio", [{"array": [0.0], "sampling_rate": 1}])
    datasets.DatasetDict({"train": decoded}).save_to_disk(tmp_path / "decoded")
    with pytest.raises(SpeechbenchError, match="column 'audio' holds array, sampling_rate, not bytes and path"):
        of(tmp_path / "decoded").load("train")
    with pytest.raises(UsageError, match="revision='main' is of a data set on the hub"):
        of(tmp_path / "data", revision="main")


def test_folders_of_other_things_are_no_data_sets(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "covost_v2.en_de.tsv").touch()
    (tmp_path / "en_de").mkdir()
    assert not is_saved_dataset(tmp_path) and not is_saved_dataset(tmp_path / "nowhere")
    upload(tmp_path, few(), "no_direction")  # in the wrong folder a million clips are not looked at
    assert not is_saved_dataset(tmp_path)


def test_a_data_set_of_the_hub_is_pinned_to_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def snapshot_download(name: str, **options: Any) -> str:
        folder = tmp_path / "hub" / "snapshots" / (options["revision"] or COMMIT)
        if not options.pop("local_files_only", False):
            asked.append({"name": name, **options})
            upload(folder, few())
        return str(folder)  # the hub's client gives a folder that is not there where no file has the wanted name

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
    newest = HubCovost2("fixie-ai/covost2", "en_de")
    assert newest.provenance() == {"data set": "fixie-ai/covost2", "revision": COMMIT}
    older = HubCovost2("fixie-ai/covost2", "en_de", revision=COMMIT[::-1])
    assert (newest.identity()["revision"], older.identity()["revision"]) == (COMMIT, COMMIT[::-1])
    common = {"name": "fixie-ai/covost2", "repo_type": "dataset", "allow_patterns": ["en_de/*.parquet"]}
    assert asked == [{**common, "revision": None}, {**common, "revision": COMMIT[::-1]}]
    assert len(of("fixie-ai/covost2").load("test")) == 2 and len(asked) == 2
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: pytest.fail("the hub was asked"))
    audio = of("fixie-ai/covost2").load("test")[1].audio
    assert str(audio) == "audio of row 1 of test of fixie-ai/covost2"


def test_a_repository_without_tables_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(name: str, **options: Any) -> str:
        (tmp_path / "covost2.py").write_text("raise SystemExit('this ran')")
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
    with pytest.raises(MissingError, match=r"^facebook/covost2 has no Parquet files of .*script.*is not run: use"):
        of("facebook/covost2").load("train")
