"""From a reward's spec to the reward."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from speechbench.benchmarks.base import Benchmark
from speechbench.errors import UsageError
from speechbench.registry import REWARDS
from speechbench.rewards.base import Reward
from speechbench.rewards.function import FunctionReward, bind, source_hash
from speechbench.rewards.shuffled import Shuffled
from speechbench.specs import Spec, parse

_SHUFFLED = "shuffled"  # the one reward whose argument is a reward


def load_reward(
    spec: str | Spec, benchmark: Benchmark | None = None, known: Mapping[str, Reward] | None = None
) -> Reward:
    """Makes the reward that a spec asks for.

    Args:
        spec: As in `bleu`, `chrf(word_order=2)`, `path/to/file.py:name` or `shuffled(bleu)`; what is registered, or
            stands in the file, is a subclass of `Reward` or a function `(completions, **columns) ->
            list[float | None]`.
        benchmark: What it is to be used on, if known: fills in what depends on it, and refuses what must not be.
        known: Rewards made before, by resolved spec: what stands there is not made again.

    Returns:
        The reward, with `spec` set to the resolved spec. If it is the user's own, its signature holds a hash of
        its code, so that an edited one is a new reward.

    Raises:
        UsageError: If there is no such reward, it takes no such parameter, or it must not be used there.
        MissingError: If something it needs is not installed.
    """
    spec = resolve(parse(spec) if isinstance(spec, str) else spec, benchmark)
    if known is not None and str(spec) in known:
        return known[str(spec)]
    inner = _inner(spec)
    reward = _made(spec) if inner is None else Shuffled(load_reward(inner, benchmark, known))
    reward.spec = spec
    if not getattr(reward, "display", ""):
        reward.display = row_name(spec)
    digest = REWARDS.file_hash(spec.name)
    if digest is not None:
        vars(reward)["signature"] = _FileSignature(reward, digest)
    if benchmark is not None:
        reward.check(benchmark)
    _require_json(reward)
    return reward


def _require_json(reward: Reward) -> None:
    """A signature is hashed and kept: what has no text of its own would be another one each time."""
    for key, value in reward.signature().items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"reward {reward.spec}: its signature has {key}={value!r}, which JSON cannot hold ({error}): give "
                "texts, numbers, lists and dictionaries"
            ) from None


def resolve(spec: Spec, benchmark: Benchmark | None = None) -> Spec:
    """The spec in its one spelling, with what it leaves to the benchmark: which checkpoint `comet` means.

    Raises:
        UsageError: If there is no such reward, or it takes no such arguments.
    """
    inner = _inner(spec)
    if inner is not None:
        return Spec(spec.name, arguments=(resolve(inner, benchmark),))
    plug = REWARDS.get(spec.name)
    if inspect.isclass(plug):
        spec = spec.named(plug, "reward")
    if spec.name == "comet" and "model" not in spec.parameters and benchmark is not None:
        return Spec(spec.name, {**spec.parameters, "model": benchmark.comet_checkpoint})
    return spec


def row_name(spec: Spec) -> str:
    """How a reward is called in a row of the board.

    Returns:
        The spec's text: of `path/to/file.py:name` only the name, and comet without its checkpoint, which the
        column names; the same inside `shuffled(...)`.
    """
    inner = _inner(spec)
    if inner is not None:
        return f"{spec.name}({row_name(inner)})"
    parameters = {key: value for key, value in spec.parameters.items() if (spec.name, key) != ("comet", "model")}
    return str(replace(spec, name=spec.name.rpartition(":")[2], parameters=parameters))


def is_own(spec: Spec) -> bool:
    """Whether the reward, or the one inside `shuffled(...)`, is the user's own: its code tells it, not its path."""
    inner = _inner(spec)
    return REWARDS.file_hash(spec.name) is not None if inner is None else is_own(inner)


def _inner(spec: Spec) -> Spec | None:
    """The reward inside `shuffled(...)`; `None` for any other spec.

    Raises:
        UsageError: If there is not exactly one inside.
    """
    if spec.name != _SHUFFLED:
        return None
    if spec.parameters or len(spec.arguments) != 1 or not isinstance(spec.arguments[0], (str, Spec)):
        raise UsageError(
            f"reward {spec}: it takes one other reward, as in shuffled(bleu) or shuffled(chrf(word_order=2))"
        )
    inner = spec.arguments[0]
    return parse(inner) if isinstance(inner, str) else inner


@dataclass(frozen=True)
class _FileSignature:
    """The signature of a reward from a file, in place of its method: the same, and the file's hash."""

    reward: Reward
    digest: str

    def __call__(self) -> Mapping[str, Any]:
        return {**type(self.reward).signature(self.reward), "file": self.digest}


def _made(spec: Spec) -> Reward:
    plug = REWARDS.get(spec.name)
    if inspect.isclass(plug) and issubclass(plug, Reward):
        return spec.build(plug, "reward")
    if not inspect.isfunction(plug):
        raise UsageError(
            f"reward {spec} is {_a(plug)}: it should be a subclass of speechbench.rewards.Reward, "
            "or a function (completions, **columns) -> list of scores"
        )
    name = row_name(spec)
    if spec.arguments:
        raise UsageError(f"reward {name}: a function's parameters need their names: write name=value")
    return FunctionReward(bind(plug, spec.parameters, name), name, source_hash(plug, name))


def _a(plug: object) -> str:
    return f"the class {plug.__qualname__}" if inspect.isclass(plug) else f"of type {type(plug).__name__}"
