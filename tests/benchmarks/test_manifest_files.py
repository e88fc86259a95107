"""Files of every format and in every bad shape: what is broken is named by its number, and the rest is read."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from speechbench.benchmarks.manifest_files import LONGEST_LINE, Record, check_suffix, read_records
from speechbench.errors import MissingError, SpeechbenchError, UsageError

GOOD = {"audio": "a.wav", "references": "Käse, „bitte“"}
LINE = json.dumps(GOOD, ensure_ascii=False).encode() + b"\n"


def read(path: Path) -> list[Record]:
    check_suffix(path)
    return list(read_records(path))


def of(folder: Path, name: str, content: bytes) -> list[Record]:
    path = folder / name
    path.write_bytes(content)
    return read(path)


def numbers(records: list[Record]) -> list[int]:
    """Of the lines that could be read, which hold what they should."""
    good = [record for record in records if record.defect is None]
    assert all(record.fields == GOOD for record in good)
    return [record.number for record in good]


def only_defect(records: list[Record]) -> Record:
    (bad,) = [record for record in records if record.defect is not None]
    return bad


@pytest.mark.parametrize(
    "content",
    [
        LINE * 2,
        b"\xef\xbb\xbf" + LINE * 2,
        LINE.replace(b"\n", b"\r\n") * 2,
        LINE + LINE.rstrip(),
        LINE + LINE.replace(b', "ref', b',\t  "ref'),
        LINE.replace(b"\n", b"\r") * 2,
    ],
)
def test_jsonl_in_every_spelling(tmp_path: Path, content: bytes) -> None:
    for name in ("m.jsonl", "m.NDJSON"):
        assert numbers(of(tmp_path, name, content)) == [1, 2]


def test_empty_lines_count_and_say_nothing(tmp_path: Path) -> None:
    assert numbers(of(tmp_path, "m.jsonl", b"\n" + LINE + b" \t\r\n\n" + LINE)) == [2, 5]
    found = of(tmp_path, "m.csv", b"\naudio\n\na.wav\n\r\nb.wav\n\n")
    assert [(record.number, record.fields) for record in found] == [(4, {"audio": "a.wav"}), (6, {"audio": "b.wav"})]


@pytest.mark.parametrize(
    ("line", "says", "kind"),
    [
        (b'{"audio": "a.wav"', "no JSON: .* at character 18, where the line ends", "bad line"),
        (b'{"audio": "a.w', "no JSON: Unterminated string", "bad line"),
        (b"{'audio': 1}", "no JSON: .* at character 2$", "bad line"),
        (b'{"a": 1} {"a": 2}', "no JSON: Extra data at character 10", "bad line"),
        (b'{"a": 1, "b": 2, "a": 3}', "no JSON: 'a' stands twice in it", "bad line"),
        (b'{"a": NaN}', "no JSON: NaN is no value", "bad line"),
        (b'{"a": -Infinity}', "no JSON: -Infinity is no value", "bad line"),
        (b'{"a": ' + b"9" * 5000 + b"}", r"no JSON: .*digits", "bad line"),
        (b"[" * 100_000, "no JSON: .*nested too deeply", "bad line"),
        (b'"audio"', r"must be a JSON object, \{\.\.\.\}", "bad line"),
        (b"[1]", "must be a JSON object", "bad line"),
        (b"\xef\xbb\xbf" + LINE[:-1], "no JSON", "bad line"),
        (b'{"a": "x\0y"}', "a NUL byte: take it out", "damaged text"),
        (b'{"a": "caf\xe9"}', "the byte 0xe9, which is no UTF-8: save the file as UTF-8", "damaged text"),
        (b'{"a": "' + b"x" * LONGEST_LINE + b'"}', "more than 16,777,216 characters", "damaged text"),
    ],
)
def test_after_a_bad_line_of_jsonl_the_next_is_read(tmp_path: Path, line: bytes, says: str, kind: str) -> None:
    found = of(tmp_path, "m.jsonl", LINE + line + b"\n" + LINE * 2)
    assert numbers(found) == [1, 3, 4]
    bad = only_defect(found)
    assert (bad.number, bad.kind) == (2, kind) and re.search(says, bad.defect or "")


def test_a_line_of_a_megabyte_is_a_line(tmp_path: Path) -> None:
    (record,) = of(tmp_path, "m.jsonl", json.dumps({"audio": "x" * (1 << 20)}).encode())
    assert len(record.fields["audio"]) == 1 << 20


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(("name", "delimiter"), [("m.csv", ","), ("m.tsv", "\t")])
def test_tables_as_pandas_writes_and_reads_them(
    tmp_path: Path, newline: str, mark: bytes, name: str, delimiter: str
) -> None:
    pandas = pytest.importorskip("pandas")
    texts = ['Yes, "he" did.', "a\tb", "NA", "", "two\nlines", '"', "ä", "x;y", " blank "]
    table = pandas.DataFrame({"audio": [f"{n}.wav" for n in range(len(texts))], "text": texts})
    content = table.to_csv(index=False, sep=delimiter, lineterminator=newline).encode()
    found = of(tmp_path, name, mark + content)
    expected = pandas.read_csv(tmp_path / name, sep=delimiter, dtype=str, na_filter=False).to_dict("records")
    assert [record.fields for record in found] == expected
    assert [record.number for record in found] == [2, 3, 4, 5, 6, 8, 9, 10, 11]


@pytest.mark.parametrize(
    ("row", "says", "number", "kind"),
    [
        (b"a.wav", "the row has 1 cell and the header 2 names", 3, "bad line"),
        (b"a.wav,x,y", "the row has 3 cells and the header 2 names: .* quotes where it holds commas", 3, "bad line"),
        (b'a.wav,"x"y', "the row is no CSV: ',' expected after", 3, "bad line"),
        (b'"a\n",x,y', "the row has 3 cells .*; the row goes on to line 4", 3, "bad line"),
        (b"a.wav,x\0y", "a NUL byte", 3, "damaged text"),
        (b"a.wav,caf\xe9", "the byte 0xe9, which is no UTF-8", 3, "damaged text"),
        (b'"a\n\n\xff",y', "the byte 0xff.*; the row goes on to line 5", 3, "damaged text"),
        (b"a.wav," + b"x" * 200_000, "a cell has more than 131,072 characters", 3, "bad line"),
    ],
)
def test_after_a_bad_row_the_next_is_read(tmp_path: Path, row: bytes, says: str, number: int, kind: str) -> None:
    good = b'a.wav,"' + GOOD["references"].encode() + b'"\n'
    found = of(tmp_path, "m.csv", b"audio,references\n" + good + row + b"\n" + good * 2)
    after = number + row.count(b"\n")
    assert numbers(found) == [2, after + 1, after + 2]
    bad = only_defect(found)
    assert (bad.number, bad.kind) == (number, kind) and re.search(says, bad.defect or "")


def test_an_open_quote_is_told_where_it_opens(tmp_path: Path) -> None:
    found = of(tmp_path, "m.csv", b'audio,references\na.wav,x\na.wav,"x\na.wav,y\na.wav,z\n')
    assert [record.number for record in found] == [2, 3]
    bad = only_defect(found)
    assert "a quote opens in it and is never closed" in (bad.defect or "")
    assert "; the row goes on to line 5" in (bad.defect or "")


@pytest.mark.parametrize(
    ("name", "content", "kind", "says"),
    [
        ("m.txt", b"", UsageError, r"must end in \.jsonl, \.ndjson, \.csv, \.tsv or \.parquet"),
        ("m", b"", UsageError, "must end in .* how it is written$"),
        ("m.json", LINE, UsageError, r"must end in .*; name it \.jsonl if it has one JSON object per line"),
        ("m.jsonl", b'[{"audio": "a.wav"}]', UsageError, "is one JSON text: write one JSON object per line"),
        ("m.jsonl", b'{\n"audio": "a.wav"\n}', UsageError, "is one JSON text"),
        ("m.jsonl", LINE.decode().encode("utf-16"), SpeechbenchError, "in UTF-16: save it as UTF-8"),
        ("m.csv", "audio,references\na,b\n".encode("utf-16"), SpeechbenchError, "in UTF-16"),
        ("m.csv", b"audio;references;split\na;b;c\n", UsageError, "separated by semicolons, not by commas: save"),
        ("m.csv", b"audio\treferences\na\tb\n", UsageError, r"separated by tabs, not by commas: name the file \.tsv"),
        ("m.tsv", b"audio,references\na,b\n", UsageError, "separated by commas, not by tabs: save"),
        ("m.csv", b"audio,split,audio\na,b,c\n", UsageError, "the name 'audio' stands twice in the header"),
        ("m.csv", b'"audio,split\n', UsageError, "the header is no CSV: a quote opens in it"),
        ("m.csv", b"audio,caf\xe9\n", SpeechbenchError, "in the header the line holds the byte 0xe9"),
        ("m.parquet", b"", SpeechbenchError, "cannot be read as Parquet: .*; write it anew"),
        ("m.parquet", b"PAR1" * 9, SpeechbenchError, "cannot be read as Parquet"),
    ],
)
def test_what_is_wrong_as_a_whole_is_one_sentence(
    tmp_path: Path, name: str, content: bytes, kind: type[SpeechbenchError], says: str
) -> None:
    with pytest.raises(kind, match=says) as caught:
        of(tmp_path, name, content)
    assert type(caught.value) is kind and str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


def parquet(folder: Path, table: Any) -> Path:
    from pyarrow.parquet import write_table

    path = folder / "m.parquet"
    write_table(table, path, row_group_size=700)
    return path


def test_parquet_is_read_as_pyarrow_reads_it(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    rows = [{"audio": f"{n}.wav", "references": ["x"] * (n % 3), "n": n, "deep": {"a": [n]}} for n in range(2500)]
    path = parquet(tmp_path, pyarrow.Table.from_pylist(rows))
    found = read(path)
    assert [record.fields for record in found] == rows
    assert [record.number for record in found] == list(range(1, 2501))


def test_a_bad_row_of_parquet_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    texts = [b"x"] * 1500
    texts[1203] = b"caf\xe9"
    column = pyarrow.Array.from_buffers(pyarrow.string(), 1500, pyarrow.array(texts).buffers())
    found = read(parquet(tmp_path, pyarrow.table({"audio": column})))
    bad = only_defect(found)
    assert (bad.number, bad.kind) == (1204, "damaged text") and "no UTF-8" in (bad.defect or "")
    assert [record.number for record in found] == list(range(1, 1501))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda pa: {"audio": pa.array([b"RIFF"])}, r"the column 'audio' holds bytes \(binary\): leave it out"),
        (lambda pa: {"audio": pa.array([{"bytes": b"RIFF", "path": "a.wav"}])}, "the column 'audio' holds bytes"),
        (lambda pa: {"x": pa.array([[b"ab"]], pa.list_(pa.binary(2)))}, "the column 'x' holds bytes"),
    ],
)
def test_columns_of_bytes_are_refused(tmp_path: Path, make: Callable[[Any], Mapping[str, Any]], says: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    with pytest.raises(UsageError, match=says):
        read(parquet(tmp_path, pyarrow.table(make(pyarrow))))


def test_parquet_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    with pytest.raises(UsageError, match="the name 'a' stands twice"):
        read(parquet(tmp_path, pyarrow.table([pyarrow.array(["x"])] * 2, names=["a", "a"])))


def test_parquet_that_is_cut_or_damaged_within_is_one_sentence(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    path = parquet(tmp_path, pyarrow.table({"audio": [f"{n}.wav" for n in range(3000)]}))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SpeechbenchError, match="cannot be read as Parquet"):
        read(path)
    path.write_bytes(whole[:4000] + bytes(len(whole) // 2) + whole[4000 + len(whole) // 2 :])
    with pytest.raises(SpeechbenchError, match="cannot be read as Parquet"):
        read(path)


def test_without_pyarrow_the_command_that_installs_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingError, match=r"a manifest in Parquet needs .*`pip install 'speechbench\[datasets\]'"):
        of(tmp_path, "m.parquet", b"PAR1")


def test_the_limit_of_cells_stays_the_csv_modules_own(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    of(tmp_path, "m.csv", b"audio\na.wav\n")
    assert csv.field_size_limit() == before
