"""The first signal asks, the second stops; what was before is restored."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from speechbench import distributed
from speechbench.interrupts import TOLD, graceful_stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_stops_at_once(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt), graceful_stop(told.append) as stop:
        assert not stop.asked
        signal.raise_signal(number)
        assert stop.asked
        signal.raise_signal(number)
        pytest.fail("the second signal did not stop")
    assert told == [TOLD]
    assert signal.getsignal(number) is before


def test_handlers_are_restored_after_a_quiet_stretch() -> None:
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with graceful_stop(pytest.fail) as stop:
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert not stop.asked
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


def test_telling_may_need_what_the_interrupted_code_holds() -> None:
    lock = threading.Lock()
    told: list[str] = []

    def tell(text: str) -> None:
        with lock:
            told.append(text)

    with graceful_stop(tell) as stop, lock:
        signal.raise_signal(signal.SIGINT)
        assert stop.asked and not told
    assert told == [TOLD]


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with graceful_stop(pytest.fail) as stop:
            signal.raise_signal(signal.SIGTERM)
            assert not stop.asked
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_nothing_changes() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        with graceful_stop(pytest.fail) as stop:
            seen.extend([signal.getsignal(signal.SIGINT), stop.asked])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, False]


def test_of_several_processes_a_signal_that_a_launcher_hands_on_at_once_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [10.0]
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed, "has_failed", lambda: False)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt), graceful_stop(told.append) as stop:
        signal.raise_signal(signal.SIGINT)
        now[0] += 1.0
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked
        now[0] += 5.0
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the signal of a person who does not want to wait did not stop")
    assert told == [TOLD]


def test_a_signal_that_comes_because_another_process_failed_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "has_failed", lambda: True)
    with graceful_stop(pytest.fail) as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked
