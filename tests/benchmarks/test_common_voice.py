"""Common Voice joined with CoVoST 2's translations: which rows give examples, and what is said of the others."""

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbench.benchmarks.common_voice import CommonVoiceFolder
from speechbench.benchmarks.covost2 import Covost2
from speechbench.benchmarks.index import Row
from speechbench.errors import MissingError, SpeechbenchError

LIBRISPEECH = Path(__file__).parents[3] / "shared" / "data" / "LibriSpeech" / "test-clean"
VALIDATED = """client_id\tpath\tsentence\tup_votes
ann\tc.mp3\tHe said "yes.\t2
bob\ta.mp3\tA tab\\\there, a backslash\\\\.\t2
cat\tb.mp3\tNA\t2
cat\tunused.mp3\tNot in CoVoST.\t2
eve\te.mp3\tNo clip.\t2
fay\tf.mp3\tNo translation.\t2
gus\tg.mp3\tTest.\t2
hal\th.mp3\tDev.\t2
hal\th.mp3\tDev again.\t2
ian\ti.mp3\tToo\tlong.\t2\t
jo\tj.mp3
kim\tk.mp3\tN\0L.\t2
"""
TRANSLATIONS = """path\ttranslation\tsplit
a.mp3\tEin Tab.\ttrain
b.mp3\tnull\ttrain_covost
c.mp3\tEr sagte "ja.\ttrain
e.mp3\tKein Clip.\ttrain
f.mp3\t \ttrain
lost.mp3\tVerloren.\ttrain
a.mp3\tNoch einmal.\ttrain
g.mp3\tTest.\ttest
h.mp3\tDev.\tdev
odd.mp3\tSeltsam.\tother
i.mp3\tZu lang.\ttrain
j.mp3\tZu kurz.\ttrain
k.mp3\tNUL.\ttrain
l.mp3\tZwei\tZellen.\ttrain
m.mp3
"""


def tone(form: str = "MP3", seconds: float = 0.2) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(np.arange(int(32_000 * seconds)) / 20), 32_000, format=form)
    return file.getvalue()


SOUND = tone()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cv"
    (folder / "clips").mkdir(parents=True)
    (folder / "validated.tsv").write_text(VALIDATED)
    (folder / "covost_v2.en_de.tsv").write_text(TRANSLATIONS)
    for name in "abcfghijk":
        (folder / "clips" / f"{name}.mp3").write_bytes(SOUND)
    return folder


def rows(folder: CommonVoiceFolder) -> tuple[list[Row], list[tuple[str, str, str]]]:
    """What is read and what is noted, without the paths in front."""
    noted: list[tuple[str, str, str]] = []
    found = list(folder.read(lambda where, what, kind: noted.append((where.rpartition("/")[2], what, kind))))
    return found, noted


def one_row(root: Path, clip: bytes, translation: bytes = b"Ja.") -> None:
    (root / "validated.tsv").write_bytes(b"client_id\tpath\tsentence\nann\t" + clip + b"\tYes.\nx\ta.mp3\tA.\n")
    table = b"path\ttranslation\tsplit\n" + clip + b"\t" + translation + b"\ttrain\na.mp3\tA.\ttrain\n"
    (root / "covost_v2.en_de.tsv").write_bytes(table)


