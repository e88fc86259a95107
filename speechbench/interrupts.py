"""Ctrl-C that lets the present step end: the first asks to stop, the second stops at once."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from speechbench import distributed

_ONE_REQUEST = 2.0  # seconds: torchrun hands on the Ctrl-C that the terminal gave each process already
TOLD = "stopping after this step, which is then saved; once more stops at once"


class Stop:
    """Whether someone asked to stop.

    Attributes:
        asked: Set by the first SIGINT or SIGTERM.
    """

    asked: bool = False


@contextmanager
def graceful_stop(tell: Callable[[str], None]) -> Iterator[Stop]:
    """Within it the first SIGINT or SIGTERM only sets `Stop.asked`; the caller looks there where it can stop.

    Signals reach the main thread alone: elsewhere nothing changes. A signal that is ignored stays ignored, as
    that of a background job of a shell. Where several processes train together, a second signal that follows at
    once is the first one again, and nothing is told when it comes because another process has failed.

    Args:
        tell: Told once that the stop was heard. It runs in a thread of its own.

    Raises:
        KeyboardInterrupt: At once, at the second signal.
    """
    stop = Stop()
    tellers: list[threading.Thread] = []
    first = 0.0

    def tell_unless_failed() -> None:
        if not distributed.has_failed():
            tell(TOLD)

    def hear(_: int, __: FrameType | None) -> None:
        nonlocal first
        if first and (distributed.world_size() == 1 or time.monotonic() - first > _ONE_REQUEST):
            raise KeyboardInterrupt
        if first:
            return
        first, stop.asked = time.monotonic(), True
        # The handler runs between any two operations of the main thread: one of those may hold the very lock, or
        # be writing to the very stream, that telling needs.
        tellers.append(threading.Thread(target=tell_unless_failed, daemon=True))
        tellers[-1].start()

    previous = {}
    if threading.current_thread() is threading.main_thread():
        heard = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        previous = {s: handler for s, handler in heard.items() if handler not in (signal.SIG_IGN, None)}
    for number in previous:
        signal.signal(number, hear)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for teller in tellers:
            teller.join()
