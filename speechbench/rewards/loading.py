"""From a reward's spec to the reward."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from speechbench.benchmarks.base import Benchmark
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.registry import REWARDS
from speechbench.rewards.base import Reward
from speechbench.rewards.function import FunctionReward, bind, source_hash
from speechbench.specs import Spec, parse


def load_reward(spec: str | Spec, benchmark: Benchmark | None = None) -> Reward:
    """Makes the reward that a spec asks for.

    Args:
        spec: As in `bleu`, `chrf(word_order=2)` or `path/to/file.py:name`; what is registered, or stands in the
            file, is a subclass of `Reward` or a function `(completions, **columns) -> list[float | None]`.
        benchmark: What it is to be used on, if known: fills in what depends on it, and refuses what must not be.

    Returns:
        The reward, with `spec` set to the resolved spec. If it comes from a file, its signature holds a hash of
        the file's text, so that an edited file is a new reward.

    Raises:
        UsageError: If there is no such reward, it takes no such parameter, or it must not be used there.
        MissingError: If something it needs is not installed.
    """
    spec = resolve(parse(spec) if isinstance(spec, str) else spec, benchmark)
    name = _short(spec)
    plug = REWARDS.get(spec.name)
    if inspect.isclass(plug) and issubclass(plug, Reward):
        reward = _built(plug, spec)
    elif inspect.isfunction(plug):
        reward = FunctionReward(bind(plug, spec.parameters, name), name, source_hash(plug, name))
    else:
        raise UsageError(
            f"reward {spec} is {_a(plug)}: it should be a subclass of speechbench.rewards.Reward, "
            "or a function (completions, **columns) -> list of scores"
        )
    reward.spec = spec
    if not getattr(reward, "display", ""):
        reward.display = name
    digest = REWARDS.file_hash(spec.name)
    if digest is not None:
        vars(reward)["signature"] = _FileSignature(reward, digest)
    if benchmark is not None:
        reward.check(benchmark)
    return reward


def resolve(spec: Spec, benchmark: Benchmark | None = None) -> Spec:
    """Fills in what a spec leaves to the benchmark: which checkpoint `comet` means."""
    if spec.name == "comet" and "model" not in spec.parameters and benchmark is not None:
        return Spec(spec.name, {**spec.parameters, "model": benchmark.comet_checkpoint})
    return spec


@dataclass(frozen=True)
class _FileSignature:
    """The signature of a reward from a file, in place of its method: the same, and the file's hash."""

    reward: Reward
    digest: str

    def __call__(self) -> Mapping[str, Any]:
        return {**type(self.reward).signature(self.reward), "file": self.digest}


def _built(plug: type[Reward], spec: Spec) -> Reward:
    if inspect.isabstract(plug):
        raise UsageError(f"reward {spec}: the class lacks {', '.join(sorted(plug.__abstractmethods__))}")
    try:
        return spec.build(plug, "reward")
    except SpeechbenchError:
        raise
    except Exception as error:
        raise UsageError(f"reward {spec} cannot be made: {type(error).__name__}: {error}") from error


def _short(spec: Spec) -> str:
    """The spec's text, of `path/to/file.py:name` only the name."""
    return str(Spec(spec.name.rpartition(":")[2], spec.parameters))


def _a(plug: object) -> str:
    return f"the class {plug.__qualname__}" if inspect.isclass(plug) else f"of type {type(plug).__name__}"
