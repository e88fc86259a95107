"""What is asked for when an ablation is planned: what was given, what a recipe says, and else the defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechbench import recipes
from speechbench.answering import PAPER, Drawing
from speechbench.errors import UsageError

DEFAULT_TRAINERS = ("sft", "grpo", "mixed-grpo")
_DEFAULTS: Mapping[str, Any] = {
    "rewards": (),
    "trainers": DEFAULT_TRAINERS,
    "benchmark": "covost2-mini",
    "model": "tiny",
    "seeds": (0,),
    "metrics": (),
    "sampled_passes": 0,
    "sampled_temperature": PAPER.temperature,
    "sampled_top_p": PAPER.top_p,
}


@dataclass(frozen=True)
class Asked:
    """An ablation as it was asked for, before anything is looked up; the fields are `speechbench.planning.plan`'s.

    Attributes:
        sampled: How the second evaluation draws; `None` where none is asked for.
        rewards_are_the_recipes: Whether none was given; they are left out where no trainer takes one.
        split: What the runs are measured on.
        split_limit: Measure on the first so many examples of it; `None` for `limit`.
        processes: That train each run together.
        report_to: Names of `speechbench.reporting.TRACKERS`, which hear of every training; no part of a run's identity.

    Raises:
        UsageError: If a value is none of its kind.
    """

    rewards: Sequence[str]
    trainers: Sequence[str]
    benchmark: str
    model: str
    seeds: Sequence[int]
    controls: bool
    steps: int | None
    limit: int | None
    config: Mapping[str, Mapping[str, Any]]
    out: Path
    strict: bool
    metrics: Sequence[str]
    sampled: Drawing | None
    recipe: str | None = None
    rewards_are_the_recipes: bool = False
    split: str = "test"
    split_limit: int | None = None
    processes: int = 1
    report_to: Sequence[str] = ()

    def __post_init__(self) -> None:
        for what in ("rewards", "trainers", "seeds"):
            _check_list(what, getattr(self, what))
        for what, value, least in (
            ("steps", self.steps, 1), ("limit", self.limit, 1), *(("seed", seed, 0) for seed in self.seeds),
        ):  # fmt: skip
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise UsageError(f"{what}={value!r} should be a whole number, {least} or more")


def ask(recipe: str | None, given: Mapping[str, Any], config: Mapping[str, Mapping[str, Any]], **others: Any) -> Asked:
    """Fills in what was not given: from a recipe where there is one, else from the defaults.

    Args:
        recipe: Its name.
        given: Arguments that a recipe may set, `None` where they were not given. A benchmark or model of the recipe's
            own name changes the parameters that it names, and leaves the recipe's others.
        config: By section, on top of the recipe's settings.
        **others: Of `Asked`, what no recipe sets.

    Raises:
        UsageError: If there is no such recipe, or a value is none of its kind.
        MissingError: If the recipe's data is nowhere named.
    """
    known = {key: value for key, value in given.items() if value is not None}
    if recipe is not None:
        of_recipe = recipes.get(recipe)
        trainers = known.get("trainers", of_recipe.value("trainers"))
        _check_list("trainers", trainers)
        config = of_recipe.config(trainers, config)
        known = of_recipe.arguments(known)
    others["rewards_are_the_recipes"] = recipe is not None and given["rewards"] is None
    filled = {**_DEFAULTS, **known}
    drawing = _sampled(*(filled.pop(f"sampled_{name}") for name in ("passes", "temperature", "top_p")))
    return Asked(**filled, config=config, sampled=drawing, recipe=recipe, **others)


def _sampled(passes: int, temperature: float, top_p: float) -> Drawing | None:
    """How the second evaluation draws; `None` where none is asked for."""
    if passes == 0:
        if (temperature, top_p) != (PAPER.temperature, PAPER.top_p):
            raise UsageError("sampled_temperature and sampled_top_p change nothing without sampled_passes: give it too")
        return None
    if temperature == 0:
        raise UsageError("sampled_temperature=0 is greedy, as the first evaluation is: give a number above 0, as 0.9")
    return Drawing(temperature, top_p, passes)


def _check_list(what: str, value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise UsageError(f"{what}={value!r} should be a list, as in {what}=[{value!r}]")
    if not value and what != "rewards":
        raise UsageError(f"{what} is empty: name at least one")
