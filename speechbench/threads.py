"""Waiting for other machines in threads that hold up neither Ctrl-C nor the end of the process.

The threads are daemons, unlike those of `concurrent.futures`, which a process waits for at its end.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_LOOK_UP = 0.5  # seconds after which a waiting thread looks whether the process is ending


def in_threads(work: Callable[[T], R], items: Sequence[T], count: int) -> Iterator[R]:
    """Does a piece of work for each item, several at once.

    Args:
        work: Called with each item, in any thread.
        items: What it is called with.
        count: How many threads there are at most.

    Yields:
        What `work` returned, in the order in which it was done.

    Raises:
        KeyboardInterrupt: If the process is ending while this thread, which is not the main one, waits.
        BaseException: What `work` raised first; work that has begun is still done, none is begun any more.
    """
    todo: queue.SimpleQueue[T] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[R | None, BaseException | None]] = queue.SimpleQueue()
    stopped = threading.Event()
    for item in items:
        todo.put(item)

    def run() -> None:
        while not stopped.is_set():
            try:
                item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((work(item), None))
            except BaseException as error:  # raised below, in the caller's thread
                done.put((None, error))

    try:
        for _ in range(min(count, len(items))):
            threading.Thread(target=run, daemon=True).start()
        for _ in items:
            result, error = _next(done)
            if error is not None:
                raise error
            yield result  # type: ignore[misc]  # without an error it is what `work` returned
    finally:
        stopped.set()


def _next(done: queue.SimpleQueue[T]) -> T:
    while True:
        try:
            return done.get(timeout=_LOOK_UP)
        except queue.Empty:
            if not threading.main_thread().is_alive():
                raise KeyboardInterrupt from None


def begun(work: Callable[[], R]) -> Callable[[], R]:
    """Begins a piece of work beside what the caller does next.

    Returns:
        What waits for the result when it is needed, and raises what `work` raised.
    """
    done: queue.SimpleQueue[tuple[R | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put((work(), None))
        except BaseException as error:  # raised below, in the caller's thread
            done.put((None, error))

    threading.Thread(target=run, daemon=True).start()

    def wait() -> R:
        result, error = _next(done)
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # without an error it is what `work` returned

    return wait


def failure_within(seconds: float, ask: Callable[[], object]) -> Exception | None:
    """Asks another machine for something, but not for long.

    It is done in a thread because looking up a host name obeys no time limit of its own.

    Returns:
        What `ask` raised, or a `TimeoutError` if it took too long; `None` if it worked.
    """
    failures: list[Exception] = []

    def run() -> None:
        try:
            ask()
        except Exception as error:  # returned below
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        return TimeoutError(f"no answer within {seconds:g} seconds")
    return failures[0] if failures else None
