"""The page for everyone and safely: phones, keyboards, the dark, hostile texts, no request to anywhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from speechbench.leaderboard.page import write_page
from speechbench.leaderboard.store import Group

pytestmark = pytest.mark.slow  # together; the browser alone takes a second to start

HOSTILE = "</script><img src=x onerror=alert(1)>"
VIEWS = ("matrix", "gains", "curves", "examples", "runs")
ADDRESSES = (*(f"#view={view}" for view in VIEWS), "#run=grpo-bleu-1")
NAMELESS = """
return [...document.querySelectorAll('button, a[href], input, select, audio, [role=region], nav, summary')]
  .filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.[0]?.textContent.trim()))
  .map((e) => e.outerHTML.slice(0, 120));
"""
LEVELS = """
return [...document.querySelectorAll('body > :not(dialog) :is(h1,h2,h3,h4,h5,h6)')].map((e) => Number(e.tagName[1]));
"""
STUB = """
const box = document.querySelector('.scroll');
box.scrollLeft = 200;
const stub = box.querySelector('tbody .stub');
return [box.scrollLeft, stub.getBoundingClientRect().left - box.getBoundingClientRect().left];
"""
GROUND = "getComputedStyle(document.documentElement).backgroundColor"


def open_whole(browser: Any, address: str, url: str | None = None) -> None:
    browser.open(address, url=url)
    browser.wait("!document.querySelector('[aria-busy]') && document.querySelector('main').innerText")
    if "curves" in address:
        browser.wait("document.querySelector('.plot svg')")


@pytest.mark.parametrize("address", ADDRESSES)
def test_hostile_texts_are_shown_and_never_run(browser: Any, address: str) -> None:
    open_whole(browser, address)
    if "examples" in address:
        browser.set("Search texts and ids", "onerror")
        browser.wait("document.querySelectorAll('.example').length === 1")
        assert HOSTILE in browser.value("document.querySelector('.answer dd').textContent")
    assert browser.value("document.querySelectorAll('main img, main i, main script, h3 b').length") == 0


@pytest.mark.parametrize("width", [360, 320])
def test_a_phone_never_scrolls_sideways(browser: Any, width: int) -> None:
    browser.size(width, 740)
    for address in ADDRESSES:
        open_whole(browser, address)
        assert browser.value("document.documentElement.scrollWidth") <= width, address


def test_on_a_phone_the_first_column_stays_and_the_dialog_fits(browser: Any) -> None:
    browser.size(360, 740)
    browser.open()
    scrolled, left = browser.run(STUB)
    assert scrolled == 200 and left < 3
    assert not browser.value("document.querySelector('.fold').open")  # controls are asked for
    browser.run("document.querySelectorAll('tbody tr')[2].querySelector('button.figure').click()")
    cell = "document.querySelector('#cell')"
    assert browser.value(f"{cell}.scrollWidth <= {cell}.clientWidth && {cell}.offsetWidth <= 360")


def test_light_and_dark_follow_the_system_and_the_button(browser: Any) -> None:
    light, dark = "rgb(251, 250, 247)", "rgb(23, 23, 22)"
    for scheme, expected in (("light", light), ("dark", dark)):
        browser.scheme(scheme)
        browser.open()
        assert browser.value(GROUND) == expected
    browser.click("#theme")
    assert browser.value(GROUND) == light and browser.texts("#theme") == ["○ light"]
    browser.open(fresh=False)
    assert browser.value("document.documentElement.dataset.theme") == "light"  # kept
    browser.scheme("")


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_part_has_a_name_and_headings_are_in_order(browser: Any, address: str) -> None:
    open_whole(browser, address)
    assert browser.run(NAMELESS) == []
    assert browser.value("[...document.querySelectorAll('input, select')].every((e) => e.labels.length)")
    levels = browser.run(LEVELS)
    assert levels[0] == 1 and levels.count(1) == 1 and 2 in levels
    assert all(after - before <= 1 for before, after in pairwise(levels)), levels
    ids = browser.value("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    for landmark in ("header", "nav", "main", "footer"):
        assert browser.value(f"document.querySelectorAll('body > {landmark}, body > header > {landmark}').length") == 1
    assert browser.value(
        "[...document.querySelectorAll('table')].every((t) => t.caption && t.querySelector('th[scope]'))"
    )


def test_nothing_leaves_the_page_and_a_file_never_asks_for_news(browser: Any) -> None:
    browser.open()
    browser.requests()
    for address in ADDRESSES:
        open_whole(browser, address)
    browser.pause(0.6)
    asked = browser.requests()
    assert asked and all(url.startswith(("file:", "data:", "blob:", "about:")) for url in asked)
    assert {url.split("#")[0] for url in asked if url.startswith("file:")} == {browser.url}


def test_boards_are_chosen_between(
    browser: Any, found: list[Group], boards: list[dict[str, Any]], tmp_path: Path
) -> None:
    second = {**boards[0], "benchmark": "other", "ablation": "second"}
    url = write_page([*found, *found], [*boards, second], tmp_path / "two.html").as_uri()
    browser.open(url=url)
    browser.set("Board", "1")
    browser.wait("document.querySelector('h1').textContent === 'other'")
    assert browser.value("location.hash") == "#view=matrix&board=1"
    for address in ADDRESSES[1:5]:
        open_whole(browser, f"{address}&board=1", url)


def test_a_board_may_say_next_to_nothing(browser: Any, found: list[Group], tmp_path: Path) -> None:
    rows = [{"label": row.label, "trainer": row.trainer} for row in found[0].rows]
    columns = [{"key": "bleu", "title": "BLEU", "kind": "metric", "decimals": 1}]
    nulls = dict.fromkeys(("clusters", "goodhart", "runs", "broken", "notes", "alpha", "family", "examples"))
    for number, board in enumerate(
        ({"rows": rows, "columns": columns}, {"rows": rows, "columns": columns, **nulls}, {})
    ):
        url = write_page(found, [board], tmp_path / f"{number}.html").as_uri()
        for address in ADDRESSES if not number else ADDRESSES[:2]:
            open_whole(browser, address, url)


def test_a_page_without_boards_opens(browser: Any, tmp_path: Path) -> None:
    browser.open(url=write_page([], [], tmp_path / "none.html").as_uri())
    assert browser.texts("h1") == ["No runs"]


class Server(SimpleHTTPRequestHandler):
    """Serves a folder, and a version that a test sets."""

    version = "1"

    def do_GET(self) -> None:
        if not self.path.startswith("/version"):
            super().do_GET()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(type(self).version.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(site: Path, page: Path) -> Iterator[str]:
    """The address of the page, served on this machine."""
    Server.version = "1"
    made = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(site)))
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}/{page.name}"
    made.shutdown()
    thread.join()


def test_a_served_page_loads_itself_again_and_stays_where_it_was(browser: Any, server: str) -> None:
    browser.open(url=server)
    browser.open(url=server, fresh=False)  # without the listener that forgets
    browser.click("[data-sort=wer]")
    browser.run("window.before = true; scrollTo(0, 150)")
    browser.pause(0.8)  # the first version is known by now
    browser.run("document.querySelector('.matrix button.figure').click()")
    Server.version = "2"
    browser.pause(5.5)
    assert browser.value("window.before")  # what is being read stays
    browser.run("document.querySelector('#cell').close()")
    browser.wait("!window.before && document.documentElement.dataset.ready", seconds=15)
    assert browser.value("document.querySelector('[data-sort=wer]').closest('th').ariaSort") == "ascending"
    assert browser.value("scrollY") == 150
    asked = {url.split("/")[2] for url in browser.requests() if url.startswith("http")}
    assert asked == {server.split("/")[2]}


def test_a_served_page_plays_recordings_beside_it(browser: Any, server: str) -> None:
    browser.open("#view=examples", url=server)
    browser.wait("document.querySelector('audio')")
    browser.run("window.player = document.querySelector('audio'); player.muted = true; player.play()")
    browser.wait("player.currentTime > 0.05")
