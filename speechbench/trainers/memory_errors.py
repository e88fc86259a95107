"""Out of memory, said in one sentence: what to lower, and what it is now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from speechbench.errors import SpeechbenchError
from speechbench.out_of_memory import ShortOfMemoryError, is_out_of_memory
from speechbench.trainers.config import TrainConfig

_LEAST = {"num_generations": 2, "per_device_train_batch_size": 1, "max_completion_length": 1}


@contextmanager
def saying_what_to_lower(subject: str, config: TrainConfig, step: Callable[[], int]) -> Iterator[None]:
    """Turns the lack of memory, in whichever part of a training, into one sentence with the remedy.

    Args:
        subject: What trains on what, as sentences begin.
        config: Of the training; the fields that memory depends on are named with their values.
        step: Gives the number of the step that is being taken.

    Raises:
        SpeechbenchError: Instead of the error of torch, numpy or a reward; one that says already what helps stays.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, ShortOfMemoryError) or not is_out_of_memory(error):
            raise
        raise SpeechbenchError(
            f"{subject} ran out of memory in step {step()}: {_remedies(config)}, or free memory and run the "
            "same command again, which goes on from the last checkpoint"
        ) from error


@contextmanager
def saying_how_to_do_without(subject: str, beta: float) -> Iterator[None]:
    """Turns the lack of memory for the model before training into one sentence with the remedy.

    Args:
        subject: What trains on what, as sentences begin.
        beta: Its weight of the KL, which is what that model is for.

    Raises:
        ShortOfMemoryError: Instead of torch's error.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise ShortOfMemoryError(
            f"{subject} ran out of memory as it copied the model that the KL is taken to: set beta: 0 (now {beta:g}) "
            "in --config, or give the model lora_rank=16, whose weights alone are then copied, or free memory, and run "
            "the same command again"
        ) from error


def _remedies(config: TrainConfig) -> str:
    # Who draws no samples learns references whole, whatever length an answer may have.
    names = _LEAST if hasattr(config, "num_generations") else ("per_device_train_batch_size",)
    lower = [f"{n} (now {getattr(config, n)})" for n in names if getattr(config, n) > _LEAST[n]]
    remedies = [f"lower {' or '.join([', '.join(lower[:-1]), lower[-1]] if lower[1:] else lower)}"] if lower else []
    if not config.gradient_checkpointing:
        remedies.append("set gradient_checkpointing: true (now false)")
    return f"{', or '.join(remedies)} in --config" if remedies else "take a smaller model"
