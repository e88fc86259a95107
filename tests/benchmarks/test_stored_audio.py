import hashlib
import io
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.examination import examine
from speechbench.benchmarks.stored_audio import StoredAudio
from speechbench.errors import SpeechbenchError

pyarrow = pytest.importorskip("pyarrow")

RATES = {"FLAC": 16_000, "WAV": 8_000, "MP3": 32_000, "OGG": 48_000}


def tone(form: str, seconds: float = 0.4) -> bytes:
    rate = RATES[form]
    file = io.BytesIO()
    soundfile.write(file, 0.4 * np.sin(2 * np.pi * 330 * np.arange(int(rate * seconds)) / rate), rate, format=form)
    return file.getvalue()


def store(path: Path, cells: list[bytes | None]) -> list[StoredAudio]:
    """An Arrow file as `datasets` writes them, in batches of two rows: a stream, not pyarrow's own file format."""
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    column = pyarrow.array([{"bytes": cell, "path": "a.mp3"} for cell in cells], kind)
    table = pyarrow.table({"id": list(map(str, range(len(cells)))), "audio": column})
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=2)
    return [StoredAudio(path / "test" / str(7 + row), None, "owner/name", before=7) for row in range(len(cells))]


def test_every_row_decodes_as_the_same_bytes_in_a_file(tmp_path: Path) -> None:
    contents = [tone(form) for form in RATES]
    stored = store(tmp_path / "a.arrow", contents)
    for form, content, audio in zip(RATES, contents, stored, strict=True):
        (tmp_path / form).write_bytes(content)
        expected, rate = soundfile.read(tmp_path / form, dtype="float32")
        np.testing.assert_array_equal(audio.samples(rate), expected)
        np.testing.assert_array_equal(audio.samples(16_000), Audio(tmp_path / form).samples(16_000))
        assert audio.content() == content
        assert audio.examine() == Audio(tmp_path / form).examine()


def test_what_cannot_be_used_is_named_by_its_row(tmp_path: Path) -> None:
    whole = tone("FLAC")
    stored = store(tmp_path / "a.arrow", [b"", b"no audio" * 99, whole[: len(whole) // 2], None, whole])
    defects = [examined.defect for examined in examine(stored)]
    assert [said is None for said in defects] == [False, False, False, False, True]
    for says, said in zip(("is empty", "cannot be decoded", "cut off", "is missing"), defects[:4], strict=True):
        assert said is not None and says in said
    with pytest.raises(SpeechbenchError, match=r"^audio of row 7 of test of owner/name is empty"):
        stored[0].samples(16_000)
    with pytest.raises(SpeechbenchError, match="row 10 of test of owner/name is missing"):
        stored[3].content()
    beyond = StoredAudio(tmp_path / "a.arrow" / "test" / "12", None, "owner/name", before=7)
    with pytest.raises(SpeechbenchError, match=r"row 12 .*a\.arrow is damaged or another"):
        beyond.content()
    gone = StoredAudio(tmp_path / "b.arrow" / "test" / "7", None, "owner/name", before=7)
    assert gone.examine().defect == "is missing"
    with pytest.raises(OSError):
        gone.stamp()


def test_another_recording_than_the_one_examined_is_refused(tmp_path: Path) -> None:
    (audio,) = store(tmp_path / "a.arrow", [tone("FLAC")])
    held = StoredAudio(audio.path, hashlib.sha256(audio.content()).hexdigest(), "owner/name", before=7)
    held.samples(16_000)
    before = held.stamp()
    store(tmp_path / "a.arrow", [tone("WAV")])
    assert held.stamp() != before
    with pytest.raises(SpeechbenchError, match="has changed since"):
        held.samples(16_000)


def test_any_thread_and_process_reads_it(tmp_path: Path) -> None:
    contents = [tone("FLAC", 0.1 + row / 50) for row in range(30)]
    stored = store(tmp_path / "a.arrow", contents)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(StoredAudio.content, stored * 5)) == contents * 5
    (tmp_path / "pickled").write_bytes(pickle.dumps(stored))
    code = """
import hashlib, pickle, sys
for audio in pickle.load(open(sys.argv[1], "rb")):
    print(hashlib.sha256(audio.content()).hexdigest())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "pickled"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [hashlib.sha256(content).hexdigest() for content in contents]


def test_it_is_told_from_others_by_its_place(tmp_path: Path) -> None:
    one, two = store(tmp_path / "a.arrow", [tone("FLAC"), tone("FLAC")])
    again = StoredAudio(one.path, "0" * 64, "the same under another name", before=7)
    assert one == again and hash(one) == hash(again)
    assert len({one, two, again}) == 2
    assert one != Audio(one.path)


@pytest.mark.parametrize("field", ["place of a cell", "length of the file", "everything"])
def test_a_damaged_arrow_file_is_an_error_and_no_crash(tmp_path: Path, field: str) -> None:
    (*_, audio) = store(tmp_path / "a.arrow", [bytes(100)] * 9)
    content = bytearray((tmp_path / "a.arrow").read_bytes())
    if field == "place of a cell":
        start = content.index(np.array([0, 100, 200], dtype="<i4").tobytes())
        content[start + 4 : start + 8] = np.array([2**31 - 1], dtype="<i4").tobytes()
    elif field == "length of the file":
        del content[len(content) // 2 :]
    else:
        content[:] = b"version https://git-lfs.github.com/spec/v1"
    (tmp_path / "a.arrow").write_bytes(content)
    with pytest.raises(SpeechbenchError, match=r"row 15 .*a\.arrow is damaged or another"):
        audio.content()
