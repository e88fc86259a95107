"""From a reward's spec to the reward."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from speechbench.benchmarks.base import Benchmark
from speechbench.errors import UsageError
from speechbench.grammar import parse_expression
from speechbench.registry import REWARDS
from speechbench.rewards.base import Reward
from speechbench.rewards.combined import Product, Sum
from speechbench.rewards.function import FunctionReward, bind, source_hash
from speechbench.rewards.shuffled import Shuffled
from speechbench.specs import PRODUCT, SUM, Spec, as_spec

_SHUFFLED = "shuffled"
_COMPOSED = {  # rewards made of rewards, and what they take
    _SHUFFLED: "one other reward, as in shuffled(bleu) or shuffled(chrf(word_order=2))",
    SUM: "rewards, and normalize, as in sum(0.7*bleu + 0.3*comet, normalize=group)",
    PRODUCT: "rewards, as in bleu*language",
}


def load_reward(
    spec: str | Spec, benchmark: Benchmark | None = None, known: Mapping[str, Reward] | None = None
) -> Reward:
    """Makes the reward that a spec asks for.

    Args:
        spec: As in `bleu`, `chrf(word_order=2)`, `path/to/file.py:name`, `shuffled(bleu)`, `0.7*bleu + 0.3*comet`
            or `bleu*language`; what is registered, or stands in the file, is a subclass of `Reward`, a function
            `(completions, **columns) -> list[float | None]`, or `(hypothesis, reference) -> float | None`.
        benchmark: What it is to be used on, if known: fills in what depends on it, and refuses what must not be.
        known: Rewards made before, by resolved spec: what stands there is not made again.

    Returns:
        The reward, with `spec` set to the resolved spec. If it is the user's own, its signature holds a hash of
        its code, so that an edited one is a new reward.

    Raises:
        UsageError: If there is no such reward, it takes no such parameter, or it must not be used there.
        MissingError: If something it needs is not installed.
    """
    spec = resolve(parse_expression(spec) if isinstance(spec, str) else spec, benchmark)
    if known is not None and str(spec) in known:
        return known[str(spec)]
    reward = _composed(spec, benchmark, known) if _is_composed(spec) else _made(spec)
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

    def resolved(leaf: Spec) -> Spec:
        _refuse_sign(leaf.name)
        plug = REWARDS.get(leaf.name)
        if inspect.isclass(plug):
            leaf = leaf.named(plug, "reward")
        if leaf.name == "comet" and "model" not in leaf.parameters and benchmark is not None:
            leaf = Spec(leaf.name, {**leaf.parameters, "model": benchmark.comet_checkpoint})
        # Without a checkpoint, comet is the benchmark's, which need not be the class's default.
        is_reward = inspect.isfunction(plug) or (inspect.isclass(plug) and issubclass(plug, Reward))
        return leaf.without_defaults(plug, ("model",) if leaf.name == "comet" else ()) if is_reward else leaf

    return parse_expression(str(_mapped(spec, resolved)))  # what is filled in may change the order of a sum


def _refuse_sign(name: str) -> None:
    """Refuses a name in which a sign seems to be meant: names may hold both a minus and a slash."""
    known = REWARDS.names()
    if name in known or ":" in name:
        return
    left, minus, right = name.partition("-")
    if minus and left in known:
        raise UsageError(f"unknown reward {name!r}: where a minus is meant, put spaces around it: {left} - {right}")
    if name.partition("/")[0] in known:
        raise UsageError(f"unknown reward {name!r}: there is no division; write a weight, as in 0.5*bleu")


def row_name(spec: Spec) -> str:
    """How a reward is called in a row of the board.

    Returns:
        The spec's text: of `path/to/file.py:name` only the name, and comet without its checkpoint, which the
        column names; the same inside sums, products and `shuffled(...)`.
    """

    def short(leaf: Spec) -> Spec:
        parameters = {key: value for key, value in leaf.parameters.items() if (leaf.name, key) != ("comet", "model")}
        return replace(leaf, name=leaf.name.rpartition(":")[2], parameters=parameters)

    return str(_mapped(spec, short))


def identity(reward: Reward) -> str:
    """A reward's spec as far as it decides about scores: without paths, and without parameters that do not.

    Two rewards of one identity and one signature score alike.
    """

    def lasting(leaf: Spec) -> Spec:
        incidental: frozenset[str] = getattr(REWARDS.get(leaf.name), "incidental", frozenset())
        told = {key: value for key, value in leaf.parameters.items() if key not in incidental}
        return replace(leaf, name=leaf.name.rpartition(":")[2], parameters=told)

    return str(_mapped(reward.spec, lasting))


def is_own(spec: Spec) -> bool:
    """Whether the reward, or one that it is made of, is the user's own: its code tells it, not its path."""
    if _is_composed(spec):
        return any(is_own(as_spec(argument)) for argument in spec.arguments if not isinstance(argument, float))
    return REWARDS.file_hash(spec.name) is not None


def _is_composed(spec: Spec) -> bool:
    """Whether its arguments are rewards.

    Raises:
        UsageError: If it should be made of rewards and is not.
    """
    if spec.name not in _COMPOSED:
        return False
    rewards = [argument for argument in spec.arguments if isinstance(argument, (str, Spec))]
    weights = [argument for argument in spec.arguments if isinstance(argument, float)]
    known = {"normalize"} if spec.name == SUM else set()
    expected = 1 if spec.name == _SHUFFLED else max(1, len(rewards))
    if len(rewards) != expected or len(rewards) + len(weights) != len(spec.arguments) or set(spec.parameters) - known:
        raise UsageError(f"reward {spec}: it takes {_COMPOSED[spec.name]}")
    return True


def _mapped(spec: Spec, change: Callable[[Spec], Spec]) -> Spec:
    """The spec with each reward that is not made of rewards changed."""
    if not _is_composed(spec):
        return change(spec)
    arguments = [a if isinstance(a, float) else _mapped(as_spec(a), change) for a in spec.arguments]
    return replace(spec, arguments=tuple(arguments))


def _composed(spec: Spec, benchmark: Benchmark | None, known: Mapping[str, Reward] | None) -> Reward:
    if spec.name == _SHUFFLED:
        return Shuffled(load_reward(as_spec(spec.arguments[0]), benchmark, known))
    if spec.name == PRODUCT:
        weight, rest = spec.weighted
        factors = map(as_spec, rest.arguments) if rest.is_product else [rest]
        return Product([load_reward(factor, benchmark, known) for factor in factors], weight)
    terms = [as_spec(argument).weighted for argument in spec.arguments]
    parts = [load_reward(reward, benchmark, known) for _, reward in terms]
    return Sum(parts, [weight for weight, _ in terms], str(spec.parameters.get("normalize", "none")))


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
            "or a function (completions, **columns) -> list of scores, or (hypothesis, reference) -> score"
        )
    name = row_name(spec)
    if spec.arguments:
        raise UsageError(f"reward {name}: a function's parameters need their names: write name=value")
    return FunctionReward(bind(plug, spec.parameters, name), name, source_hash(plug, name))


def _a(plug: object) -> str:
    return f"the class {plug.__qualname__}" if inspect.isclass(plug) else f"of type {type(plug).__name__}"