def test_the_join_is_that_of_the_official_script(root: Path) -> None:
    """pandas' inner join on `path`, without the rows that cannot be used."""
    pandas = pytest.importorskip("pandas")
    read = {"sep": "\t", "header": 0, "encoding": "utf-8", "escapechar": "\\", "quoting": csv.QUOTE_NONE}
    for name, bad in (("validated.tsv", "ij"), ("covost_v2.en_de.tsv", "lm")):  # at which pandas stops
        lines = (root / name).read_text().splitlines(keepends=True)
        kept = [line for line in lines if not any(f"{letter}.mp3" in line for letter in bad)]
        (root / name).write_text("".join(kept))
    left = pandas.read_csv(root / "validated.tsv", na_filter=False, **read)[["path", "sentence", "client_id"]]
    right = pandas.read_csv(root / "covost_v2.en_de.tsv", na_filter=False, **read)[["path", "translation", "split"]]
    both = pandas.merge(left, right, how="inner", on="path")
    assert len(both) > len(both.drop_duplicates("path"))  # it takes what stands twice twice
    both = both.drop_duplicates("path")
    both = both[both.path.isin(["a.mp3", "b.mp3", "c.mp3", "g.mp3", "h.mp3"])]
    splits = {"train": ["train", "train_covost"], "validation": ["dev"], "test": ["test"]}
    found, _ = rows(CommonVoiceFolder(root, "en_de"))
    for split, official in splits.items():
        expected = both[both.split.isin(official)][["path", "sentence", "translation", "client_id"]]
        ours = [(row.audio, row.source, row.reference, row.speaker) for row in found if row.split == split]
        assert ours == list(expected.itertuples(index=False, name=None)) and ours


def test_every_row_that_gives_no_example_is_noted_with_its_kind(root: Path) -> None:
    found, noted = rows(CommonVoiceFolder(root, "en_de"))
    assert [row.id for row in found] == ["c", "a", "b", "g", "h"]
    assert {(where.rpartition(".")[2], kind) for where, _, kind in noted} == {
        ("tsv:5", "no recording"),
        ("tsv:6", "empty translation"),
        ("tsv:7", "lost in the join"),
        ("tsv:8", "duplicate row"),
        ("tsv:10", "duplicate row"),
        ("tsv:11", "unknown split"),
        ("tsv:11", "long row"),
        ("tsv:12", "short row"),
        ("tsv:13", "damaged text"),
        ("tsv:15", "long row"),
        ("tsv:16", "short row"),
    }
    assert len(noted) == 11  # 14 + 1 rows of translations that give none, two of them named in the other table
    says = {what for _, what, _ in noted}
    assert any("e.mp3; left out" in what and what.startswith("there is no") for what in says)
    assert "a.mp3 stands a second time; the first is used" in says
    assert "odd.mp3 is of an unknown split 'other'; left out" in says


def test_joined_files_give_the_same_examples(root: Path, tmp_path: Path) -> None:
    expected, _ = rows(CommonVoiceFolder(root, "en_de"))
    joined = tmp_path / "joined"
    joined.mkdir()
    for split, official in (("train", "train"), ("validation", "dev"), ("test", "test")):
        with (joined / f"covost_v2.en_de.{official}.tsv").open("w", newline="") as file:
            writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, escapechar="\\", quotechar=None)
            writer.writerow(["path", "sentence", "translation", "client_id"])
            some = [(row.audio, row.source, row.reference, row.speaker) for row in expected if row.split == split]
            writer.writerows([*some, some[0], ("short.mp3", "x")])
    folder = CommonVoiceFolder(root, "en_de", joined)
    found, noted = rows(folder)
    assert [row._replace(where="") for row in sorted(found)] == [row._replace(where="") for row in sorted(expected)]
    assert [kind for _, _, kind in noted] == ["duplicate row", "short row"] * 3
    assert {path.name for path in folder.sources()} > {f"covost_v2.en_de.{name}.tsv" for name in ("train", "dev")}
    (joined / "covost_v2.en_de.tsv").write_text(TRANSLATIONS)  # the release itself is preferred
    assert rows(folder)[0] == [row._replace(where=row.where.replace(str(root), str(joined))) for row in expected]
    (root / "validated.tsv").unlink()  # without which it is of no use
    assert sorted(rows(folder)[0]) == sorted(found)


