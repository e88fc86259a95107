"""What the page is made of: its data, its policy, and that no text in it can become markup."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speechbench.errors import SpeechbenchError, UsageError
from speechbench.leaderboard import leaderboard, to_json
from speechbench.leaderboard.page import page_html, write_page
from speechbench.leaderboard.page.curves import POINTS, curves
from speechbench.leaderboard.page.packing import packed, quantised, script_json, step_of
from speechbench.leaderboard.page.recordings import embedded, link
from speechbench.leaderboard.store import Group, groups

STATIC = Path(__file__).parents[3] / "speechbench" / "leaderboard" / "page" / "static"


class Elements(HTMLParser):
    """All elements of a page as a browser would take them apart."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "script" and self.scripts:
            attributes, text = self.scripts[-1]
            self.scripts[-1] = attributes, text + data

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self.found.append(("/script", {}))

    def by_id(self, name: str) -> str:
        return next(text for attributes, text in self.scripts if attributes.get("id") == name)

    def unpacked(self, name: str) -> bytes:
        return gzip.decompress(base64.b64decode(self.by_id(name)))


@pytest.fixture(scope="module")
def text(found: list[Group], boards: list[dict[str, Any]], site: Path) -> str:
    return page_html(found, boards, site)


@pytest.fixture(scope="module")
def page(text: str) -> Elements:
    """Instead of the file."""
    return Elements(text)


def test_json_cannot_end_its_element_and_reads_back() -> None:
    value = {"a": ["</script><!--", "\u2028\u2029 & <b>", 1.5, float("nan")], "b": float("inf")}
    text = script_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"a": ["</script><!--", "\u2028\u2029 & <b>", 1.5, None], "b": None}


def test_packing_is_repeatable() -> None:
    assert packed(b"x" * 99) == packed(b"x" * 99)
    assert gzip.decompress(base64.b64decode(packed(b"x" * 99))) == b"x" * 99


@pytest.mark.parametrize("scores", [[0, 50, 100], [0.1, 1e6], [5, 5], [-3.0, 4.0]])
def test_scores_are_quantised_finely_and_missing_ones_kept(scores: list[float]) -> None:
    column = np.array([*scores, np.nan])
    low, step = step_of([column], 100.0)
    places = np.frombuffer(quantised(column, low, step), "<u2")
    assert places[-1] == 65535 and (places[:-1] < 65535).all()
    assert np.allclose(low + places[:-1] * step, scores, rtol=0, atol=step / 2 + 1e-9)
    assert step <= max(0.01, (max(scores) - min(scores)) / 65000)


def test_a_recording_is_linked_from_where_the_page_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert link(str(tmp_path / "clips" / "a b#1?.wav"), tmp_path) == "./clips/a%20b%231%3F.wav"
    assert link(str(tmp_path / "a.wav"), tmp_path / "board") == "../a.wav"
    assert link(str(tmp_path / "a.wav"), tmp_path) == "./a.wav"
    assert link(str(tmp_path / ".cache" / "a.wav"), tmp_path) == "./.cache/a.wav"
    assert link(str(tmp_path / "javascript:alert(1)"), tmp_path) == "./javascript%3Aalert%281%29"

    def elsewhere(*_: object) -> str:
        raise ValueError("path is on mount 'D:'")

    monkeypatch.setattr("os.path.relpath", elsewhere)
    assert link(str(tmp_path / "b" / "a b.wav"), tmp_path) == (tmp_path / "b" / "a b.wav").as_uri()


def test_a_recording_is_embedded_with_its_type(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"abc")
    assert embedded(str(tmp_path / "a.mp3")) == ("audio/mpeg", "YWJj")
    assert embedded(str(tmp_path / "gone.wav")) is None
    (tmp_path / "secret").write_bytes(b"abc")  # a run folder from elsewhere may name what it likes
    (tmp_path / "folder.wav").mkdir()
    assert embedded(str(tmp_path / "secret")) is embedded(str(tmp_path / "folder.wav")) is None


def test_hostile_texts_are_nowhere_markup(text: str, page: Elements) -> None:
    assert "<img" not in text
    assert not any(tag == "img" for tag, _ in page.found)
    assert "onerror" not in {key for _, attributes in page.found for key in attributes}
    kinds = [attributes.get("type") for attributes, _ in page.scripts]
    assert kinds.count(None) == 1 and kinds.count("application/json") == 1  # all others hold base64
    for attributes, content in page.scripts:
        if attributes.get("type") == "text/plain" and "-audio-" not in str(attributes["id"]):
            assert re.fullmatch(r"[A-Za-z0-9+/=]+", content)


def test_nothing_is_asked_of_any_server(page: Elements) -> None:
    for tag, attributes in page.found:
        assert "src" not in attributes and not any(key.startswith("on") for key in attributes), tag
        assert (attributes.get("href") or "#").startswith(("#", "data:")), tag


def test_the_policy_lets_run_what_stands_in_the_page_alone(page: Elements) -> None:
    policy = next(a["content"] for _, a in page.found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    assert rules["default-src"] == ["'none'"] and rules["connect-src"] == ["'self'"]
    script = next(content for attributes, content in page.scripts if "type" not in attributes)
    charts = page.unpacked("charts").decode()

    def hash_of(code: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"

    assert rules["script-src"] == [hash_of(script), hash_of(charts)]


def test_the_script_makes_no_markup_from_texts() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in sorted((STATIC / "js").glob("*.js")))
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser", "</script"):
        assert word not in code
    assert "<!--" not in code


def test_every_answer_of_every_run_is_there(page: Elements, found: list[Group]) -> None:
    (group,) = found
    examples = json.loads(page.by_id("data"))["boards"][0]["examples"]
    records = json.loads(page.unpacked("b0-texts-0"))
    finished = [run for run in group.runs if run.finished]
    assert examples["runs"] == [run.info.id for run in finished] and examples["number"] == len(records)
    for number, run in enumerate(finished):
        samples = {sample.id: sample for sample in run.samples.records}
        for record in records:
            sample = samples[record[0]]
            assert record[6][number] == sample.hypothesis
            assert (number in record[7]) == sample.truncated
        columns = np.frombuffer(page.unpacked(f"b0-scores-{number}"), "<u2").reshape(-1, len(records))
        for metric, column in zip(examples["metrics"], columns, strict=True):
            shown = np.where(column == 65535, np.nan, metric["low"] + column * metric["step"])
            stored = [samples[record[0]].metrics[metric["key"]].score for record in records]
            assert np.allclose(shown, np.array(stored, float), atol=0.01, equal_nan=True)


def test_recordings_are_linked_embedded_or_left_out(
    found: list[Group], boards: list[dict[str, Any]], site: Path, tmp_path: Path
) -> None:
    linked = Elements(write_page(found, boards, site / "page.html").read_text(encoding="utf-8"))
    assert json.loads(linked.unpacked("b0-texts-0"))[0][5] == "./clips/it%27s%20a%20%231%20clip.wav"
    held = Elements(page_html(found, boards, tmp_path, "embed"))
    audio = [content for attributes, content in held.scripts if "-audio-" in str(attributes.get("id"))]
    assert json.loads(held.unpacked("b0-texts-0"))[0][5] == 0
    assert len(audio) == 1 and audio[0].startswith("audio/wav;base64,UklGR")  # one file, however many examples have it
    none = Elements(page_html(found, boards, tmp_path, "none"))
    assert json.loads(none.unpacked("b0-texts-0"))[0][5] is None
    with pytest.raises(UsageError, match="link, embed, none, serve"):
        page_html(found, boards, tmp_path, "stream")


def test_a_page_is_small(text: str, page: Elements, found: list[Group]) -> None:
    """An answer takes a dozen bytes where answers are alike; the charts' library is a fixed part."""
    (group,) = found
    answers = sum(len(run.samples.ids) for run in group.runs if run.finished)
    assert len(text) - len(page.by_id("charts")) < 120_000 + 60 * answers
    assert len(page.by_id("charts")) < 2_100_000


def test_long_curves_are_thinned_and_seeds_stay_in_step(site: Path, tmp_path: Path, found: list[Group]) -> None:
    (group,) = found
    for place, run in enumerate(group.runs):
        steps = 5000 if place != 2 else 3210  # one stopped early
        run.__dict__["log"] = [
            {"step": n + 1, "loss": float(n), "warnings": ["x"], "parts": {"a": 1}} for n in range(steps)
        ]
    try:
        found_curves = curves(group)
    finally:
        for run in group.runs:
            del run.__dict__["log"]
    assert found_curves["keys"] == ["loss", "part a"]
    assert all(len(curve["buckets"]) <= POINTS for curve in found_curves["runs"])
    longest, early = found_curves["runs"][0], found_curves["runs"][2]
    assert early["buckets"] == longest["buckets"][: len(early["buckets"])]
    assert longest["values"]["loss"][0] == pytest.approx((found_curves["width"] - 1) / 2)


def test_a_log_that_cannot_be_read_does_not_stand_in_the_way(tmp_path: Path, site: Path) -> None:
    (group,) = groups(site / "runs")
    unfinished = next(run for run in group.runs if not run.finished)
    log = unfinished.folder / "train.jsonl"
    before = log.read_text()
    log.write_text("[1]\n" + before)
    try:
        with pytest.raises(SpeechbenchError):
            groups_log = unfinished.log
            assert groups_log
        assert all(curve["id"] != unfinished.info.id for curve in curves(group)["runs"])
    finally:
        log.write_text(before)


def test_a_title_is_escaped(found: list[Group], boards: list[dict[str, Any]]) -> None:
    named = [{**board, "benchmark": "</title><script>alert(1)</script>"} for board in boards]
    text = page_html(found, named)
    assert f"<title>{html.escape('</title><script>alert(1)</script>')} leaderboard</title>" in text


def test_boards_as_they_are_written_today_are_taken(site: Path) -> None:
    made = [to_json(board) for board in leaderboard(site / "runs", resamples=50)]
    page = Elements(page_html(groups(site / "runs"), made, site))
    data = json.loads(page.by_id("data"))["boards"][0]
    assert [row["label"] for row in data["board"]["rows"]][:2] == ["base", "sft"]
    assert {run["id"] for run in data["runs"]} == {run["id"] for run in data["board"]["runs"]}


def test_the_page_is_made_without_torch() -> None:
    code = "import sys, speechbench.leaderboard.page; assert not {'torch', 'transformers', 'plotly'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_files_stay_short() -> None:
    for path in [*STATIC.glob("js/*.js"), *STATIC.parent.glob("*.py")]:
        assert len(path.read_text(encoding="utf-8").splitlines()) < 300, path
