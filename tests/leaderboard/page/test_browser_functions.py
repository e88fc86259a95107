"""Single functions of the page, run in a browser against Python's."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from speechbench.tables import interval_text, p_text

pytestmark = pytest.mark.slow  # together; the browser alone takes a second to start

CODE = Path(__file__).parents[3] / "speechbench" / "leaderboard" / "page" / "static" / "js"
WORDS = ["the", "cat", "sat", "on", "a", "mat", "der", "Hund", "，", "日", "本"]


def run(browser: Any, files: str, expression: str, *arguments: Any) -> Any:
    """The value of an expression, with some of the page's files before it."""
    code = "\n".join(next(CODE.glob(f"{name}-*.js")).read_text(encoding="utf-8") for name in files.split())
    return browser.run(f"{code}\nreturn {expression};", *arguments)


def common(a: list[str], b: list[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        above = row
        row = [0]
        for place, other in enumerate(b):
            row.append(above[place] + 1 if word == other else max(above[place + 1], row[place]))
    return row[-1]


def test_a_difference_gives_both_texts_back_and_marks_as_little_as_can_be(browser: Any) -> None:
    browser.open()
    rng = random.Random(0)
    pairs = [[" ".join(rng.choices(WORDS[:8], k=rng.randint(0, 12))) for _ in range(2)] for _ in range(300)]
    found = run(browser, "01 52", "arguments[0].map(([a, b]) => diff(a, b))", pairs)
    for (old, new), parts in zip(pairs, found, strict=True):

        def side(kinds: set[str], parts: list[dict[str, str]] = parts) -> list[str]:
            return " ".join(part["text"] for part in parts if part["kind"] in kinds).split()

        assert side({"same", "old"}) == old.split() and side({"same", "new"}) == new.split()
        assert len(side({"same"})) == common(old.split(), new.split())


def test_texts_are_taken_apart_by_script(browser: Any) -> None:
    browser.open()
    tokens = run(browser, "01 52", "arguments[0].map(tokensOf)", ["日本 is 東京、ok", "สวัสดี x", "naïve  café", ""])
    assert tokens[0] == ["日", "本", " ", "is", " ", "東", "京", "、ok"]
    assert len(tokens[1]) > 4 and tokens[1][-1] == "x"
    assert tokens[2] == ["naïve", "  ", "café"] and tokens[3] == []


def test_very_long_texts_are_not_compared_word_by_word(browser: Any) -> None:
    browser.open()
    parts = run(browser, "01 52", "diff('a '.repeat(3000) + 'x', 'b '.repeat(3000) + 'x')")
    assert [part["kind"] for part in parts] == ["old", "new", "same"]


def test_figures_are_worded_as_in_the_terminal(browser: Any) -> None:
    browser.open()
    values = [1.0, 0.5, 0.045, 0.0045, 0.00012345, 0.0001, 0.00005]
    shown = run(browser, "01 03", "arguments[0].map(pText)", values)
    assert [text.replace("\u00a0", "") for text in shown] == [p_text(value) for value in values]
    pairs = [(1.25, 2.5), (-0.3, 1.2), (-3.0, -1.0)]
    shown = run(browser, "01 03", "arguments[0].map((pair) => intervalText(pair, 1))", pairs)
    assert [text.replace("−", "-") for text in shown] == [interval_text(pair, 1) for pair in pairs]
    halves = [place / 16 for place in range(-80, 81)] + [0.15, 0.25, 2.675, 1e7 / 3]
    for decimals in (0, 1, 3):
        shown = run(browser, "01 03", "arguments[0].map((x) => fixed(x, arguments[1]))", halves, decimals)
        assert [text.replace("−", "-") for text in shown] == [
            f"{round(x, decimals) + 0.0:.{decimals}f}" for x in halves
        ]
    assert run(browser, "01 03", "[fixed(-0.04, 1), signed(0.04, 1), signed(-2, 1), thousands(1234567)]") == [
        "0.0", "0.0", "−2.0", "1,234,567",
    ]  # fmt: skip


def test_equal_scores_share_their_rank(browser: Any) -> None:
    browser.open()
    expression = "Array.from(ranksOf(Float64Array.from(arguments[0], (x) => x ?? NaN), 1), (x) => x)"
    assert run(browser, "01 51", expression, [30, 10, None, 10, 20]) == [
        1,
        0.5 / 3,
        None,
        0.5 / 3,
        pytest.approx(2 / 3),
    ]


def test_smoothing_shifts_nothing(browser: Any) -> None:
    browser.open()
    line = run(browser, "01 03 40", "smoothed(arguments[0], 5)", [1, 2, 3, 4, 5, 6, 7])
    assert line == [1, 2, 3, 4, 5, 6, 7]
    assert run(browser, "01 03 40", "smoothed(arguments[0], 3)", [0, 3, None, 3, 0]) == [0, 1.5, None, 1.5, 0]


def test_only_recordings_beside_the_page_are_linked(browser: Any) -> None:
    browser.open()
    sources = ["./a.wav", "../b.wav", "file:///c.wav", "javascript:alert(1)", "//evil/x", "https://evil/x", "data:x"]
    expression = "arguments[0].map((audio) => recording({}, {audio, id: 'x'})?.getAttribute('src') ?? null)"
    found = run(browser, "01 02 53", expression, sources)
    assert json.dumps(found) == json.dumps([*sources[:3], None, None, None, None])


def test_labels_are_no_markup_for_the_charts(browser: Any) -> None:
    browser.open()
    assert run(browser, "01 02 41", "plain('<b>R&D</b>')") == "&lt;b&gt;R&amp;D&lt;/b&gt;"
