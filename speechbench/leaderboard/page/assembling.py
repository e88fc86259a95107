"""The page put together: one file, whose security policy lets run what stands in it and nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import speechbench
from speechbench.errors import UsageError
from speechbench.leaderboard.page.curves import curves
from speechbench.leaderboard.page.details import briefly, in_full
from speechbench.leaderboard.page.examples import Examples
from speechbench.leaderboard.page.packing import element, packed, packed_json, script_json
from speechbench.leaderboard.page.recordings import MODES
from speechbench.leaderboard.store import Group
from speechbench.run_files import replace

Boards = Sequence[Mapping[str, Any]]

_PLACE = re.compile(r"\{\{(\w+)\}\}")
_POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data:; "
    "media-src 'self' file: data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'"
)


def write_page(groups: Sequence[Group], boards: Boards, path: Path | str, audio: str = "link") -> Path:
    """Writes the page.

    Args:
        groups: The runs behind each board.
        boards: Each board as `to_json` gives it, in the order of the groups.
        path: The file.
        audio: "link" to the recordings where they lie, "embed" them, "none", or "serve" for addresses below ./audio/.

    Returns:
        The file.

    Raises:
        UsageError: If there is no such way with recordings.
        SpeechbenchError: If the answers of a finished run cannot be read.
        OSError: If the file cannot be written.
    """
    path = Path(path)
    return replace(path, page_html(groups, boards, path.parent, audio))


def page_html(groups: Sequence[Group], boards: Boards, folder: Path | str = ".", audio: str = "link") -> str:
    """The page as text.

    Args:
        groups: As of `write_page`.
        boards: As of `write_page`.
        folder: Where the page will stand, which links to recordings start from.
        audio: As of `write_page`.

    Raises:
        UsageError: If there is no such way with recordings.
        SpeechbenchError: If the answers of a finished run cannot be read.
    """
    if audio not in MODES:
        raise UsageError(f"audio={audio!r}: choose one of {', '.join(MODES)}")
    script, charts = _script(), _charts()
    every = [Examples(group, f"b{place}", Path(folder), audio) for place, group in enumerate(groups)]
    data = {
        "version": speechbench.__version__,
        "boards": [
            {"board": board, "runs": briefly(group), "examples": examples.described()}
            for board, group, examples in zip(boards, groups, every, strict=True)
        ],
    }
    parts = {
        "policy": html.escape(_POLICY.format(scripts=f"{_hash(script)} {_hash(charts)}")),
        "title": html.escape(_title(boards)),
        "style": _static("page.css"),
        "data": script_json(data),
        "script": script,
        "packed": "".join(_packed(groups, every, charts)),
    }
    return _PLACE.sub(lambda match: parts[match[1]], _static("page.html")).encode("utf-8", "replace").decode("utf-8")


def _packed(groups: Sequence[Group], every: Sequence[Examples], charts: str) -> Iterator[str]:
    for place, (group, examples) in enumerate(zip(groups, every, strict=True)):
        yield element(f"b{place}-runs", packed_json(in_full(group)))
        yield element(f"b{place}-curves", packed_json(curves(group)))
        yield from examples.elements()
    yield element("charts", packed(charts.encode()))


def _title(boards: Boards) -> str:
    names = dict.fromkeys(str(board.get("benchmark") or "") for board in boards)
    return f"{', '.join(name for name in names if name)} leaderboard".strip()


def _script() -> str:
    """All of the page's own code as one function, in the order of the files' names."""
    folder = files("speechbench.leaderboard.page") / "static" / "js"
    parts = sorted((part for part in folder.iterdir() if part.name.endswith(".js")), key=lambda part: part.name)
    code = "\n".join(part.read_text(encoding="utf-8").replace("\r\n", "\n") for part in parts)
    return f'(() => {{\n"use strict";\n{code}}})();\n'


def _charts() -> str:
    """The library that draws the curves; it comes with plotly, so that no copy of it stands in this project."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _static(name: str) -> str:
    found = (files("speechbench.leaderboard.page") / "static" / name).read_text(encoding="utf-8")
    return found.replace("\r\n", "\n")
