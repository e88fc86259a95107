"""Recipes by their name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from speechbench.errors import MissingError, UsageError, did_you_mean
from speechbench.grammar import parse
from speechbench.recipes.base import Recipe
from speechbench.recipes.paper import RECIPES


def get(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        UsageError: If there is none; the message has the nearest.
    """
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {name!r}: {did_you_mean(name, RECIPES)}")
    return RECIPES[name]


@contextmanager
def saying_where(recipe: str | None, benchmark: str) -> Iterator[None]:
    """Where data is missing in the block, the error also says by which flag a recipe's data is named.

    Args:
        recipe: Name of the recipe; `None` for none.
        benchmark: Spec of the one that is used.
    """
    try:
        yield
    except MissingError as error:
        plug = None if recipe is None else get(recipe).benchmark
        if plug is None or parse(benchmark).name != plug.name:
            raise
        raise MissingError(f"{error}; with --recipe {recipe}: {plug.how_to_get}") from None


def show(name: str) -> Recipe:
    """The recipe of this name, all of whose values `Recipe.rows` tells.

    Raises:
        UsageError: If there is none.
    """
    return get(name)


def list() -> dict[str, str]:
    """All recipes by name, and what they are."""
    return {name: recipe.summary for name, recipe in RECIPES.items()}