def test_folders_of_several_languages_and_clips_elsewhere(root: Path, tmp_path: Path) -> None:
    expected, _ = rows(CommonVoiceFolder(root, "en_de"))
    (tmp_path / "all").mkdir()
    root.rename(tmp_path / "all" / "en")
    several = CommonVoiceFolder(tmp_path / "all", "en_de")
    assert [row.audio for row in rows(several)[0]] == [row.audio for row in expected]
    assert several.audio("a.mp3").path == tmp_path / "all" / "en" / "clips" / "a.mp3"
    (tmp_path / "all" / "en" / "clips").rename(tmp_path / "disk")
    moved = CommonVoiceFolder(tmp_path / "all", "en_de", clips=tmp_path / "disk")
    assert [row.audio for row in rows(moved)[0]] == [row.audio for row in expected]
    assert moved.audio("a.mp3").path == tmp_path / "disk" / "a.mp3"
    assert moved.identity() != several.identity()
    with pytest.raises(MissingError, match=r"there is no .*clips; download Common Voice corpus 4, language 'en'"):
        rows(several)


@pytest.mark.parametrize(
    ("clip", "kind"),
    [
        (b"../../etc/passwd", "path outside"),
        (b"/etc/passwd", "path outside"),
        (b"..", "path outside"),
        (b"", "no recording"),
        (b"..\\\\..\\\\a.mp3", "path outside"),
        (b"C:\\\\clips\\\\a.mp3", "path outside"),
        (b"sub/a.mp3", "path outside"),
        (b"outside.mp3", "path outside"),
        (b"dangling.mp3", "no recording"),
        (b"folder.mp3", "no recording"),
        (b"pipe.mp3", "no recording"),
        (b"w\xfcrde.mp3", "damaged text"),
        (b"a\0.mp3", "damaged text"),
        (b"inside.mp3", None),
        ("würde.mp3".encode(), None),
    ],
)
def test_only_files_of_the_folder_are_read(root: Path, clip: bytes, kind: str | None) -> None:
    clips = root / "clips"
    (root / "secret.mp3").write_bytes(SOUND)
    (clips / "outside.mp3").symlink_to(root / "secret.mp3")
    (clips / "dangling.mp3").symlink_to("gone.mp3")
    (clips / "inside.mp3").symlink_to("a.mp3")
    (clips / "würde.mp3").write_bytes(SOUND)
    (clips / "folder.mp3").mkdir()
    (clips / "sub").mkdir()
    (clips / "sub" / "a.mp3").write_bytes(SOUND)
    os.mkfifo(clips / "pipe.mp3")
    Path(os.fsdecode(os.fsencode(clips) + b"/w\xfcrde.mp3")).write_bytes(SOUND)
    one_row(root, clip)
    found, noted = rows(CommonVoiceFolder(root, "en_de"))
    assert [kind for _, _, kind in noted] == ([] if kind is None else [kind])
    assert [row.audio for row in found] == ([] if kind else [clip.decode()]) + ["a.mp3"]
    "".join(what for _, what, _ in noted).encode()  # can be printed


def test_the_folder_of_clips_may_be_a_link(root: Path, tmp_path: Path) -> None:
    expected, _ = rows(CommonVoiceFolder(root, "en_de"))
    (root / "clips").rename(tmp_path / "elsewhere")
    (root / "clips").symlink_to(tmp_path / "elsewhere")
    (root / "clips" / "e.mp3").symlink_to(tmp_path / "elsewhere" / "a.mp3")
    found, _ = rows(CommonVoiceFolder(root, "en_de"))
    assert [row.id for row in found] == [*(row.id for row in expected[:3]), "e", *(row.id for row in expected[3:])]


def test_ids_are_unique_whatever_the_clips_are_called(root: Path) -> None:
    names = ["a.mp3", "a.wav", "a", "a.mp3.mp3", "a.wav.mp3", ".mp3"]
    for name in names:
        (root / "clips" / name).write_bytes(SOUND)
    (root / "validated.tsv").write_text("client_id\tpath\tsentence\n" + "".join(f"x\t{n}\tA.\n" for n in names))
    table = "path\ttranslation\tsplit\n" + "".join(f"{n}\tA.\ttrain\n" for n in names)
    (root / "covost_v2.en_de.tsv").write_text(table)
    found, _ = rows(CommonVoiceFolder(root, "en_de"))
    assert [row.audio for row in found] == names and len({row.id for row in found}) == len(names)
    (root / "clips" / "a").unlink()
    assert rows(CommonVoiceFolder(root, "en_de"))[0][0].id == "a"  # as the clips of the release are called


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_byte_order_marks_and_line_ends(root: Path, ends: bytes) -> None:
    expected, noted = rows(CommonVoiceFolder(root, "en_de"))
    for name in ("validated.tsv", "covost_v2.en_de.tsv"):
        content = (root / name).read_bytes()
        (root / name).write_bytes(b"\xef\xbb\xbf" + content.replace(b"\n", ends))
    assert rows(CommonVoiceFolder(root, "en_de")) == (expected, noted)


