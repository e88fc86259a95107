"""How torch and transformers are set up before any work: the same result each time, and a quiet screen."""

from __future__ import annotations


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
