"""Handing out runs: what becomes of those whose workers die, that fail, or that someone else does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from speechbench.engines.base import Left
from speechbench.engines.doing import DIED, DONE, FAILED, HELD, Doer, Outcome, portable
from speechbench.engines.driving import DEATHS, drive
from speechbench.errors import DivergedError, SpeechbenchError
from speechbench.grid import PlannedRun
from speechbench.locks import held
from speechbench.one_run import do_run, name_of
from speechbench.planning import Plan, plan
from speechbench.progress import Progress


class Told(Progress):
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.finished: list[str] = []

    def tell(self, text: str) -> None:
        self.texts.append(text)

    def finish(self, what: str, seconds: float, summary: str) -> None:
        self.finished.append(what)


class Scripted:
    """A pool of one worker, whose runs come to what a test says; those of which it says nothing are done."""

    def __init__(self, planned: Plan, **script: list[Outcome]) -> None:
        self.planned, self.script = planned, script
        self.begun: list[str] = []
        self.is_closed = False
        self._now: list[Outcome] = []

    def free(self) -> int:
        return 1 - len(self._now)

    def begin(self, run: PlannedRun) -> None:
        self.begun.append(name_of(run))
        scripted = self.script.get(run.stage or "base", [])
        if scripted:
            self._now.append(scripted.pop(0))
        else:
            do_run(self.planned, run, Progress())
            self._now.append(Outcome(run.id, DONE))

    def outcomes(self, seconds: float) -> Sequence[Outcome]:
        found, self._now = self._now, []
        return found

    def stop(self) -> None:
        raise AssertionError("nobody asked for it")

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def planned(few_manifest: Path, tmp_path: Path) -> Plan:
    settings = {"sft": {"max_steps": 1}, "grpo": {"max_steps": 1, "num_generations": 2, "max_completion_length": 8}}
    return plan(["bleu"], ["sft+grpo"], f"manifest(path={few_manifest})", config=settings, limit=2,
                out=tmp_path / "runs", metrics=["bleu"])  # fmt: skip


def driven(planned: Plan, **script: list[Outcome]) -> tuple[Scripted, Told]:
    pool, told = Scripted(planned, **script), Told()
    left = Left(planned, told)
    drive(left, pool)
    assert pool.is_closed
    left.raise_failures()
    return pool, told


def test_a_run_begins_when_the_one_it_starts_from_is_finished_and_again_when_its_worker_dies(planned: Plan) -> None:
    sft = planned.runs[1]
    died = Outcome(sft.id, DIED, SpeechbenchError("its process was killed by SIGKILL"))
    pool, told = driven(planned, sft=[died] * (DEATHS - 1))
    assert pool.begun == ["base", *["sft seed 0"] * DEATHS, "sft+grpo(bleu) seed 0"]
    assert told.finished == ["base", "sft", "sft+grpo(bleu)"]
    assert told.texts == ["sft seed 0: its process was killed by SIGKILL; it goes on from its last checkpoint"] * 2


def test_a_run_that_costs_too_many_workers_fails_and_what_starts_from_it_is_not_begun(planned: Plan) -> None:
    died = Outcome(planned.runs[1].id, DIED, SpeechbenchError("its process was killed by SIGKILL"))
    told = Told()
    left = Left(planned, told)
    pool = Scripted(planned, sft=[died] * DEATHS)
    drive(left, pool)
    assert pool.begun == ["base", *["sft seed 0"] * DEATHS] and told.finished == ["base"]
    assert told.texts[-1] == "sft+grpo(bleu) seed 0 is not begun: sft seed 0, which it starts from, failed"
    with pytest.raises(SpeechbenchError, match="sft seed 0 was begun 3 times, and each time its process was killed by"):
        left.raise_failures()


def test_a_failure_is_raised_as_it_was_once_the_others_are_done(planned: Plan) -> None:
    grpo = planned.runs[2]
    with pytest.raises(DivergedError, match="the loss of step 3 is nan"):
        driven(planned, grpo=[Outcome(grpo.id, FAILED, DivergedError("the loss of step 3 is nan"))])
    assert [run.is_finished for run in planned.runs] == [True, True, False]


def test_what_someone_else_holds_is_left_to_him_and_then_taken_up(
    planned: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speechbench.engines.driving.WAIT", 0.0)
    sft = planned.runs[1]
    with held(sft.folder):  # so that there is someone to name
        pass
    pool, told = driven(planned, sft=[Outcome(sft.id, HELD)] * 2)
    assert pool.begun.count("sft seed 0") == 3 and told.finished == ["base", "sft", "sft+grpo(bleu)"]
    assert [text for text in told.texts if "is being done by" in text] == [
        "sft seed 0 is being done by another process: left to it"
    ]


def test_a_worker_does_what_it_is_handed_and_says_what_came_of_it(planned: Plan) -> None:
    doer = Doer(planned.asked)
    base, sft, grpo = planned.runs
    assert doer.do(base.id) == Outcome(base.id, DONE) and base.is_finished
    assert doer.do(base.id) == Outcome(base.id, DONE)  # it was there
    with held(sft.folder):
        assert doer.do(sft.id) == Outcome(sft.id, HELD)
    failed = doer.do(grpo.id)  # what it starts from is not there
    assert failed.state == FAILED and "sft seed 0 is finished, but the model to go on from is gone" in str(failed.error)
    unknown = doer.do("0123456789abcdef")
    assert unknown.state == FAILED and "register it in a file or a package" in str(unknown.error)


def test_an_error_that_cannot_be_handed_over_is_said_in_words() -> None:
    class Own(Exception):
        pass

    assert str(portable(Own("a b"))) == "Own: a b" and type(portable(Own("a b"))) is SpeechbenchError
    assert type(portable(DivergedError("x"))) is DivergedError
    full = portable(OSError(28, "No space left on device", "/runs/a"))
    assert isinstance(full, OSError) and full.filename == "/runs/a"
