"""Every example in a browser: ordered, searched, compared by word, heard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from speechbench.leaderboard.page import write_page
from speechbench.leaderboard.store import Group

pytestmark = pytest.mark.slow  # together; the browser alone takes a second to start

ORDERS = ("gain", "loss", "disagreement", "a", "b", "id")
UNMARKED = """
return [...document.querySelectorAll('.answer dd')].map((answer) => {
  const copy = answer.cloneNode(true);
  copy.querySelectorAll('ins, del').forEach((mark) => mark.remove());
  return copy.textContent.split(/\\s+/).filter(Boolean);
});
"""
PLAY = """
window.player = document.querySelector('audio');
player.muted = true;
player.play().catch((error) => (window.failed = String(error)));
"""


def open_examples(browser: Any, url: str | None = None) -> None:
    browser.open("#view=examples", url=url)
    browser.wait("document.querySelectorAll('.example').length === 25")


def search(browser: Any, text: str, found: int) -> None:
    browser.set("Search texts and ids", text)
    browser.wait(f"document.querySelectorAll('.example').length === {found} && !document.querySelector('[aria-busy]')")


def test_examples_are_ordered_by_the_largest_difference_and_paged(browser: Any) -> None:
    open_examples(browser)
    assert browser.texts(".count") == ["60 examples; 1 to 25 shown"]
    texts = browser.texts(".scores tbody tr:last-child td.chosen")
    differences = [abs(float(text.replace("−", "-"))) for text in texts]
    assert differences == sorted(differences, reverse=True) and differences[0] > 0
    browser.click("[data-turn=on]")
    browser.wait("document.querySelector('.count').textContent.includes('26 to 50')")
    assert browser.value("document.querySelector('#announcer').textContent").endswith("26 to 50 shown")
    browser.set("Page", "3")
    browser.wait("document.querySelector('.count').textContent.includes('51 to 60')")
    assert browser.value("document.querySelector('[data-turn=on]').disabled")


def test_all_orders_show_all_examples(browser: Any) -> None:
    open_examples(browser)
    for order in ORDERS:
        browser.set("Order", order)
        browser.wait("!document.querySelector('[aria-busy]')")
        assert len(browser.texts(".example")) == 25, order
    assert browser.texts(".example h3")[:2] == ["e000<b>", "e001"]
    assert browser.value("[...document.querySelectorAll('.field')].filter((e) => e.hidden).length") >= 1
    browser.set("Order", "disagreement")
    assert browser.value("[...document.querySelectorAll('.controls .field')].every((e) => !e.hidden)")


def test_texts_and_ids_are_searched(browser: Any) -> None:
    open_examples(browser)
    search(browser, "E031", 1)
    assert browser.texts(".example h3") == ["e031"]
    search(browser, "nowhere", 0)
    assert browser.texts(".count") == ["0 examples with “nowhere”"]
    search(browser, "", 25)


def test_a_score_that_is_missing_is_no_number(browser: Any) -> None:
    open_examples(browser)
    search(browser, "e007", 1)
    assert [browser.texts(f".scores tbody tr:nth-child({row}) td")[1] for row in (1, 2, 3)] == ["–", "–", "–"]
    browser.set("Metric", "comet(model=tiny)")
    search(browser, "", 25)
    browser.set("Page", "3")
    browser.wait("[...document.querySelectorAll('.example h3')].at(-1)?.textContent === 'e007'")  # last


def test_differences_are_marked_by_word(browser: Any) -> None:
    open_examples(browser)
    browser.set("A", "sft-0")
    browser.set("B", "grpo-bleu-1")
    search(browser, "e012", 1)
    one, two = browser.run(UNMARKED)
    assert one == two and 0 < len(one) < 9  # what is not marked is the same
    shown = browser.texts(".answer dd")
    assert [len(text.split()) for text in shown] == [9, 9] and shown[0] != shown[1]
    for mark, line in (("del", "line-through"), ("ins", "underline")):
        assert browser.value(f"getComputedStyle(document.querySelector('.answer {mark}')).textDecorationLine") == line
    browser.set("Mark", "none")
    browser.wait("!document.querySelector('.answer ins, .answer del')")


def test_scripts_without_spaces_are_compared_by_character(browser: Any) -> None:
    open_examples(browser)
    browser.set("Mark", "reference")
    search(browser, "e001", 1)
    assert browser.texts(".answer:last-of-type ins") == ["私", "読んだ"]
    assert browser.texts(".answer:last-of-type del") == ["彼", "買った"]


def test_answers_that_were_cut_say_so(browser: Any) -> None:
    open_examples(browser)
    search(browser, "e020", 1)
    assert browser.texts(".answer .chip")[0] == "cut at the token limit"


def test_a_cell_leads_to_the_examples_behind_it(browser: Any) -> None:
    browser.open()
    browser.run("document.querySelectorAll('.matrix tbody tr')[2].querySelector('[data-key=wer] button').click()")
    browser.click("#cell .more a")
    browser.wait("document.querySelectorAll('.example').length === 25")
    assert browser.value("[...document.querySelectorAll('.controls select')].map((e) => e.value)").count("wer") >= 1
    assert "sft seed 0" in browser.texts(".answer dt")[0] and "grpo(bleu) seed 0" in browser.texts(".answer dt")[1]


def test_recordings_play(browser: Any) -> None:
    open_examples(browser)
    assert browser.value("[document.querySelector('audio').preload, document.querySelector('audio').readyState]") == [
        "none",
        0,
    ]
    browser.run(PLAY)
    browser.wait("window.failed || player.currentTime > 0.05")
    assert browser.value("window.failed ?? null") is None
    assert browser.value("player.duration") == pytest.approx(0.6, abs=0.05)


def test_embedded_recordings_play(
    browser: Any, found: list[Group], boards: list[dict[str, Any]], tmp_path: Path
) -> None:
    held = write_page(found, boards, tmp_path / "elsewhere.html", "embed")
    open_examples(browser, held.as_uri())
    browser.run(PLAY)
    browser.wait("window.failed || player.currentTime > 0.05")
    assert browser.value("window.failed ?? null") is None
    assert browser.value("player.currentSrc").startswith("data:audio/wav;base64,")
