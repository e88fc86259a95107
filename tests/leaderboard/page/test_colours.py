"""Contrast of the page's colours, computed as WCAG 2 has it, in the light and in the dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSS = Path(__file__).parents[3] / "speechbench" / "leaderboard" / "page" / "static" / "page.css"
SHADES = ("g1", "g2", "g3", "g4", "l1", "l2", "l3", "l4")
TEXT = [
    *[("ink", ground) for ground in ("page", "surface", "raised", "flag", "ins", "del", *SHADES)],
    *[(colour, ground) for colour in ("muted", "accent") for ground in ("page", "surface", "raised")],
    *[(colour, ground) for colour in ("better", "worse") for ground in ("page", "surface", "raised")],
    ("worse", "flag"),
]
GRAPHICS = [  # what is seen without being read: 3 to 1 will do
    *[(f"line-{number}", "page") for number in range(1, 7)],
    ("edge", "surface"),
    ("edge", "page"),
    ("better", "ins"),
    ("worse", "del"),
]


def colours(scheme: int) -> dict[str, str]:
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", CSS.read_text(encoding="utf-8"))
    return {name: values[scheme] for name, *values in pairs}


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_computed_as_published() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read(scheme: int) -> None:
    known = colours(scheme)
    low = {pair: contrast(known[pair[0]], known[pair[1]]) for pair in TEXT}
    assert {pair: value for pair, value in low.items() if value < 4.5} == {}


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_lines_and_edges_can_be_seen(scheme: int) -> None:
    known = colours(scheme)
    low = {pair: contrast(known[pair[0]], known[pair[1]]) for pair in GRAPHICS}
    assert {pair: value for pair, value in low.items() if value < 3} == {}
