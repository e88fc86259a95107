"""Grades that were paid for are kept, whichever process asked, and whatever failed after them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from speechbench.errors import SpeechbenchError
from speechbench.rewards.judge import Judge
from speechbench.rewards.judge_cache import GradeCache, Graded

StubJudge = Callable[..., AbstractContextManager[Any]]
Judged = Callable[..., list[float | None]]
Failure = Callable[[Judge], str]


def test_a_grade_of_another_process_stands(judge_cache: Path) -> None:
    store = GradeCache()
    assert store.lookup(["k"]) == {}
    first = Graded(3, "m", 100, 7)
    assert store.keep("k", first) == store.keep("k", Graded(1, "n", 50, 8)) == first
    assert GradeCache().lookup(["k", "l"]) == {"k": first}


@pytest.mark.slow
def test_many_processes_keep_grades_at_once(judge_cache: Path) -> None:
    work = """if True:
        import sys
        from speechbench.rewards.judge_cache import GradeCache, Graded
        for number in range(40):
            GradeCache().keep(f"{number}", Graded(int(sys.argv[1]), "m", 100, 7))
        """
    processes = [subprocess.Popen([sys.executable, "-c", work, str(grade)]) for grade in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert len(GradeCache().lookup([str(number) for number in range(2000)])) == 40


def test_a_cache_that_cannot_be_used_is_named_before_anything_is_paid_for(
    stub_judge: StubJudge, judge_failure: Failure, judge_cache: Path
) -> None:
    judge_cache.mkdir()
    (judge_cache / "judge.sqlite3").write_text("something else " * 100)
    with stub_judge('{"score": 3}') as stub:
        assert str(judge_cache / "judge.sqlite3") in judge_failure(Judge(stub.url, "stub"))
        assert stub.requests == []


def test_graded_before_a_failure_is_kept(stub_judge: StubJudge, judged: Judged) -> None:
    with stub_judge(lambda body, _: (500, "down") if body.answer == "b" else '{"score": 4}') as stub:
        with pytest.raises(SpeechbenchError, match="down"):
            judged(Judge(stub.url, "stub", retries=0, concurrency=1), "a", "b", "c")
        again = Judge(stub.url, "stub", retries=0)
        assert judged(again, "a") == [1.0] and again.usage()["requests"] == 0
