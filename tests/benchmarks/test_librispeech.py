import os
from pathlib import Path

import pytest

from speechbench.benchmarks.librispeech import LibriSpeech, speaker_of
from speechbench.errors import SpeechbenchError

REAL = Path(__file__).parents[3] / "shared" / "data" / "LibriSpeech"


def put(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def scanned(*folders: Path) -> tuple[LibriSpeech, list[tuple[str, str, str]]]:
    tree, notes = LibriSpeech(folders), []  # type: tuple[LibriSpeech, list[tuple[str, str, str]]]
    tree.scan(lambda *note: notes.append(note))
    return tree, notes


def place(tree: LibriSpeech, utterance: str) -> Path | None:
    name = tree.find(utterance)
    return None if name is None else tree.audio(name).path


def test_files_are_found_by_utterance_in_any_suffix_and_casing(tmp_path: Path) -> None:
    flac = put(tmp_path / "LibriSpeech/test-clean/1/2/1-2-0000.FLAC")
    wav = put(tmp_path / "x/1-2-0001.Wav")
    put(tmp_path / "1-2-0002.mp3")
    tree, notes = scanned(tmp_path)
    assert [place(tree, f"1-2-000{n}") for n in range(3)] == [flac, wav, None]
    assert len(tree) == 2 and notes == []
    assert speaker_of("1089-134686-0000") == "1089"


def test_flac_goes_before_wav_and_then_the_first(tmp_path: Path) -> None:
    for name in ("a/1-2-0000.wav", "b/1-2-0000.flac", "c/1-2-0000.flac", "c/1-2-0001.wav", "d/1-2-0001.flac"):
        put(tmp_path / name)
    tree, notes = scanned(tmp_path)
    assert place(tree, "1-2-0000") == tmp_path / "b/1-2-0000.flac"
    assert place(tree, "1-2-0001") == tmp_path / "d/1-2-0001.flac"
    assert tree.twice == {"1-2-0000": tmp_path / "c/1-2-0000.flac"}
    swapped, _ = scanned(tmp_path / "c", tmp_path / "b")
    assert place(swapped, "1-2-0000") == tmp_path / "c/1-2-0000.flac"
    assert notes == []


def test_links_lead_nowhere_but_below_the_folders(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    secret = put(outside / "9-9-0000.flac")
    inside = put(root / "a" / "1-2-0000.flac")
    (root / "1-2-0001.flac").symlink_to(inside)
    (root / "9-9-0001.flac").symlink_to(secret)
    (root / "folder").symlink_to(outside)
    (root / "gone").symlink_to(tmp_path / "gone")
    (root / "gone.txt").symlink_to(tmp_path / "gone")  # nothing that anybody asks for
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self").symlink_to(root / "a" / "self")
    tree, notes = scanned(root)
    assert place(tree, "1-2-0001") == root / "1-2-0001.flac" and place(tree, "1-2-0000") == inside
    assert place(tree, "9-9-0000") is place(tree, "9-9-0001") is None and tree.twice == {}
    assert sorted((Path(where).name, kind) for where, _, kind in notes) == [
        ("9-9-0001.flac", "path outside"),
        ("folder", "path outside"),
        ("gone", "broken link"),
        ("self", "broken link"),
    ]
    mend = f"name {str(outside)!r} as one more folder after {os.pathsep!r}"
    assert [mend in what for _, what, kind in notes if kind == "path outside"] == [True, True]
    both, notes = scanned(root, outside)
    assert place(both, "9-9-0000") == secret and place(both, "9-9-0001") == root / "9-9-0001.flac"
    assert {kind for _, _, kind in notes} == {"broken link"}


def test_the_folder_itself_may_be_a_link_and_lie_in_another(tmp_path: Path) -> None:
    put(tmp_path / "real" / "sub" / "1-2-0000.flac")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    tree, notes = scanned(tmp_path / "link", tmp_path / "real" / "sub", tmp_path / "real")
    assert place(tree, "1-2-0000") == tmp_path / "link/sub/1-2-0000.flac"
    assert tree.twice == {} and notes == []


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    tree, ((where, what, kind),) = scanned(tmp_path / "gone")
    assert (where, kind) == (str(tmp_path / "gone"), "unreadable folder")
    assert what == "the folder cannot be read: No such file or directory" and len(tree) == 0


def test_a_name_in_no_encoding_can_be_noted_and_stored(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff")).symlink_to("/")
    _, ((where, what, _),) = scanned(tmp_path)
    assert (where + what).encode()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"1-2-0000 HE SAID\n1-2-0001 NO\n", "HE SAID"),
        (b"\xef\xbb\xbf1-2-0000 HE SAID\r\n1-2-0001 NO\r\n", "HE SAID"),
        (b"1-2-0000\tHE  SAID \r\n", "HE  SAID"),
        (b"1-2-0000\n", None),
        (b"\n\n1-2-0001 NO", None),
        (b"1-2-0000 H\x85 SAID\x0b\n", "H\udc85 SAID"),
    ],
)
def test_transcripts(tmp_path: Path, content: bytes, says: str | None) -> None:
    written = put(tmp_path / "elsewhere" / "1-2.trans.txt", content)
    tree, _ = scanned(tmp_path)
    assert written not in tree.sources()
    assert tree.transcript("1-2-0000") == says and tree.transcript("1-3-0000") is None
    assert set(tree.sources()) == {tmp_path, tmp_path / "elsewhere", written}


def test_a_transcript_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    tree, _ = scanned(put(tmp_path / "1-2.trans.txt").parent)
    (tmp_path / "1-2.trans.txt").unlink()
    with pytest.raises(SpeechbenchError, match=r"1-2\.trans\.txt cannot be read: No such file"):
        tree.transcript("1-2-0000")


def test_progress_is_told_while_folders_are_looked_through(tmp_path: Path) -> None:
    for number in range(450):
        (tmp_path / str(number)).mkdir()
    told: list[tuple[str, int, int]] = []
    LibriSpeech([tmp_path]).scan(lambda *_: None, lambda *step: told.append(step))
    assert told == [("looking through folders", 200, 451), ("looking through folders", 400, 451)]


@pytest.mark.skipif(not REAL.is_dir(), reason="no copy of LibriSpeech here")
def test_the_real_tree() -> None:
    tree, notes = scanned(REAL)
    files = {path.stem: path for path in REAL.rglob("*.flac")}
    assert {utterance: place(tree, utterance) for utterance in files} == files
    assert len(tree) == len(files) and notes == [] and tree.twice == {}
    lines = [line for path in REAL.rglob("*.trans.txt") for line in path.read_text().splitlines()]
    transcripts = dict(line.split(" ", 1) for line in lines)
    assert {utterance: tree.transcript(utterance) for utterance in files} == {u: transcripts[u] for u in files}
