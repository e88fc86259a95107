"""What lack of memory looks like, whoever reports it; what to do about it is said where it happens."""

from __future__ import annotations

import errno

import torch

from speechbench.errors import SpeechbenchError

_SAID = (
    "out of memory",  # CUDA's, MPS'
    "can't allocate memory",  # the CPU's
    "Cannot allocate memory",  # the operating system's
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""What torch's plain `RuntimeError`s say of it."""


class ShortOfMemoryError(SpeechbenchError):
    """Memory was short, and the message says already what helps there."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error says that memory was short, or was raised because another one did."""
    if error is None:
        return False
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    if isinstance(error, RuntimeError) and any(text in str(error) for text in _SAID):
        return True
    return is_out_of_memory(error.__cause__)
