"""News of a run: written while it goes on, gone when it is over, never in its way."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from speechbench import run_now
from speechbench.progress import Progress
from speechbench.run_now import NOW, now, recorded


def test_news_are_written_as_they_come_and_go_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    with recorded(Progress(), tmp_path, 8) as progress:
        started = now(tmp_path)
        assert started is not None and (started.what, started.steps, started.step_seconds) == ("starting", 8, None)
        clock = 103.0
        progress.step({"step": 3, "steps": 8, "reward": 0.25, "kl": 0.1, "loss": 1.0})
        news = now(tmp_path)
        assert news is not None and (news.what, news.done, news.total, news.steps_done) == ("training", 3, 8, 3)
        assert news.values == {"reward": 0.25, "loss": 1.0} and news.step_seconds == 3.0 and news.seconds == 3.0
        clock = 103.5
        progress.step({"step": 4, "steps": 8, "reward": 0.5, "loss": 1.0})
        assert now(tmp_path) == news, "once a second is enough"
        clock = 107.0
        progress.step({"step": 5, "steps": 8, "reward": 0.5, "loss": 1.0})
        news = now(tmp_path)
        assert news is not None and news.steps_done == 5 and news.step_seconds == 2.0
        progress.tell("half of the outputs are empty")
        progress.advance("evaluating", 1, 40)
        news = now(tmp_path)
        assert news is not None and (news.what, news.done, news.total, news.steps_done) == ("evaluating", 1, 40, 5)
        assert news.told == ("half of the outputs are empty",)
    assert now(tmp_path) is None and list(tmp_path.iterdir()) == []


def test_everything_is_handed_on(tmp_path: Path) -> None:
    heard: list[str] = []

    class Heard(Progress):
        def __getattribute__(self, name: str) -> object:
            if not name.startswith("_"):
                heard.append(name)
            return super().__getattribute__(name)

    with recorded(Heard(), tmp_path, 1) as progress:
        progress.step({"step": 1, "steps": 1, "loss": 1.0})
        progress.advance("a", 1, 2)
        progress.aside("b", 1, 2)
        progress.tell("c")
        progress.finish("d", 1.0, "e")
        progress.skip(1)
    assert heard == ["step", "advance", "aside", "tell", "finish", "skip"]


def test_what_cannot_be_written_or_read_is_no_failure(tmp_path: Path) -> None:
    with recorded(Progress(), tmp_path / "gone", 1) as progress:
        progress.advance("evaluating", 1, 2)
    (tmp_path / NOW).write_text('{"what": 3')
    assert now(tmp_path) is None
    assert run_now.now(tmp_path / "gone") is None
