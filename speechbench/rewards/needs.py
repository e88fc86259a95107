"""What a reward needs of the data, looked up before the work begins."""

from __future__ import annotations

from collections.abc import Iterable

from speechbench.benchmarks.base import Example
from speechbench.errors import UsageError
from speechbench.rewards.base import Reward

_FIELDS = {"reference": "references", "source": "source", "audio": "audio"}


def lacking(reward: Reward, examples: Iterable[Example]) -> list[str]:
    """What a reward needs of examples that none of these has, sorted; all of it where there are none."""
    unmet = sorted(reward.needs & _FIELDS.keys())
    for example in examples:
        if not unmet:
            break
        unmet = [need for need in unmet if not getattr(example, _FIELDS[need])]
    return unmet


def require_met(reward: Reward, examples: Iterable[Example], benchmark: str) -> None:
    """Refuses a reward that could score nothing of what is trained on.

    Args:
        reward: What is trained on.
        examples: Of the training split.
        benchmark: The benchmark's name, for the message.

    Raises:
        UsageError: If no example has what it needs.
    """
    if unmet := lacking(reward, examples):
        raise UsageError(
            f"reward {reward.spec} needs {' and '.join(unmet)}, which no training example of {benchmark} has: "
            "choose another reward, or give the benchmark's data with it"
        )
