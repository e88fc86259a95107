"""The board in a browser: sorted, filtered, its tests opened; gains, curves and runs beside it."""

from __future__ import annotations

from typing import Any

import pytest

HOSTILE = "</script><img src=x onerror=alert(1)>"
ENTER, ESCAPE, TAB = "\ue007", "\ue00c", "\ue004"
ROWS = "[...document.querySelectorAll('.matrix tbody tr')]"
CELLS = f"return {ROWS}.map((r) => [...r.children].map((c) => c.textContent))"
OPEN = f"{ROWS}.find((r) => r.querySelector('.label').textContent === arguments[0]).querySelector(arguments[1]).click()"
GAINS = (
    "return [...document.querySelectorAll('.gains tbody tr')]"
    ".map((r) => [...r.children].map((c) => [c.innerText, c.className]))"
)
TICK_COLOUR = "document.querySelector('.plot .xtick text')?.style.fill"


def labels(browser: Any) -> list[str]:
    return browser.texts(".matrix tbody .label")  # type: ignore[no-any-return]


def figures(browser: Any) -> dict[str, list[str]]:
    """All cells by row, whatever the order of the rows."""
    return {row[0]: row[1:] for row in browser.run(CELLS)}


def dialog_of(browser: Any, label: str, key: str) -> str:
    browser.run(OPEN, label, f"[data-key={key}] button")
    text = browser.value("document.querySelector('#cell').innerText")
    browser.run("document.querySelector('#cell').close()")
    return str(text)


def test_the_matrix_is_a_table_that_reads_well(browser: Any) -> None:
    browser.open()
    assert browser.value("document.querySelector('.matrix caption').textContent").startswith("Scores on covost2-mini")
    assert browser.value("document.querySelectorAll('.matrix tbody th[scope=row]').length") == 6
    assert labels(browser)[:2] == ["base", "sft"]
    headings = browser.value("[...document.querySelectorAll('.matrix thead th[scope=col]')].map((e) => e.textContent)")
    assert headings[:2] == ["row", "BLEU ↑, higher is better"] and headings[3] == "WER ↓, lower is better"
    best = browser.value("[...document.querySelectorAll('[data-key=bleu] b')].map((e) => e.closest('tr').innerText)")
    assert len(best) == 1 and best[0].startswith("grpo(bleu)")
    row = next(cells for label, cells in figures(browser).items() if label.startswith("grpo(bleu)"))
    for part in ("*", "▲", "†", "trained on this metric", "better than base", "seeds ±1.2", "rank 1–2", "best"):
        assert part in row[0]
    assert row[3] == "1–2.5" and row[4] == "5.0%!, worse than sft" and row[6] == "2.0"
    assert int(browser.value("document.documentElement.dataset.ready")) < 2000


def test_sorting_orders_rows_and_leaves_the_tests_alone(browser: Any) -> None:
    browser.open()
    before, order, dialog = figures(browser), labels(browser), dialog_of(browser, "grpo(bleu)", "wer")

    def values() -> list[float]:
        texts = browser.value(
            "[...document.querySelectorAll('.matrix [data-key=wer] .value > :first-child')].map((e) => e.textContent)"
        )
        return [float(text) for text in texts if text != "–"]

    for direction in ("ascending", "descending"):
        browser.click("[data-sort=wer]")
        assert browser.value("document.querySelector('[data-sort=wer]').closest('th').ariaSort") == direction
        assert values() == sorted(values(), reverse=direction == "descending") and len(values()) == 5
        assert labels(browser)[-1] == "mixed-grpo(bleu)"  # has no score yet
        assert figures(browser) == before and dialog_of(browser, "grpo(bleu)", "wer") == dialog
    browser.click("[data-sort=wer]")
    assert labels(browser) == order
    browser.click("[data-sort=label]")
    assert labels(browser) == sorted(order)
    for key in browser.value("[...document.querySelectorAll('[data-sort]')].map((e) => e.dataset.sort)"):
        browser.click(f"[data-sort='{key}']")
    assert figures(browser) == before


def test_sorting_keeps_the_focus_and_the_place(browser: Any) -> None:
    browser.size(400)
    browser.open()
    browser.run("document.querySelector('[data-sort=wer]').focus(); document.querySelector('.scroll').scrollLeft = 170")
    browser.pause(0.1)
    browser.press(ENTER)
    assert browser.value("document.activeElement.dataset.sort") == "wer"
    assert browser.value("document.querySelector('.scroll').scrollLeft") == 170
    assert browser.value("document.querySelector('#announcer').textContent") == "sorted by WER ↓, ascending"


def test_rows_and_columns_are_filtered(browser: Any) -> None:
    browser.open()
    before = figures(browser)
    browser.set("Find rows", "comet")
    browser.wait("document.querySelector('.count').textContent === '4 of 6 rows'")
    assert labels(browser) == ["base", "sft", "grpo(comet(model=tiny))", "grpo(random)"]
    assert browser.value("document.querySelector('#announcer').textContent") == "4 of 6 rows"
    assert figures(browser).items() <= before.items()
    browser.tick("always show base, SFT and controls")
    assert labels(browser) == ["grpo(comet(model=tiny))"]
    browser.set("Find rows", "")
    browser.wait("document.querySelector('.count').textContent === '6 of 6 rows'")
    browser.set("Trainer", "mixed-grpo")
    assert labels(browser) == ["mixed-grpo(bleu)"]
    browser.set("Trainer", "")
    browser.set("Reward", "bleu")
    assert labels(browser) == ["grpo(bleu)", "mixed-grpo(bleu)"]
    browser.tick("cost")
    assert "training s" not in browser.texts(".matrix thead th")


def test_a_score_opens_its_tests_by_keyboard_and_gives_the_focus_back(browser: Any) -> None:
    browser.open()
    browser.run(f"{ROWS}[2].querySelector('button.figure').focus()")
    browser.press(ENTER)
    browser.wait("document.querySelector('#cell').open")
    text = browser.value("document.querySelector('#cell').innerText").replace("\u00a0", " ")
    for part in (
        "grpo(bleu) · BLEU ↑", "Against base", "Against SFT", "p = 0.004 over 21 tests", "p = 0.0004", "60, 4 speakers",
        "2,000 (bootstrap)", "4.5 with probability 0.8", "13.1–21.1 (pigeonhole", "n = 3", "seed 2", "Better:",
    ):  # fmt: skip
        assert part in text, part
    assert browser.value("document.querySelector('#cell').contains(document.activeElement)")
    browser.press(ESCAPE)
    browser.wait("!document.querySelector('#cell').open")
    assert browser.value("document.activeElement.className") == "figure"


def test_what_is_not_separable_is_never_called_equal(browser: Any) -> None:
    browser.open()
    everything = "".join(dialog_of(browser, label, key) for label in labels(browser) for key in ("bleu", "wer"))
    for sentence in ("Not separable from sft", "Better:", "Worse:", "There is no score yet."):
        assert sentence in everything
    assert "equal" not in everything and "same" not in everything


def test_the_skip_link_leads_to_the_table(browser: Any) -> None:
    browser.open()
    browser.press(TAB)
    assert browser.value("document.activeElement.id") == "skip"
    assert browser.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.press(ENTER)
    assert browser.value("document.activeElement.id") == "main"


def test_gains_are_a_table_with_shades_and_numbers(browser: Any) -> None:
    browser.open("#view=gains")
    first = browser.run(GAINS)[0]
    assert first[0][0] == "grpo(bleu)" and "own" in first[1][1].split()
    assert "*" in first[1][0] and "%" in first[1][0] and {"g3", "g4"} & set(first[1][1].split())
    assert "own" not in first[3][1] and {"g3", "g4"} & set(first[3][1].split())  # fewer errors are a gain
    assert "+20.0%" in first[4][0] and "−4.0%" in first[5][0] and "its own metrics alone" in first[6][0]
    assert "!" in first[7][0]


def test_curves_are_drawn_when_they_are_asked_for(browser: Any) -> None:
    browser.open()
    assert browser.value("typeof window.Plotly") == "undefined"
    browser.click("#views a[href*=curves]")
    browser.wait("document.querySelectorAll('.plot svg.main-svg').length >= 4")
    assert browser.texts(".chart h3")[0] == "reward"
    assert browser.value("document.querySelectorAll('.modebar-btn, .plotlyjsicon').length") == 0
    browser.tick("loss")
    browser.wait("[...document.querySelectorAll('.chart h3')].some((e) => e.innerText === 'loss')")
    browser.set("Seeds", "runs")
    names = "[...document.querySelectorAll('.chart:first-child .numbers tbody th')].map((e) => e.textContent)"
    browser.wait(f"{names}.includes('grpo(bleu) seed 2')")
    assert "mixed-grpo(bleu)" in browser.value(names)  # as far as it is
    figures_ = browser.value(
        "[...document.querySelectorAll('.chart:first-child .numbers td')].map((e) => e.textContent)"
    )
    assert len(figures_) == 4 * len(browser.value(names)) and all(figures_)
    extremes = "[...document.querySelectorAll('.chart:first-child .numbers td')].map((e) => e.textContent).join()"
    rough = browser.value(extremes)
    browser.set("Smoothing", "15")
    browser.wait(f"{extremes} && {extremes} !== '{rough}'")
    before = browser.wait(TICK_COLOUR)
    browser.run("document.documentElement.dataset.theme = 'dark'; document.dispatchEvent(new Event('theme'))")
    browser.wait(f"{TICK_COLOUR} && {TICK_COLOUR} !== '{before}'")


def test_a_run_shows_what_it_is_and_how_to_repeat_it(browser: Any) -> None:
    browser.open("#run=grpo-bleu-1")
    browser.wait("document.querySelector('.command')")
    checkout, train = browser.texts(".command")[0].splitlines()
    assert checkout == "git checkout 0123456789abcdef"
    assert train.startswith("speechbench train --trainer grpo --reward bleu --seed 1 --steps 30")
    text = browser.value("document.querySelector('#main').textContent")
    for part in (
        "learning_rate: 1.0e-05", "no commit holds", f"a warning {HOSTILE}", "torch", "2.00 GB", "✓ finished",
        "covost2-mini, test split",
    ):  # fmt: skip
        assert part in text, part
    assert browser.value("document.querySelector('#views [aria-current]').textContent") == "Runs"
    browser.driver.find_element("css selector", ".code button").click()  # as a person does, else nothing may be copied
    browser.wait("document.querySelector('.code button').textContent.includes('Copied')")


def test_a_run_that_is_not_finished_says_how_far_it_is(browser: Any) -> None:
    browser.open("#run=mixed-grpo-bleu-0")
    browser.wait("document.querySelector('.command')")
    text = browser.value("document.querySelector('#main').textContent")
    assert "unfinished" in text and "11 of 30 steps done" in text
    browser.open("#run=nothing")
    assert browser.texts("h2") == ["No such run"]


def test_broken_folders_are_listed(browser: Any) -> None:
    browser.open("#view=runs")
    text = browser.value("document.querySelector('#main').innerText")
    assert "/runs/<i>broken</i>" in text and HOSTILE in text and "… unfinished" in text


pytestmark = pytest.mark.slow  # together; the browser alone takes a second to start
