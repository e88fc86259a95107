"""The page on loopback, made anew whenever the run folders change."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

from speechbench.errors import SpeechbenchError
from speechbench.leaderboard.boards import read_boards
from speechbench.leaderboard.kept import key_of
from speechbench.leaderboard.page.recordings import is_recording, kind_of, served
from speechbench.leaderboard.render import to_json
from speechbench.run_files import run_folders

HOST = "127.0.0.1"
PORT = 8347
_AT_ONCE = 1 << 16  # bytes of a recording
_DIGITS = re.compile(r"[0-9]{0,18}")


class Pages:
    """The page of some folders as it was last made, and the recordings that it may ask for.

    Args:
        folders: Of runs.
        resamples: As of `leaderboard`, and so are the others.
        together: As of `leaderboard`.
        test: As of `leaderboard`.

    Raises:
        SpeechbenchError: If there is nothing to show.

    Attributes:
        version: Changes with the page.
        content: The page.
        recordings: By the names that the page has for them.
    """

    def __init__(
        self, folders: Sequence[Path], resamples: int | None = None, together: bool = False, test: str = "bootstrap"
    ) -> None:
        self.folders, self._asked = list(folders), (resamples, together, test)
        self._making = threading.Lock()
        self._failed = self._told = ""
        self.version, self.content, self.recordings = "", b"", dict[str, Path]()
        self._make()

    def look(self) -> None:
        """Begins to make the page anew if something has changed; what is there is shown until then."""
        try:
            key = self._key()
        except (SpeechbenchError, OSError) as error:  # the folder went away
            self._tell(error)
            return
        if key not in (self.version, self._failed) and self._making.acquire(blocking=False):
            threading.Thread(target=self._make_and_release, args=(key,), daemon=True).start()

    def _make_and_release(self, key: str) -> None:
        try:
            self._make()
        except (SpeechbenchError, OSError) as error:
            self._failed = key  # not again before something changes
            self._tell(error)
        finally:
            self._making.release()

    def _tell(self, error: Exception) -> None:
        """Says why the page stays as it is, once."""
        if str(error) != self._told:
            self._told = str(error)
            print(f"speechbench: the page stays as it is: {error}", file=sys.stderr)

    def _key(self) -> str:
        return key_of([run for folder in self.folders for run in run_folders(folder)], self._asked)

    def _make(self) -> None:
        from speechbench.leaderboard.page.assembling import page_html

        resamples, together, test = self._asked
        version = self._key()  # before: what changes meanwhile is made anew
        found = read_boards(self.folders, resamples, None, together, test)
        groups = [group for group, _ in found]
        page = page_html(groups, [to_json(board) for _, board in found], audio="serve")
        runs = [run for group in groups for run in group.runs if run.finished]
        recordings = {audio for run in runs for audio in run.samples.audio if audio and is_recording(audio)}
        self.recordings = {served(audio): Path(audio) for audio in recordings}
        self.content = page.encode("utf-8")
        self.version = version


class _Handler(BaseHTTPRequestHandler):
    """Gives out the page, its version and its recordings, and nothing else of the machine."""

    pages: Pages
    protocol_version = "HTTP/1.1"
    server_version = "speechbench"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(is_whole=True)

    def do_HEAD(self) -> None:
        self._answer(is_whole=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: who looks at the page is the one who started it."""

    def _answer(self, is_whole: bool) -> None:
        with suppress(ConnectionError):
            port = cast("ThreadingHTTPServer", self.server).server_port
            if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
                # a page from elsewhere whose name was made to point here
                self._send(HTTPStatus.FORBIDDEN, "text/plain", b"ask for 127.0.0.1\n", is_whole)
                return
            path = self.path.partition("?")[0]
            if path in ("/", "/index.html"):
                self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.pages.content, is_whole)
            elif path == "/version":
                self.pages.look()
                self._send(HTTPStatus.OK, "text/plain", self.pages.version.encode(), is_whole)
            elif (recording := self.pages.recordings.get(f".{path}")) is not None:
                self._play(recording, is_whole)
            else:
                self._send(HTTPStatus.NOT_FOUND, "text/plain", b"there is no such page\n", is_whole)

    def _send(self, status: HTTPStatus, kind: str, content: bytes, is_whole: bool) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if is_whole:
            self.wfile.write(content)

    def _play(self, recording: Path, is_whole: bool) -> None:
        """Sends a recording, or the part of it that a player asks for to start within."""
        try:
            size = recording.stat().st_size
            file = recording.open("rb")
        except OSError:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"the recording is gone\n", is_whole)
            return
        with file:
            start, stop = _range(self.headers.get("Range", ""), size)
            is_part = (start, stop) != (0, size)
            self.send_response(HTTPStatus.PARTIAL_CONTENT if is_part else HTTPStatus.OK)
            self.send_header("Content-Type", kind_of(str(recording)))
            self.send_header("Content-Length", str(stop - start))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("X-Content-Type-Options", "nosniff")
            if is_part:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            self.end_headers()
            file.seek(start)
            while is_whole and start < stop and (part := file.read(min(_AT_ONCE, stop - start))):
                self.wfile.write(part)
                start += len(part)


def _range(asked: str, size: int) -> tuple[int, int]:
    """First byte and the one after the last of "bytes=100-199", "bytes=100-" and "bytes=-100"; all if it is none."""
    unit, _, ends = asked.partition("=")
    first, dash, last = ends.partition("-")
    if unit != "bytes" or not dash or not all(_DIGITS.fullmatch(end) for end in (first, last)):
        return 0, size
    if first:
        start, stop = int(first), min(int(last) + 1, size) if last else size
    else:
        start, stop = max(0, size - int(last or 0)), size
    return (start, stop) if start < stop else (0, size)


def serve(
    folders: Path | str | Sequence[Path | str] = "runs",
    port: int = PORT,
    resamples: int | None = None,
    together: bool = False,
    test: str = "bootstrap",
    tell: Callable[[str], None] = print,
) -> None:
    """Serves the page on 127.0.0.1 until it is interrupted; where it is open it shows new results by itself.

    Args:
        folders: As of `leaderboard`, and so are the others but
        port: 0 for any that is free.
        tell: Told the address, once the page is ready.

    Raises:
        SpeechbenchError: If there is nothing to show, or the port is taken.
    """
    places = [Path(folders)] if isinstance(folders, (str, Path)) else [Path(its) for its in folders]
    pages = Pages(places, resamples, together, test)
    handler = type("Handler", (_Handler,), {"pages": pages})
    try:
        server = ThreadingHTTPServer((HOST, port), handler)
    except OSError as error:
        reason = f"port {port} of {HOST} cannot be used ({error.strerror})"
        raise SpeechbenchError(f"{reason}: name another with --port, or 0 for any that is free") from None
    server.daemon_threads = True
    with server, suppress(KeyboardInterrupt):
        tell(f"http://{HOST}:{server.server_port}/")
        server.serve_forever()
