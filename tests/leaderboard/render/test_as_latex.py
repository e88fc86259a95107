"""The board in LaTeX."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechbench.leaderboard import Board, to_latex
from speechbench.leaderboard.render import texts

Renamed = Callable[[str], Board]
# All commands that a table of ours may hold: what lies outside was let in.
COMMANDS = {
    *("begin", "end", "centering", "caption", "toprule", "midrule", "bottomrule", "textbf", "scriptsize"),
    *("blacktriangle", "blacktriangledown", "dagger", "ddagger", "uparrow", "downarrow", "pm", "cdot", "geq", "alpha"),
    *("textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar", "textquotedbl"),
    *("textquotesingle", "textasciigrave"),
}  # fmt: skip


def check(text: str) -> None:
    """What LaTeX reads is balanced, and every command is one of ours."""
    first, *body = text.splitlines()
    assert first.startswith("% ")
    rest = "\n".join(body)
    assert set(re.findall(r"\\([a-zA-Z]+)", rest.replace("\\\\", ""))) <= COMMANDS
    bare = re.sub(r"\\\\|\\[{}$&#%_]", "", rest)  # line ends and escaped characters
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0 and bare.count("$") % 2 == 0
    assert not set(bare) & set('%#~`"')
    formulas = re.findall(r"\$([^$]*)\$", bare)
    outside = re.sub(r"\$[^$]*\$", "", bare)
    assert "^" not in outside and "_" not in outside and "^^" not in rest
    assert all("\n" not in formula for formula in formulas)
    columns = re.search(r"\\begin\{tabular\}\{(l r*|lr*)\}", rest)
    assert columns is not None
    lines = [line for line in rest.splitlines() if line.endswith("\\\\")]
    assert {re.sub(r"\\&", "", line).count("&") for line in lines} == {len(columns[1]) - 1}
    starts = {line.strip()[:1] for line in rest.splitlines()}
    assert not starts & {"[", "*"}  # these would be arguments of the line end before
    for environment in ("table", "tabular"):
        assert rest.count(rf"\begin{{{environment}}}") == rest.count(rf"\end{{{environment}}}") == 1


def test_metrics_and_ranks_stand_in_a_table(board: Board) -> None:
    text = to_latex(board)
    check(text)
    assert r"comet[tiny] $\uparrow$ & binary $\uparrow$ & rank \\" in text and r"\begin{tabular}{lrrrr}" in text
    lines = text.splitlines()
    for row in board.rows:
        (line,) = [line for line in lines if line.startswith(f"    {row.label} &")]
        for cell in row.cells[:3]:
            value = f"{cell.value:.1f}"
            assert (rf"\textbf{{{value}}}" if cell.level_with_best else value) in line
            low, high = cell.interval or (0, 0)
            assert f"[{low:.1f}, {high:.1f}]" in text
        if row.overall is not None:
            assert texts.rank(row.overall.low, row.overall.high).replace("–", "--") in line
    assert lines.index(r"    \midrule") < lines.index(next(its for its in lines if "grpo(random)" in its))
    assert text.count(r"\midrule") == 2  # under the heading, and before the controls


def test_marks_are_explained_in_the_caption(board: Board) -> None:
    text = to_latex(board)
    trained = next(line for line in text.splitlines() if line.startswith("    grpo(bleu) &"))
    assert r"$^{*\blacktriangle\dagger}$" in trained
    (caption,) = re.findall(r"\\caption\{(.*)\}\n", text)
    for said in (
        "60 test examples",
        "* the row was trained",
        r"$\blacktriangle$ better",
        r"$\dagger$ better",
        "24 planned tests",
    ):
        assert said in caption
    assert "one seed: ranks checkpoints" in caption
    assert "drawn by speaker (40)" in to_latex(replace(board, clusters=("speaker", 40)))
    several = replace(board, family=0, rows=tuple(row for row in board.rows if len(row.seeds) != 1))
    assert "better" not in to_latex(several) and "one seed" not in to_latex(several)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        (r"\write18{rm}", r"\textbackslash{}write18\{rm\}"),
        ("a$b$_c^^41", r"a\$b\$\_c\textasciicircum{}\textasciicircum{}41"),
        ("50% & #1 ~", r"50\% \& \#1 \textasciitilde{}"),
        ("\\\\ \\hline", r"\textbackslash{}\textbackslash{} \textbackslash{}hline"),
        ("Grüße – Żółć", "Grüße -- Żółć"),
        ("我", "U+6211"),
        ("a\nb", r"a\textbackslash{}nb"),
        ("\x1b[2J", r"\textbackslash{}x1b[2J"),
        ("ﬁ\u202e", r"U+FB01\textbackslash{}u202e"),
        ("[1em] x", "{}[1em] x"),
        ("*", "{}*"),
        ("a*b|c", r"a*b\textbar{}c"),
    ],
)
def test_names_are_text(renamed: Renamed, text: str, expected: str) -> None:
    made = to_latex(renamed(text))
    check(made)
    assert f"    {expected} & " in made and f" & {expected.removeprefix('{}')} $\\uparrow$" in made


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=30) | st.text("\\{}$%^&#_~'\"`<>|[]ab1 \n", max_size=15))
def test_any_name_is_only_text(renamed: Renamed, text: str) -> None:
    check(to_latex(renamed(text)))


def test_what_was_named_to_do_harm_only_stands_there(hostile: Board) -> None:
    check(to_latex(hostile))
    assert not set(to_latex(hostile)) & {"\x1b", "\x07", "\u202e"}
