"""What the tables share."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from speechbench.tables import counted, decimals_of, figure, fits, packed, printable


def test_figures_have_the_decimals_of_their_scale() -> None:
    assert [decimals_of(scale) for scale in (100, -25, 1)] == [1, 1, 3]
    assert [figure(value, 100) for value in (12.34, -0.04, 0.04, -0.06, None)] == ["12.3", "0.0", "0.0", "-0.1", "–"]
    assert [figure(value, 1) for value in (0.12345, 12.0, -0.0004)] == ["0.123", "12.000", "0.000"]


def test_one_is_one_and_all_else_is_several() -> None:
    assert [counted(number, "line") for number in (0, 1, 2)] == ["0 lines", "1 line", "2 lines"]


def test_tables_hold_as_many_columns_as_fit() -> None:
    def table_of(parts: object) -> Table:
        table = Table.grid(padding=(0, 1))
        table.add_row(*parts)  # type: ignore[misc]
        return table

    console = Console(width=10)
    parts = ["aaaa", "bbbb", "cc", "dddddddddddd", "e"]
    tables = packed(parts, table_of, console)
    assert [part for table in tables for part in table] == parts
    assert tables == [["aaaa", "bbbb"], ["cc"], ["dddddddddddd"], ["e"]]
    assert [fits(table_of(table), console) for table in tables] == [True, True, False, True]
    assert packed([], table_of, console) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Straße – 我喜歡\u00a0½ 👩\u200d🔬 سلام", None),  # joiners and letters of any direction are only read
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x1b[2J\x9b31m", "\\x1b[2J\\x9b31m"),
        ("a\nb\r\tc\x7f", "a\\nb\\r\\tc\\x7f"),
        ("grpo(\u202eueld\u202c)", "grpo(\\u202eueld\\u202c)"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_would_act_in_a_terminal_is_written_out(text: str, expected: str | None) -> None:
    assert printable(text) == (text if expected is None else expected)


@given(st.text())
def test_nothing_printable_acts_and_nothing_harmless_is_changed(text: str) -> None:
    shown = printable(text)
    kinds = {unicodedata.category(character) for character in shown}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"}
    assert printable(shown) == shown
    assert printable(f"ä{text}") == f"ä{shown}"
    shown.encode()
