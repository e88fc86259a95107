"""Recipes: whole set-ups under a name, each value marked as the paper's or as ours, with the reason.

A recipe fills in what is not given to `speechbench.planning.plan`; everything in it can be overridden.
"""

from speechbench.recipes.base import Recipe
from speechbench.recipes.known import get, list, saying_where, show

__all__ = ["Recipe", "get", "list", "saying_where", "show"]
