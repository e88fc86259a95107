"""A small site of made-up runs, the page made of them, and a browser to look at it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from speechbench.leaderboard.page import write_page
from speechbench.leaderboard.store import Group, groups


def _beside(name: str) -> ModuleType:
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(f"leaderboard_page_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there for their annotations
    spec.loader.exec_module(module)
    return module


made_up, browsing = _beside("made_up"), _beside("browsing")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site; its runs lie in `runs`."""
    folder = tmp_path_factory.mktemp("site")
    made_up.make_site(folder)
    return folder


@pytest.fixture(scope="module")
def found(site: Path) -> list[Group]:
    """Its runs."""
    return groups(site / "runs")


@pytest.fixture(scope="module")
def boards(found: list[Group]) -> list[dict[str, Any]]:
    """Its boards."""
    return [made_up.board_of(group) for group in found]


@pytest.fixture(scope="module")
def page(found: list[Group], boards: list[dict[str, Any]], site: Path) -> Path:
    """Its page."""
    return write_page(found, boards, site / "page.html")


@pytest.fixture(scope="module")
def shared_browser(page: Path) -> Iterator[Any]:
    """One for each module: to start it takes a second."""
    yield from browsing.chromium(page)


@pytest.fixture
def browser(shared_browser: Any) -> Iterator[Any]:
    """The module's browser; a test fails on any error in its console."""
    shared_browser.size(1280)
    shared_browser.errors()
    yield shared_browser
    assert shared_browser.errors() == []
