"""The errors that are a user's to mend: one clear sentence, never a traceback."""

from __future__ import annotations


class SpeechbenchError(Exception):
    """The work failed for a reason the user can mend; the message says what, where and how.

    Attributes:
        exit_status: What the command exits with.
    """

    exit_status = 1


class MissingError(SpeechbenchError):
    """An extra, a checkpoint or a data set is missing; the message ends with the command that mends it."""


class UsageError(SpeechbenchError):
    """The call was wrong: a mistyped name, a bad value, options that do not go together."""

    exit_status = 2
