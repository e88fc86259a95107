import json
from pathlib import Path
from typing import Any

import pytest

from speechbench.benchmarks.librisqa_files import LibriSQAFolder, source_of
from speechbench.errors import MissingError, SpeechbenchError, UsageError

WHOLE = json.dumps([{"speech_path": "1-2-0000.wav", "question": "Who?"}, {"speech_path": "1-2-0001.wav"}])


def write(root: Path, content: str | bytes, part: int = 1, name: str = "test") -> Path:
    path = root / f"LibriSQA-Part{'I' * part}" / f"LibriSQA-Part{'I' * part}-{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_rows_come_with_file_and_number(tmp_path: Path) -> None:
    first = write(tmp_path, WHOLE)
    second = write(tmp_path, b"\xef\xbb\xbf" + WHOLE.replace("Who", "Where").encode(), part=2, name="train")
    folder = LibriSQAFolder(tmp_path)
    rows: list[Any] = json.loads(WHOLE)
    assert list(folder.rows(1, "test")) == [(f"{first}, row 1", rows[0]), (f"{first}, row 2", rows[1])]
    assert next(row for _, row in folder.rows(2, "train"))["question"] == "Where?"
    assert {first, second} <= set(folder.sources())
    assert folder.identity() == LibriSQAFolder(tmp_path).identity() != LibriSQAFolder(tmp_path / "x").identity()


def test_files_may_lie_in_the_folder_itself(tmp_path: Path) -> None:
    (tmp_path / "LibriSQA-PartI-test.json").write_text(WHOLE)
    folder = LibriSQAFolder(tmp_path)
    assert len(list(folder.rows(1, "test"))) == 2 and tmp_path / "LibriSQA-PartI-test.json" in folder.sources()


def test_one_file_of_a_part_is_enough_and_the_other_is_waited_for(tmp_path: Path) -> None:
    write(tmp_path, WHOLE)
    folder = LibriSQAFolder(tmp_path)
    assert list(folder.rows(1, "train")) == []
    assert write(tmp_path, WHOLE, name="train") in folder.sources()
    with pytest.raises(MissingError, match=r"there is no .*PartII-test\.json; run `hf download ZihanZhao/LibriSQA"):
        list(folder.rows(2, "test"))
    file = folder.path(1, "test")
    with pytest.raises(UsageError, match=r"root=.*PartI-test\.json is a file: name the folder"):
        list(LibriSQAFolder(file).rows(1, "test"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (WHOLE[:-30], r"no JSON, or was cut off: .*line 1 column \d+ \(char \d+\); download"),
        ("", r"no JSON, or was cut off: Expecting value: line 1 column 1"),
        (WHOLE + WHOLE, "no JSON, or was cut off: Extra data"),
        (json.dumps({"rows": []}), "holds no JSON list"),
        ("[" * 200_000, "nest too deep"),
        (WHOLE.replace("Who", "W\xfc").encode("latin-1"), r"the byte 0xfc at position \d+ is no UTF-8"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS's stand-in .* `git lfs pull`"),
        ('[{"duration": ' + "1" * 5000 + "}]", None),
    ],
)
def test_a_file_that_is_none_is_one_sentence(tmp_path: Path, content: str | bytes, says: str | None) -> None:
    path = write(tmp_path, content)
    try:
        rows = list(LibriSQAFolder(tmp_path).rows(1, "test"))
    except SpeechbenchError as error:
        assert "\n" not in str(error)
        said = str(error)
    else:
        assert says is None and len(rows) == 1  # older Pythons read numbers of any length
        return
    with pytest.raises(SpeechbenchError, match=says or "no JSON"):
        list(LibriSQAFolder(tmp_path).rows(1, "test"))
    assert said.startswith(str(path)) and "download it anew" in said


def test_a_revision_is_of_the_hub_alone(tmp_path: Path) -> None:
    assert isinstance(source_of(1, str(tmp_path), None), LibriSQAFolder)
    with pytest.raises(UsageError, match=r"revision='main' .* is a folder: leave it out"):
        source_of(1, str(tmp_path), "main")
