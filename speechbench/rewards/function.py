"""A plain function as a reward, with the signature that TRL's users know."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from speechbench.errors import UsageError
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.measure import is_number
from speechbench.sources import definition_hash_of
from speechbench.specs import Value

# What every function can ask for by name; the examples' other columns come on top.
COLUMNS = ("completions", "prompts", "references", "reference", "source", "language", "audio", "id")
_HYPOTHESIS = "hypothesis"  # who names it is called for one hypothesis at a time
_NEEDS = {"reference": "reference", "references": "reference", "source": "source", "audio": "audio"}


class FunctionReward(Reward):
    """Wraps `function(completions, **columns) -> list[float | None]`, or `function(hypothesis, reference) -> float`.

    A function is called by keyword, with those of these lists that it names (all, if it takes `**columns`),
    each with one entry per hypothesis: `completions` (the hypotheses), `prompts` (the instructions),
    `references` (a list each), `reference` (the first), `source`, `language` (the target's), `audio` (an `Audio`,
    whose `samples(rate)` decodes it), `id`, and the examples' other columns.

    A function that names `hypothesis` is called once for each hypothesis, with single values instead of lists, and
    returns one score. One that names `reference` is called for each of several references: the best score counts.

    It needs what it names of references, source and audio without a default. Where an example lacks it, the entry is
    `None` (an empty list of `references`), and a function that is called for each reference is not called.

    A function's attribute `range`, a pair, declares the lowest and highest score.

    Args:
        function: What is called; parameters other than the columns are bound already.
        name: What it is called in tables.
        source_hash: Of its source text, as `source_hash` gives it: an edited function is another reward.

    Raises:
        UsageError: If it is async, takes neither `completions` nor `hypothesis`, or its `range` is no pair of
            numbers.
    """

    range = (-math.inf, math.inf)
    needs = frozenset()

    def __init__(self, function: Callable[..., Any], name: str, source_hash: str) -> None:
        self.function, self.display, self.source_hash = function, name, source_hash
        parameters = inspect.signature(function).parameters.values()
        self._takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
        by_keyword = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        self._names = {p.name for p in by_keyword}
        self._required = {p.name for p in by_keyword if p.default is p.empty}
        self._is_for_one = _HYPOTHESIS in self._names
        self.needs = frozenset(_NEEDS[name] for name in self._required & _NEEDS.keys())
        self.several_references = self._how_several_count()
        positional_only = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
        plain = _unwrapped(function)
        if inspect.iscoroutinefunction(plain):
            raise UsageError(f"reward {name}: the function is async; write a plain one")
        if positional_only or not (self._takes_all or self._is_for_one or "completions" in self._names):
            raise UsageError(
                f"reward {name}: the function must take `completions` by name and return a list of scores, or take "
                "`hypothesis` (and `reference`) by name and return one"
            )
        if hasattr(plain, "range"):
            self.range = _checked_range(plain.range, name)
        # Without a declared unit range there is no field's scale to show it on.
        self.scale = 100.0 if self.range == (0.0, 1.0) else 1.0

    def score(self, batch: Batch) -> list[float | None]:
        """What the function returns.

        Raises:
            UsageError: If it requires a column that the examples lack.
        """
        columns = self._columns(batch)
        if self._is_for_one:
            columns[_HYPOTHESIS] = columns.pop("completions")
        missing = sorted(self._required - columns.keys())
        if missing:
            raise UsageError(
                f"reward {self.display} requires {missing[0]!r}, which is no column of the examples: "
                f"they have {', '.join(sorted(columns))}"
            )
        wanted = {key: value for key, value in columns.items() if self._takes_all or key in self._names}
        if not self._is_for_one:
            result: list[float | None] = self.function(**wanted)
            return result
        rows = [dict(zip(wanted, values, strict=True)) for values in zip(*wanted.values(), strict=True)]
        return [self._best(row, example.references) for row, example in zip(rows, batch.examples, strict=True)]

    def _how_several_count(self) -> str:
        """As `several_references` has it."""
        if "reference" in self._names and self._is_for_one:
            return "best"
        return "pooled" if "references" in self._names else "first" if "reference" in self._names else "none"

    def _best(self, row: dict[str, Any], references: Sequence[str]) -> float | None:
        """The function's score of one hypothesis against the reference that suits it best."""
        if "reference" not in self._names:
            score: float | None = self.function(**row)
            return score
        scores = [self.function(**{**row, "reference": reference}) for reference in references]
        known = [score for score in scores if score is not None]
        wrong = [score for score in known if not is_number(score) or not math.isfinite(score)]
        return wrong[0] if wrong else max(known, default=None)

    def signature(self) -> Mapping[str, Any]:
        """Name, SHA-256 of the function's source text, and the parameters bound to it."""
        bound = self.function.keywords if isinstance(self.function, functools.partial) else {}
        return {"name": self.display, "source": self.source_hash, "parameters": dict(bound)}

    def _columns(self, batch: Batch) -> dict[str, list[Any]]:
        examples = batch.examples
        others = dict.fromkeys(key for example in examples for key in example.columns)
        columns: dict[str, list[Any]] = {key: [example.columns.get(key) for example in examples] for key in others}
        columns.update(
            completions=list(batch.hypotheses),
            prompts=[example.instruction for example in examples],
            references=[list(example.references) for example in examples],
            reference=[example.references[0] if example.references else None for example in examples],
            source=[example.source for example in examples],
            language=[example.target_language for example in examples],
            audio=[example.audio for example in examples],
            id=[example.id for example in examples],
        )
        return columns


def bind(function: Callable[..., Any], parameters: Mapping[str, Value], name: str) -> Callable[..., Any]:
    """Fixes a function's own parameters, those that are no columns.

    Raises:
        UsageError: If the function names no such parameter, or it is one of the columns.
    """
    named = inspect.signature(function).parameters
    by_keyword = (p for p in named.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    columns = (*COLUMNS, _HYPOTHESIS)
    own = [p.name for p in by_keyword if p.name not in columns]
    for key in parameters:
        if key in columns:
            raise UsageError(f"reward {name}: {key!r} is a column of the batch and cannot be set")
        if key not in own:
            nearest = difflib.get_close_matches(key, own, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"it has: {', '.join(own) or 'none'}"
            raise UsageError(f"reward {name}: the function has no parameter {key!r}; {hint}")
    return functools.partial(function, **parameters) if parameters else function


def source_hash(function: Callable[..., Any], name: str) -> str:
    """SHA-256 of a function's source text, its indentation aside.

    Raises:
        UsageError: If the source cannot be read, as for a function typed at a prompt.
    """
    try:
        return definition_hash_of(function)
    except (OSError, SyntaxError) as error:
        raise UsageError(
            f"reward {name}: the function's source text cannot be read, so that runs could not tell it from an edited "
            f"one; put it into a file and name that, as path/to/file.py:{getattr(function, '__name__', 'function')}"
        ) from error


def _unwrapped(function: Callable[..., Any]) -> Any:
    return function.func if isinstance(function, functools.partial) else function


def _checked_range(declared: Sequence[float], name: str) -> tuple[float, float]:
    try:
        low, high = (float(bound) for bound in declared)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not low < high:
        raise UsageError(f"reward {name}: its range {declared!r} should be a pair of numbers, the lower first")
    return low, high
