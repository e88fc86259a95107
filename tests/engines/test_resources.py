"""Shares of a machine: all of it, and none of it twice."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbench.engines import InProcess, engine_of, resources
from speechbench.engines.local import Local
from speechbench.engines.resources import cores, shares
from speechbench.errors import UsageError


@given(st.integers(1, 64), st.integers(1, 12), st.integers(1, 4))
def test_no_more_threads_than_cores_and_each_worker_has_one(there: int, jobs: int, processes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resources, "cores", lambda: there)
        patch.setattr(resources, "gpus", list)
        found = shares(jobs, processes)
    assert len(found) == jobs and len({share.threads for share in found}) == 1
    assert found[0].threads == 1 or found[0].threads * jobs * processes <= there
    assert all(share.gpus == () and "CUDA_VISIBLE_DEVICES" not in share.environment for share in found)


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8))
def test_gpus_go_round_and_none_is_given_twice_while_others_are_free(there: int, jobs: int, processes: int) -> None:
    names = [f"GPU-{number}" for number in range(there)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resources, "gpus", lambda: names)
        if processes > there:
            with pytest.raises(UsageError, match=f"needs as many GPUs, and there are {there}: give fewer"):
                shares(jobs, processes)
            return
        given_out = [name for share in shares(jobs, processes) for name in share.gpus]
    assert max(map(given_out.count, names)) - min(map(given_out.count, names)) <= 1
    assert all(len(set(share)) == processes for share in zip(*[iter(given_out)] * processes, strict=True))


def test_what_the_user_set_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "gpus", list)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (share,) = shares(1)
    assert share.threads == cores() and share.environment["OMP_NUM_THREADS"] == str(cores())
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert share.environment == {}


def test_gpus_are_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert resources.gpus() == ["2", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert resources.gpus() == []
    assert cores() <= (os.cpu_count() or 1)


def test_engines_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(engine_of(), InProcess) and engine_of("local", 3) == Local(3)
    with pytest.raises(UsageError, match=r"engine='locl' is none of local.*did you mean 'local'"):
        engine_of("locl")
    with pytest.raises(UsageError, match="jobs=0 should be a whole number of at least 1"):
        engine_of("local", 0)
    monkeypatch.setattr(sys, "platform", "win32")
    assert isinstance(engine_of(), InProcess)
    with pytest.raises(UsageError, match="start workers as Unix has them"):
        engine_of("local", 2)
