"""The dialect of CoVoST's and Common Voice's tables, against pandas with the official script's arguments."""

import csv
import io
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from speechbench.benchmarks.tsv import LONGEST_CELL, damage, read_tsv
from speechbench.errors import SpeechbenchError

COLUMNS = ("path", "sentence", "client_id")
# What a naive reader trips over, and letters of all widths; no NUL, at which pandas ends a cell.
TEXT = st.text(st.sampled_from("a\"'\\\t\n\r ,é€😀\u2028\u00a0\ufeff#NA0"), max_size=6)


def official(content: bytes) -> list[tuple[str, ...]]:
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(
        io.BytesIO(content),
        sep="\t",
        header=0,
        encoding="utf-8",
        escapechar="\\",
        quoting=csv.QUOTE_NONE,
        na_filter=False,
        dtype=str,
    )
    return [tuple(row) for row in table[list(COLUMNS)].itertuples(index=False)]


def read(path: Path) -> list[tuple[str, ...]]:
    return [cells for _, cells in read_tsv(path, COLUMNS)]


def escaped(cell: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\\t\n\r" else letter for letter in cell)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(TEXT, TEXT, TEXT, TEXT), max_size=5),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.booleans(),
    last=st.booleans(),
)
def test_what_is_written_is_read_as_pandas_reads_it(
    tmp_path: Path, rows: list[tuple[str, ...]], end: str, mark: bool, last: bool
) -> None:
    lines = ["client_id\tpath\tsentence\tvotes", *("\t".join(map(escaped, row)) for row in rows)]
    text = end.join(lines) + (end if last else "")
    assume(not text.endswith(("\\\n", "\\\r")))  # it reads on: that is an error of its own
    content = (b"\xef\xbb\xbf" if mark else b"") + text.encode()
    (tmp_path / "table.tsv").write_bytes(content)
    expected = [(path, sentence, client) for client, path, sentence, _ in rows]
    assert read(tmp_path / "table.tsv") == expected
    if end != "\r":  # after which pandas drops what begins with a tab or a space
        assert official(content) == expected


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.sampled_from('ab\\\t\n "'), max_size=30))
def test_whatever_pandas_can_read_is_read_alike(tmp_path: Path, text: str) -> None:
    """Tabs and backslashes anywhere; rows that are shorter than the header are filled by pandas, with nothing."""
    pandas = pytest.importorskip("pandas")
    content = f"path\tsentence\tclient_id\nx\ty\tz\n{text}\tlast\tcells\n".encode()
    (tmp_path / "table.tsv").write_bytes(content)
    try:
        expected = official(content)
    except pandas.errors.ParserError:  # a row with more cells than the header
        assert any(len(row) > 3 for row in read(tmp_path / "table.tsv"))
        return
    found = [row for row in read(tmp_path / "table.tsv") if any(cell.strip(" ") for cell in row)]
    padded = [row + ("",) * (3 - len(row)) for row in found]
    there = [tuple("" if isinstance(cell, float) else cell for cell in row) for row in expected]
    assert padded == [row for row in there if any(cell.strip(" ") for cell in row)]


def test_rows_that_do_not_fit_are_told_by_their_length(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text("\n\npath\tsentence\tclient_id\tvotes\na\tb\tc\n\nd\te\nf\tg\th\t1\t2\ni\nj\tk\tl")
    assert list(read_tsv(path, COLUMNS)) == [
        (4, ("a", "b", "c")),
        (6, ("d", "e")),
        (7, ("f", "g", "h", "")),
        (8, ("i",)),
        (9, ("j", "k")),  # the file ends here, perhaps in the midst of a client id
    ]
    path.write_text("votes\tclient_id\tpath\tsentence\n1\tb")
    assert read(path) == [()]
    path.write_text("path\tsentence\tclient_id\tage\tvotes\na\tb\tc\tfif")
    assert read(path) == [("a", "b", "c")]  # what is cut is not wanted


def test_what_is_no_text_is_found(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_bytes(b"path\tsentence\tclient_id\na\tone\0two\tx\nb\tw\xfcrde\tx\nc\t\\\\\0\tx\nd\tw\xc3\xbcrde\tx\n")
    assert [(row[0], damage(row)) for row in read(path)] == [
        ("a", "holds a NUL byte"),
        ("b", "holds bytes that are no UTF-8"),
        ("c", "holds a NUL byte"),
        ("d", None),
    ]


@settings(deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=3))
def test_damage_is_what_cannot_be_written_as_text(cells: list[str]) -> None:
    def is_bad(cell: str) -> bool:
        return "\0" in cell or "\ufffe" in cell or any("\ud800" <= letter <= "\udfff" for letter in cell)

    assert (damage(cells) is not None) == any(map(is_bad, cells))


def test_lines_that_have_run_together(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text(f"path\tsentence\tclient_id\na\t{'b' * 1_000_000}\tc\nd\te\tf\n\\\\g\t{'h' * 1_000_000}\ti\n")
    tracemalloc.start()
    rows = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000
    assert [damage(row) for row in rows] == [
        says := "holds 1,000,000 characters, as where lines have run together",
        None,
        says,
    ]
    assert damage(("x" * LONGEST_CELL, "y")) is None
    assert csv.field_size_limit() < 1_000_000  # as it was: other code's tables are none of ours


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", r"no column 'path', only none; download it anew"),
        (b"\n\n", r"no column 'path', only none"),
        (b"path\tsentence\n", r"no column 'client_id', only path, sentence; download"),
        ("path\tsentence\tclient_id\n".encode("utf-16"), r"no column 'path', only "),
        (b"\x89PNG\r\n\x1a\n\0\0\xff", r"no column 'path', only "),
        (b"path\tsentence\tclient_id\na\tb\tc\\", r"cannot be read: unexpected end of data; download it anew"),
    ],
)
def test_what_is_no_such_table_is_one_sentence(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "table.tsv").write_bytes(content)
    with pytest.raises(SpeechbenchError, match=rf"table\.tsv.*{says}") as error:
        read(tmp_path / "table.tsv")
    str(error.value).encode()  # can be printed


def test_a_folder_or_nothing_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "folder.tsv").mkdir()
    for name in ("folder.tsv", "nothing.tsv"):
        with pytest.raises(SpeechbenchError, match=rf"{name} cannot be read"):
            read(tmp_path / name)
    (tmp_path / "table.tsv").write_text("path\tsentence\tclient_id\n")
    assert read(tmp_path / "table.tsv") == []
