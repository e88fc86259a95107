"""What `speechbench rewards list` and `show` do: tell what the scorers are, from their docstrings and declarations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from speechbench.benchmarks.base import Benchmark
from speechbench.benchmarks.loading import load_benchmark
from speechbench.docstrings import paragraphs
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.grammar import parse_expression
from speechbench.hub import without_downloads
from speechbench.parameters import Parameter, parameters_of, place_of
from speechbench.registry import REWARDS
from speechbench.rewards.base import Reward
from speechbench.rewards.function import COLUMNS, FunctionReward
from speechbench.rewards.loading import load_reward, resolve
from speechbench.specs import Spec


@dataclass(frozen=True)
class Listed:
    """One line of the list of rewards.

    Attributes:
        name: As in a spec.
        family: As in `Reward`; empty for a plain function, and for what was not imported.
        summary: The first paragraph of its docstring.
        needs: What an example must have, sorted.
        extra: What to install, as in `pip install 'speechbench[extra]'`; empty for none.
        where: Where it is registered.
        broken: Why it cannot be imported; empty where it can.
    """

    name: str
    family: str
    summary: str
    needs: tuple[str, ...]
    extra: str
    where: str
    broken: str = ""


@dataclass(frozen=True)
class Description:
    """What a scorer is.

    Attributes:
        spec: What is shown, with what the benchmark fills in.
        benchmark: Spec of the benchmark that the signature is for.
        display: What its column is called.
        summary: The first paragraph of its docstring.
        details: The paragraphs after it, without the sections on arguments and errors.
        parameters: In their order.
        columns: Of a plain function: what it asks for by name; "*" for all columns there are.
        family: As in `Reward`; empty for a plain function.
        lowest: On unit scale; `None` where there is no bound.
        highest: On unit scale; `None` where there is no bound.
        maximum: What gold scores, on unit scale; `None` where that is not sure.
        scale: Field's scale over unit scale.
        lower_is_better: Whether the metric counts errors.
        aggregate: How the corpus score is made.
        needs: What an example, or a batch, must have, sorted.
        several_references: As in `Reward`.
        languages: Sorted; empty for any.
        extra: What to install; empty for none.
        missing: Packages of the extra that are not installed; `None` where that cannot be told.
        where: Where it is registered.
        citation: Paper or library it comes from.
        signature: Everything its scores depend on; `None` if it cannot be had here.
        no_signature: Why not.
    """

    spec: str
    benchmark: str
    display: str
    summary: str
    details: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    columns: tuple[str, ...]
    family: str
    lowest: float | None
    highest: float | None
    maximum: float | None
    scale: float
    lower_is_better: bool
    aggregate: str
    needs: tuple[str, ...]
    several_references: str
    languages: tuple[str, ...]
    extra: str
    missing: tuple[str, ...] | None
    where: str
    citation: str
    signature: Mapping[str, Any] | None
    no_signature: str


def listing() -> dict[str, Listed]:
    """All registered rewards by name, sorted; one that cannot be imported says why, and hinders no other.

    Of those that installed packages declare only the place is told: nobody imports a package by looking at a list.
    """
    return {name: _listed(name) for name in REWARDS.names()}


def show(spec: str, benchmark: str = "covost2-mini") -> Description:
    """What the scorer is that a spec asks for.

    Args:
        spec: As in `bleu`, `comet(model=tiny)`, `path/to/file.py:name`, `0.7*bleu + 0.3*chrf`. A name alone is
            shown even if it cannot be used as it stands, because it needs parameters or refuses the benchmark.
        benchmark: Spec of the benchmark whose language and checkpoint the signature is for.

    Raises:
        UsageError: If there is no such reward or benchmark, or the reward takes no such parameters.
    """
    loaded = load_benchmark(benchmark)
    asked = parse_expression(spec)
    place = REWARDS.where(asked.name) or asked.name
    plug = REWARDS.get(asked.name)
    reward: Reward | None
    signature, why = None, ""
    try:
        with without_downloads():  # gigabytes, only to be shown
            reward = load_reward(asked, loaded)
            asked, signature = reward.spec, reward.signature()
    except SpeechbenchError as error:
        why = str(error)
        reward = _without_signature(asked, plug, loaded)
        is_bare = not asked.parameters and not asked.arguments
        if reward is None and (not _is_class(plug) or (isinstance(error, UsageError) and not is_bare)):
            raise
    of: Any = plug if reward is None else reward
    is_function = isinstance(reward, FunctionReward)
    low, high = _declared(of, "range")
    extra = str(_declared(of, "extra"))
    summary, *details = paragraphs(plug)
    return Description(
        spec=str(getattr(reward, "spec", asked)),
        benchmark=str(loaded.name),
        display=str(_declared(of, "display") or asked),
        summary=summary,
        details=tuple(details),
        parameters=tuple(parameters_of(plug, asked, COLUMNS)),
        columns=tuple(_columns(plug)) if is_function else (),
        family="" if is_function else str(_declared(of, "family")),
        lowest=_finite(low),
        highest=_finite(high),
        maximum=_declared(of, "maximum"),
        scale=_declared(of, "scale"),
        lower_is_better=_declared(of, "lower_is_better"),
        aggregate=_declared(of, "aggregate"),
        needs=tuple(sorted(_declared(of, "needs"))),
        several_references=_declared(of, "several_references"),
        languages=tuple(sorted(_declared(of, "languages"))),
        extra=extra,
        missing=missing_packages(extra),
        where=place_of(plug, place),
        citation=str(_declared(of, "citation")),
        signature=None if signature is None else dict(signature),
        no_signature=why,
    )


def missing_packages(extra: str) -> tuple[str, ...] | None:
    """Which packages of an extra of speechbench are not installed.

    Args:
        extra: Its name; several are joined by commas; empty for none.

    Returns:
        Names, sorted; `None` where speechbench itself is not installed, only on the path, so that nothing is known.
    """
    from importlib.metadata import PackageNotFoundError

    try:
        return tuple(sorted({name for one in extra.split(",") if one for name in _missing("speechbench", one.strip())}))
    except PackageNotFoundError:
        return None


def _missing(package: str, extra: str) -> Iterator[str]:
    """The packages that an extra of a package asks for and that are not there, their own extras included."""
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    for requirement in map(Requirement, requires(package) or ()):
        if requirement.marker is None or not requirement.marker.evaluate({"extra": extra}):
            continue
        if requirement.marker.evaluate({"extra": ""}):  # of every installation
            continue
        try:
            version(requirement.name)
        except PackageNotFoundError:
            yield requirement.name
        else:
            for inner in requirement.extras:
                yield from _missing(requirement.name, inner)


def _listed(name: str) -> Listed:
    place = REWARDS.where(name)
    if not REWARDS.is_at_hand(name):  # a package is imported only for who asks for its plugs
        return Listed(name, "", "", (), "", place)
    try:
        plug = REWARDS.get(name)
        where = place_of(plug, place)
        family = str(_declared(plug, "family")) if _is_class(plug) else ""
        needs = tuple(sorted(_declared(plug, "needs"))) if _is_class(plug) else ()
        extra = str(_declared(plug, "extra")) if _is_class(plug) else ""
        return Listed(name, family, paragraphs(plug)[0], needs, extra, where)
    except Exception as error:  # whatever a package does when it is imported
        said = " ".join(f"{type(error).__name__}: {error}".split())
        broken = str(error) if isinstance(error, SpeechbenchError) else said
        return Listed(name, "", "", (), "", place, broken)


def _without_signature(asked: Spec, plug: Any, benchmark: Benchmark) -> Reward | None:
    """The reward where only its signature, or its use on the benchmark, is what fails; else `None`."""
    if not _is_class(plug):
        return None
    try:
        spec = resolve(asked, benchmark)
        reward: Reward = spec.build(plug, "reward")
    except SpeechbenchError:
        return None
    reward.spec = spec
    return reward


def _is_class(plug: object) -> bool:
    return inspect.isclass(plug) and issubclass(plug, Reward)


def _declared(of: Any, name: str) -> Any:
    """An attribute of a reward or, where there is none, of its class; what only an instance has is the default."""
    value = getattr(of, name, None)
    return getattr(Reward, name, None) if isinstance(value, property) else value


def _finite(bound: float) -> float | None:
    return bound if abs(bound) != float("inf") else None


def _columns(function: Callable[..., Any]) -> Iterator[str]:
    """What a function is given: the rest of its parameters."""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            yield "*"
        elif parameter.default is parameter.empty or parameter.name in COLUMNS:
            yield parameter.name
