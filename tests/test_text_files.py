"""Plain text files as they come."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbench.errors import UsageError
from speechbench.text_files import check_aligned, name_of, read_lines

LINES = st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\ntwo", ["one", "two"]),
        (b"\xef\xbb\xbfone\r\ntwo\r\n", ["one", "two"]),
        (b"one\n\ntwo\n\n", ["one", "", "two", ""]),
        (b"\n", [""]),
        (
            "a\u2028b\x85c\x0bd\n\u05e9\u05dc\u05d5\u05dd 👩‍🚀 e\u0301\n".encode(),
            ["a\u2028b\x85c\x0bd", "שלום 👩‍🚀 e\u0301"],
        ),
        (b"a\rb\n", ["a\rb"]),
    ],
)
def test_lines_are_what_stands_between_line_ends(tmp_path: Path, content: bytes, lines: list[str]) -> None:
    (tmp_path / "file.txt").write_bytes(content)
    assert read_lines(tmp_path / "file.txt") == lines


@given(LINES, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_was_written_is_read(lines: list[str], end: str, has_mark: bool) -> None:
    content = ("\ufeff" * has_mark + "".join(line + end for line in lines)).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        read = read_lines("-")
    assert read == ([lines[0].removeprefix("\ufeff") if not has_mark else lines[0], *lines[1:]])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"file\.txt is empty"),
        (b"\xef\xbb\xbf", r"file\.txt is empty"),
        (b"\xef\xbb\xbfab\ncd\n\xffx", r"file\.txt, line 3: the byte 0xff is no UTF-8"),
        (b"fine\nfine\nM\xfcnchen\n", r"file\.txt, line 3: the byte 0xfc is no UTF-8: save the file as UTF-8"),
        ("eins\n".encode("utf-16"), r"file\.txt, line 1: the byte 0x.. is no UTF-8"),
    ],
)
def test_what_is_no_text_is_told_by_file_and_line(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "file.txt").write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read_lines(tmp_path / "file.txt")


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no file .*nowhere\.txt: name a text file"):
        read_lines(tmp_path / "nowhere.txt")
    with pytest.raises(UsageError, match="is a folder: name a text file"):
        read_lines(str(tmp_path))
    assert name_of("-") == "standard input" and name_of(tmp_path) == str(tmp_path)


def test_the_first_line_without_a_counterpart_is_named() -> None:
    check_aligned([("a.txt", ["x"] * 3), ("b.txt", ["y"] * 3)])
    for texts in ([("a.txt", ["x"] * 3), ("b.txt", list("wxyz"))], [("b.txt", list("wxyz")), ("a.txt", ["x"] * 3)]):
        with pytest.raises(UsageError, match=r"a\.txt has 3 lines and b\.txt has 4, so line 4 of b\.txt \('z'\)"):
            check_aligned(texts)