def test_a_cut_table_loses_its_last_row_and_says_so(root: Path) -> None:
    one_row(root, b"b.mp3")
    (root / "validated.tsv").write_text("client_id\tpath\tsentence\tvotes\nann\tb.mp3\tYes.\t2\nx\ta.mp3\tA lo")
    found, noted = rows(CommonVoiceFolder(root, "en_de"))
    assert [row.id for row in found] == ["b"]
    assert [(where, kind) for where, _, kind in noted] == [("validated.tsv:3", "short row")]


def test_recordings_that_cannot_be_used_are_named(root: Path) -> None:
    content = {
        "a": b"",
        "b": b"no audio, whatever the name says\n" * 100,
        "c": tone("FLAC", 2.0)[:-4000],
    }
    for name, some in content.items():
        (root / "clips" / f"{name}.mp3").write_bytes(some)
    with soundfile.SoundFile(root / "clips" / "e.mp3", "w", 1000, 1, format="FLAC") as file:
        for _ in range(10):
            file.write(np.zeros(3_600_000, np.int16))  # an hour
    benchmark = Covost2("en_de", str(root))
    with pytest.raises(MissingError, match=r"none of the 4 rows of train can be used .*c\.mp3"):
        benchmark.load("train")
    found = {p.what.split("/")[-1].split(" ")[0]: (p.what, p.kind) for p in benchmark.problems}
    assert found["a.mp3"][0].endswith("is empty (0 bytes); left out") and found["a.mp3"][1] == "empty recording"
    assert "cannot be decoded" in found["b.mp3"][0] and found["b.mp3"][1] == "broken recording"
    assert "cut off" in found["c.mp3"][0] and found["c.mp3"][1] == "broken recording"
    assert "is too long: it holds 600 minutes" in found["e.mp3"][0] and found["e.mp3"][1] == "broken recording"


def test_a_folder_that_cannot_be_read(root: Path) -> None:
    (root / "clips").rename(root / "away")
    (root / "clips").write_text("no folder")
    with pytest.raises(SpeechbenchError, match=r"clips, the folder of clips, cannot be read: Not a directory"):
        rows(CommonVoiceFolder(root, "en_de"))


@pytest.mark.skipif(not LIBRISPEECH.is_dir(), reason="the real recordings are not here")
def test_real_speech_in_the_official_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    flacs = sorted(LIBRISPEECH.rglob("*.flac"))[:8]
    (tmp_path / "clips").mkdir()
    for flac in flacs:
        samples, rate = soundfile.read(flac)
        soundfile.write(tmp_path / "clips" / f"{flac.stem}.mp3", samples, rate)
    validated = "".join(f"{flac.parts[-3]}\t{flac.stem}.mp3\tWords.\n" for flac in flacs)
    (tmp_path / "validated.tsv").write_text("client_id\tpath\tsentence\n" + validated)
    released = "".join(f"{flac.stem}.mp3\tWorte.\ttest\n" for flac in flacs)
    (tmp_path / "covost_v2.en_de.tsv").write_text("path\ttranslation\tsplit\n" + released)
    benchmark = Covost2("en_de", str(tmp_path))
    examples = benchmark.load("test")
    assert not benchmark.problems and [e.speaker for e in examples] == [flac.parts[-3] for flac in flacs]
    for example, flac in zip(examples, flacs, strict=True):
        assert example.audio is not None
        samples = example.audio.samples(16_000)
        assert abs(len(samples) - soundfile.info(flac).frames) <= 2 * 1152  # of the encoder
