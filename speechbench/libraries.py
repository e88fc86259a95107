"""Other people's libraries: set up before any work, for the same result each time and a quiet screen; or missed."""

from __future__ import annotations

import importlib
from types import ModuleType

from speechbench.errors import MissingError


def set_up() -> None:
    """Turns on deterministic algorithms, and keeps the libraries' own notices and bars off the screen."""
    import logging
    import os
    import warnings

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(transformers|torch|numpy|accelerate)\b")
    import torch
    from transformers.utils import logging as transformers_logging

    torch.use_deterministic_algorithms(True, warn_only=True)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)


def needed(module: str, extra: str, what: str) -> ModuleType:
    """A library that not every installation has.

    Args:
        module: What is imported.
        extra: Of speechbench, which brings it.
        what: What needs it, as "reward language".

    Raises:
        MissingError: If it is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingError(
            f"{what} needs the package {module.partition('.')[0]}, which is not installed: "
            f"run `pip install 'speechbench[{extra}]'`"
        ) from None
