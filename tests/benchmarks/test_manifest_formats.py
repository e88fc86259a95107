"""The same lines in every format are the same examples."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechbench.benchmarks.fingerprint import fingerprint
from speechbench.benchmarks.manifest import Manifest

pyarrow = pytest.importorskip("pyarrow")
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
lines = st.fixed_dictionaries(
    {
        "audio": st.just("a.wav"),
        "references": texts.filter(str.strip),
        "split": st.just("train"),
        "target_language": st.sampled_from(["de", "en", "zh-CN"]),
    },
    optional={
        "instruction": texts,
        "source": texts,
        "speaker": texts,
        "topic": texts,
        "other column": texts,
    },
)


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("speechbench.benchmarks.index_building.SETTLES", 0)  # nothing changes as it is read
    soundfile.write(tmp_path / "a.wav", np.ones(1600) * 0.1, 16000)


def write(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    from pyarrow.parquet import write_table

    names = list(dict.fromkeys(name for row in rows for name in row))
    for delimiter, name in ((",", "m.csv"), ("\t", "m.tsv")):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, names, delimiter=delimiter)
            table.writeheader()
            table.writerows(rows)
    (folder / "m.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    write_table(pyarrow.Table.from_pylist([{**dict.fromkeys(names), **row} for row in rows]), folder / "m.parquet")


@pytest.mark.slow
@given(st.lists(lines, min_size=1, max_size=4))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_format_gives_the_same_examples(tmp_path: Path, written: Sequence[dict[str, Any]]) -> None:
    rows = [{"id": str(number), **record} for number, record in enumerate(written)]
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    write(folder, rows)
    found = [Manifest(str(folder / f"m.{name}"), audio=str(tmp_path)) for name in ("jsonl", "csv", "tsv", "parquet")]
    expected = found[0].load("train")
    for row, example in zip(rows, expected, strict=True):
        assert (example.id, example.references) == (row["id"], (row["references"],))
        assert dict(example.columns) == {name: row[name] for name in ("topic", "other column") if row.get(name)}
    for other in found[1:]:
        assert other.load("train") == expected
        assert fingerprint(other.load("train")) == fingerprint(expected)
        assert (other.target_language, other.expected_counts()) == (found[0].target_language, {"train": len(rows)})
        other.refuse_problems()
