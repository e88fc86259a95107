"""Recordings lie below one folder, wherever links lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from speechbench.benchmarks.manifest_paths import Root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with recordings, beside another that is none of its business."""
    for place in ("data/clips/a.wav", "other/b.wav"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_bytes(b"sound")
    return tmp_path / "data"


@pytest.mark.parametrize(
    "name",
    ["clips/a.wav", "./clips//a.wav", "clips/../clips/a.wav", "../data/clips/a.wav", "gone/a.wav", "clips/ä ö.wav"],
)
def test_what_lies_below_may_be_named_in_any_way(root: Path, name: str) -> None:
    assert Root(root).refusal(name) is None
    assert Root(root).refusal(str(root / name)) is None


@pytest.mark.parametrize("name", ["../../etc/passwd", "../other/b.wav", "clips/../../other/b.wav", "/etc/passwd"])
def test_what_lies_outside_is_refused_with_the_remedy(root: Path, name: str) -> None:
    refusal = Root(root).refusal(name) or ""
    assert f"'{name}', which lies outside of {root.resolve()}" in refusal
    asked = refusal.partition("audio=")[2].partition(",")[0]
    assert Root(Path(asked)).refusal(str((root / name).resolve())) is None


def test_a_folder_of_a_like_name_is_outside(root: Path) -> None:
    (root.parent / "data2").mkdir()
    assert Root(root).refusal("../data2/a.wav") is not None


@pytest.mark.parametrize("name", ["clips/", "clips/..", ".", "/"])
def test_a_folder_is_no_recording(root: Path, name: str) -> None:
    assert "names a folder: name a file" in (Root(root).refusal(name) or "")


def test_links_may_lead_anywhere_below_and_nowhere_else(root: Path) -> None:
    (root / "in.wav").symlink_to("clips/a.wav")
    (root / "out.wav").symlink_to(root.parent / "other" / "b.wav")
    (root / "indirect.wav").symlink_to("out.wav")
    (root / "inner").symlink_to("clips")
    (root / "outer").symlink_to("../other")
    (root / "loop.wav").symlink_to("loop.wav")
    files = Root(root)
    assert files.refusal("in.wav") is None and files.refusal("inner/a.wav") is None
    assert files.refusal("loop.wav") is None  # cannot be read, and is told of then
    for name in ("out.wav", "indirect.wav"):
        assert "a link that leads out of" in (files.refusal(name) or "")
    assert "lies outside" in (files.refusal("outer/b.wav") or "")


def test_the_folder_itself_may_be_a_link(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    for folder, name in ((link, root), (root, link)):
        assert Root(folder).refusal(str(name / "clips" / "a.wav")) is None


def test_everything_lies_below_the_topmost_folder() -> None:
    assert Root(Path("/")).refusal("/etc/passwd") is None


def test_folders_of_files_that_lack_are_awaited(root: Path) -> None:
    files = Root(root)
    for name in ("clips/a.wav", "clips/b.wav", "clips/c.wav", "gone/d.wav"):
        assert files.refusal(name) is None
    assert files.awaited() == [root.resolve() / "clips", root.resolve() / "gone"]
