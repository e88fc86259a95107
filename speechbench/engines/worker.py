"""A process that does runs for another: it loads torch, the model and the data once, then does what it is handed.

`python -m speechbench.engines.worker MESSAGES LIFE` is started by `speechbench.engines.local` with two open files: a
connection over which it is told what to do and tells what came of it, and a pipe that closes when the other process is
gone, however it went. Then, as at SIGTERM, the present step is ended and saved.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection

from speechbench.engines.doing import FAILED, STOPPED, Outcome, doer_of, portable
from speechbench.engines.together import end_with


def main() -> None:
    """Does runs until there are none, or nobody who wants them."""
    messages, life = (int(word) for word in sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's is heard by who started this one
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    end_with(life)
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError):
        _work(Connection(messages))
    os._exit(0)  # taking torch down in good order takes seconds


def _work(connection: Connection) -> None:
    asked, doer = connection.recv(), None
    while True:
        id_ = connection.recv()
        try:
            doer = doer or doer_of(asked)
            outcome = doer.do(id_)
        except KeyboardInterrupt:
            connection.send(Outcome(id_, STOPPED))
            raise
        except Exception as error:
            outcome = Outcome(id_, FAILED, portable(error))
        connection.send(outcome)


if __name__ == "__main__":
    main()
