"""Waiting for others in threads."""

from __future__ import annotations

import time

from speechbench.threads import failure_within


def test_an_answer_is_not_waited_for_forever() -> None:
    assert isinstance(failure_within(0.05, lambda: time.sleep(250)), TimeoutError)
    assert isinstance(failure_within(60, lambda: 1 / 0), ZeroDivisionError)
    assert failure_within(60, lambda: 1) is None
