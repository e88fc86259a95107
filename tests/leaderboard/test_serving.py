"""The page on loopback: what is given out, to whom, and how it becomes new."""

from __future__ import annotations

import http.client
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from speechbench.errors import SpeechbenchError
from speechbench.leaderboard import serving
from speechbench.leaderboard.page.recordings import served
from speechbench.leaderboard.serving import HOST, Pages, serve
from speechbench.runs import read_run, write_result, write_samples

MakeRun = Callable[..., Path]
Ask = Callable[..., tuple[int, dict[str, str], bytes]]
WAV = b"RIFF" + bytes(range(256)) * 4


@pytest.fixture
def folder(make_run: MakeRun, tmp_path: Path) -> Path:
    """Two runs, of which one example's recording is there."""
    for label in ("base", "sft"):
        run = read_run(make_run(label, 0.6, None if label == "base" else 0))
        assert run.result is not None
        recording = str(tmp_path / "first clip.wav")
        samples = [s if n else type(s)(**{**vars(s), "audio": recording}) for n, s in enumerate(run.samples.records)]
        write_samples(run.folder, samples)
        write_result(run.folder, run.result)
    (tmp_path / "first clip.wav").write_bytes(WAV)
    return tmp_path / "runs"


@pytest.fixture
def pages(folder: Path) -> Pages:
    return Pages([folder], resamples=50)


@pytest.fixture
def ask(pages: Pages) -> Iterator[Ask]:
    """Asks a server of these pages: `ask(path, **headers)` gives status, headers and content."""
    server = ThreadingHTTPServer((HOST, 0), type("Handler", (serving._Handler,), {"pages": pages}))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def asked(path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(HOST, server.server_port, timeout=20)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), content

    yield asked
    server.shutdown()
    server.server_close()


def test_the_page_is_given_out_and_says_when_it_is_another(ask: Ask, pages: Pages) -> None:
    status, headers, content = ask("/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert content == pages.content and b"covost2-mini" in content
    assert ask("/version")[2].decode() == pages.version
    status, headers, content = ask("/", method="HEAD")
    assert (status, int(headers["Content-Length"]), content) == (200, len(pages.content), b"")


def test_recordings_are_played_from_wherever_a_player_asks(ask: Ask, tmp_path: Path) -> None:
    path = served(str(tmp_path / "first clip.wav")).removeprefix(".")
    assert str(tmp_path) not in path and path.endswith(".wav")
    status, headers, content = ask(path)
    assert (status, headers["Content-Type"], content) == (200, "audio/wav", WAV)
    for asked, start, stop in (("bytes=100-199", 100, 200), ("bytes=1000-", 1000, len(WAV)), ("bytes=-8", -8, None)):
        status, headers, content = ask(path, Range=asked)
        assert (status, content) == (206, WAV[start:stop])
        assert headers["Content-Range"].endswith(f"/{len(WAV)}")
    for none in ("bytes=9999-", "bytes=5-2", "items=1-2", "bytes=a-b"):
        assert ask(path, Range=none)[::2] == (200, WAV)


def test_nothing_else_of_the_machine_is_given_out(ask: Ask, folder: Path) -> None:
    paths = ["/../../../../etc/passwd", "/audio/", "/audio/first%20clip.wav", f"{folder}/default/base-None/run.json"]
    assert {ask(path)[0] for path in paths} == {404}


def test_a_page_from_elsewhere_gets_nothing(ask: Ask) -> None:
    """A name that someone makes point to this machine is no name of ours."""
    assert ask("/", Host="evil.example")[0] == 403
    assert ask("/version", Host="127.0.0.1:1")[0] == 403


def test_new_results_make_a_new_page(ask: Ask, pages: Pages, make_run: MakeRun) -> None:
    before = ask("/version")[2]
    make_run("grpo(bleu)", 0.8)
    deadline = time.monotonic() + 60
    while ask("/version")[2] == before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ask("/version")[2] != before and b"grpo(bleu)" in ask("/")[2]


def test_a_page_that_cannot_be_made_anew_stays(pages: Pages, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = pages.content
    shutil.rmtree(folder / "default")
    assert pages._making.acquire(blocking=False)
    pages._make_and_release("another")
    assert pages.content == content and "the page stays as it is" in capsys.readouterr().err


def test_a_folder_that_went_away_is_told_once(
    pages: Pages, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.rename(tmp_path / "gone")
    for _ in range(3):
        pages.look()
    assert capsys.readouterr().err.count("the page stays as it is: there is no folder") == 1
    (tmp_path / "gone").rename(folder)


@pytest.mark.parametrize("asked", ["bytes=\u00b2-", f"bytes={'9' * 5000}-", "bytes=--", "bytes=a-b", "items=0-1", ""])
def test_an_odd_range_is_none(asked: str) -> None:
    assert serving._range(asked, 100) == (0, 100)


def test_a_port_that_is_taken_is_told(folder: Path) -> None:
    with ThreadingHTTPServer((HOST, 0), serving._Handler) as server, pytest.raises(SpeechbenchError, match="--port"):
        serve(folder, port=server.server_port, resamples=50)


def test_nothing_to_show_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpeechbenchError, match="holds no runs"):
        serve(tmp_path / "empty", port=0)
    assert os.listdir(tmp_path / "empty") == []
