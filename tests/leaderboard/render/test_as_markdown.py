"""The board in Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechbench.leaderboard import Board, to_markdown
from speechbench.leaderboard.differences import differences
from speechbench.leaderboard.render import texts

Renamed = Callable[[str], Board]


def tables(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.startswith("|")]


def columns_of(line: str) -> int:
    return re.sub(r"\\.", "", line).count("|") - 1


def check(board: Board, text: str) -> None:
    """Every table is as wide as its heading, and nothing but our own markup is markup."""
    shown, metrics = len(texts.shown(board)), len(texts.metrics(board))
    widths = [columns_of(line) for line in tables(text)]
    first, tests, gains = 2 + len(board.rows), len(differences(board)), len(board.goodhart)
    assert widths == [
        *[1 + shown] * first,
        *[1 + metrics] * (2 + tests) * (tests > 0),
        *[4 + metrics] * (2 + gains) * (gains > 0),
    ]
    bare = re.sub(r"\\.", "", text)
    assert set(re.findall(r"<[^>]*>", bare)) <= {"<br>", "<sub>", "</sub>"}
    assert re.sub(r"<br>|</?sub>", "", bare).count("<") == 0 and "`" not in bare and "[" not in bare
    assert bare.count("**") % 2 == 0


def test_there_are_tables_of_scores_differences_and_gains(board: Board) -> None:
    text = to_markdown(board)
    check(board, text)
    lines = tables(text)
    assert "comet\\[tiny\\] ↑" in lines[0] and lines[1].startswith("| --- | ---: |")
    best = board.rows[2].cells[0]
    assert best.best and f"**{best.value:.1f}**\\*▲†<br><sub>" in lines[4]
    test = best.base
    assert test is not None and f"{test.difference:+.1f}, p={test.p_holm:.2g}" in text
    own = board.goodhart[0].own_gain
    assert own is not None and f"| {100 * own:+.1f}% |" in text
    assert text.splitlines()[-1].startswith("- ") and text.endswith("\n")
    assert board._repr_markdown_() == text


def test_without_tests_and_gains_there_is_one_table(board: Board) -> None:
    rows = tuple(
        replace(row, cells=tuple(replace(cell, base=None, sft=None, control=None) for cell in row.cells))
        for row in board.rows
    )
    alone = replace(board, rows=rows, goodhart=())
    check(alone, to_markdown(alone))
    assert len(tables(to_markdown(alone))) == 2 + len(board.rows)


def test_differences_have_the_decimals_of_their_column(board: Board) -> None:
    columns = (replace(board.columns[0], decimals=3), *board.columns[1:])
    test = board.rows[2].cells[0].base
    assert test is not None and f"{test.difference:+.3f}, p" in to_markdown(replace(board, columns=columns))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", "a\\|b"),
        ("<script>x</script>", "\\<script\\>x\\</script\\>"),
        ("[x](javascript:y)", "\\[x\\](javascript:y)"),
        ("**b** `c` _d_ #e &amp;", "\\*\\*b\\*\\* \\`c\\` \\_d\\_ \\#e \\&amp;"),
        ("~~a~~ $b$", "\\~\\~a\\~\\~ \\$b\\$"),
        ("a\n| b |", "a\\\\n\\| b \\|"),
        ("\\|", "\\\\\\|"),
    ],
)
def test_names_are_text(renamed: Renamed, text: str, expected: str) -> None:
    made = renamed(text)
    markdown = to_markdown(made)
    check(made, markdown)
    assert f"\n| {expected} | " in markdown and f"\n- {expected}\n" in markdown


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=30) | st.text("|\\<>[]*_`#&ab \n", max_size=12))
def test_any_name_is_only_text(renamed: Renamed, text: str) -> None:
    made = renamed(text)
    check(made, to_markdown(made))


def test_what_was_named_to_do_harm_only_stands_there(hostile: Board) -> None:
    check(hostile, to_markdown(hostile))
    assert not set(to_markdown(hostile)) & {"\x1b", "\x07", "\u202e"}
