"""The reward `evaluate`: any metric of the library of that name, from its hub or from a script of one's own."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.hub import without_downloads
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.hf_evaluate_metric import (
    INPUTS,
    Inputs,
    check_options,
    fingerprint,
    inputs_of,
    load,
    local_script,
)
from speechbench.rewards.measure import is_number
from speechbench.rewards.texts import column
from speechbench.specs import write


class Evaluate(Reward):
    """A metric of the library evaluate: one value of what it computes, for each hypothesis.

    A metric whose value is a list with one number per prediction scores a batch in one call, any other is computed
    for each hypothesis by itself. The corpus score is the mean over segments, because the board resamples these;
    where the library's own corpus value is no such mean (as that of BLEU), the two differ. A metric that takes one
    reference per prediction gets the first, one that takes a list gets all; one with "sources" gets the transcript.

    Args:
        path: Name on the hub, "rouge" or "owner/name", or a local script, or a folder that holds a script of its
            name. What was loaded from the hub before is taken as it was then.
        field: Which value of the result is the score, as "rougeL".
        scale: What the best value is: 1, or 100 for metrics from 0 to 100. The reward is the value over it.
        lower_is_better: Whether the value is an error, as a word error rate: the reward is then 1 less value over
            scale, clipped to [0, 1], and the metric the value itself.
        empty: Value of a hypothesis without a visible character, for metrics that fail on it; by default the
            metric is asked.
        config_name: The metric's configuration, for those that have several.
        options: What else the metric's `compute` is told, as lang=de.

    Raises:
        UsageError: If there is no such script, it cannot be loaded, it does not judge texts, or one of these is not
            what it should be.
    """

    family = "learned"
    range = (-math.inf, math.inf)
    several_references = "pooled"
    extra = "evaluate"
    incidental = frozenset({"path"})
    citation: ClassVar[str] = (
        "von Werra et al. 2022, https://aclanthology.org/2022.emnlp-demos.13; and the metric's own"
    )

    def __init__(
        self,
        path: str,
        field: str,
        scale: float = 1.0,
        lower_is_better: bool = False,
        empty: float | None = None,
        config_name: str | None = None,
        **options: bool | int | float | str | None,
    ) -> None:
        texts = {"path": path, "field": field} | ({} if config_name is None else {"config_name": config_name})
        for name, text in texts.items():
            if not isinstance(text, str) or not text.strip():
                raise UsageError(
                    f"evaluate({name}={text}): it should be a text that is not empty, in quotes if need be"
                )
        if not isinstance(scale, (int, float)) or not 0 < scale < math.inf:
            raise UsageError(
                f"evaluate(scale={scale}): it should be a number above 0, as 100 for a metric from 0 to 100"
            )
        if not isinstance(lower_is_better, bool):
            raise UsageError(f"evaluate(lower_is_better={lower_is_better}): write true or false")
        if empty is not None and not (isinstance(empty, (int, float)) and math.isfinite(empty)):
            raise UsageError(f"evaluate(empty={empty}): it should be a number on the metric's own scale")
        for name in INPUTS:
            if name in options:
                raise UsageError(f"evaluate({name}=...): the benchmark gives the {name}: leave it out")
        self.path, self.field, self.scale, self.lower_is_better = path, field, float(scale), lower_is_better
        self.empty = None if empty is None else float(empty)
        self.config_name, self.options = config_name, options
        self._script = local_script(path)
        self._name = path if self._script is None else self._script.stem
        told = {**options, **({} if self.empty is None else {"empty": self.empty})}
        shown = [f"{name}={write(value)}" for name, value in sorted(told.items())]
        self.display = column("evaluate", self._name, None if field == self._name else field, config_name, *shown)
        if lower_is_better:
            self.range = (0.0, 1.0)
        self._per_prediction: bool | None = None
        self._last: tuple[Batch, list[float | None]] | None = None
        with suppress(MissingError), without_downloads():  # what is on this machine tells at once what it needs
            self._loaded  # noqa: B018  # and kept; the library alone takes some ten seconds

    def check(self, benchmark: Benchmark) -> None:
        """Loads the metric, so that what is lacking is told before any work.

        Raises:
            MissingError: If the library is not installed, or the metric is neither here nor to be had.
            UsageError: If it does not judge texts.
        """
        self._loaded  # noqa: B018

    def prepare(self, examples: Sequence[Example]) -> None:
        """Loads the metric. Raises as `check` does."""
        self._loaded  # noqa: B018

    def score(self, batch: Batch) -> list[float | None]:
        """The metric's value on unit scale; `None` for an example without a reference or source that it needs.

        Raises:
            MissingError: As `prepare`.
            UsageError: If the metric fails on the options, or its result has no such field.
            SpeechbenchError: If it fails on a hypothesis, or gives one no finite number.
        """
        values = [None if value is None else value / self.scale for value in self._values(batch)]
        if not self.lower_is_better:
            return values
        return [None if value is None else min(1.0, max(0.0, 1.0 - value)) for value in values]

    def statistics(self, batch: Batch) -> npt.NDArray[np.float64]:
        """[value, 1] per segment, zeros where it does not apply.

        Returns:
            Shape [segment, 2].
        """
        return np.array([(0.0, 0.0) if v is None else (v, 1.0) for v in self._values(batch)]).reshape(-1, 2)

    def segments(self, scores: Sequence[float | None], statistics: npt.NDArray[np.float64]) -> list[float | None]:
        """The metric's own values."""
        return [None if not count else float(value) for value, count in statistics]

    def signature(self) -> Mapping[str, Any]:
        """Name, versions of evaluate and of what the script imports, hash of the script, and all parameters.

        Raises:
            MissingError: If the library is not installed, or a metric of the hub is not to be had.
        """
        return {
            "name": "evaluate",
            "metric": self._name,
            **self._fingerprint,
            "field": self.field,
            "scale": self.scale,
            "lower_is_better": self.lower_is_better,
            "empty": self.empty,
            "config_name": self.config_name,
            "options": dict(self.options),
        }

    @cached_property
    def _fingerprint(self) -> Mapping[str, Any]:
        return fingerprint(self._script or Path(inspect.getfile(type(self._loaded[0]))))

    def _values(self, batch: Batch) -> list[float | None]:
        """What the metric says of each hypothesis, on its own scale."""
        if self._last is not None and self._last[0] is batch:  # asked for as scores, then as statistics
            return self._last[1]
        _, inputs = self._loaded
        values: list[float | None] = [None] * len(batch.hypotheses)
        rows = []
        for row, hypothesis in enumerate(batch.hypotheses):
            if not inputs.apply_to(batch.examples[row]):
                continue
            if self.empty is not None and not hypothesis.strip():
                values[row] = self.empty
            else:
                rows.append(row)
        for row, value in zip(rows, self._computed(batch.select(rows)), strict=True):
            values[row] = value
        self._last = (batch, values)
        return values

    def _computed(self, batch: Batch) -> list[float]:
        if not batch.hypotheses:
            return []
        if self._per_prediction is None:  # told by one alone: of several, a list may be of something else
            self._per_prediction = isinstance(self._compute(batch.select([0])), list)
        if not self._per_prediction:
            return [float(self._compute(batch.select([row]))) for row in range(len(batch.hypotheses))]
        return [float(value) for value in self._compute(batch)]

    def _compute(self, batch: Batch) -> Any:
        """One call of the metric's `compute`: a number, or a list of one per hypothesis."""
        metric, inputs = self._loaded
        try:
            result = metric.compute(**inputs.of(batch), **self.options)
        except Exception as error:
            if len(batch.hypotheses) > 1 or batch.hypotheses[0].strip():
                raise  # whoever called says on which example
            raise SpeechbenchError(
                f"{self.display} fails on the empty hypothesis of example {batch.examples[0].id!r} "
                f"({type(error).__name__}: {error}): say what that is worth, as in evaluate(..., empty=0)"
            ) from error
        if not isinstance(result, Mapping) or self.field not in result:
            there = ", ".join(map(str, result)) if isinstance(result, Mapping) else f"only a {type(result).__name__}"
            raise UsageError(
                f"evaluate(path={self.path}, field={self.field}): there is no such field, there is {there}"
            )
        value = result[self.field]
        value = value.tolist() if hasattr(value, "tolist") else value  # of numpy and torch
        each = list(value) if isinstance(value, (list, tuple)) else [value]
        if len(each) != len(batch.hypotheses) or not all(map(is_number, each)):
            raise UsageError(
                f"evaluate(path={self.path}, field={self.field}): for {len(batch.hypotheses)} hypotheses it holds "
                f"{str(value)[:60]}, which is neither one number nor one for each: name another of {', '.join(result)}"
            )
        for number, hypothesis, example in zip(each, batch.hypotheses, batch.examples, strict=True):
            if not math.isfinite(number):  # turned round and clipped it would pass for a score
                remedy = "name another field" if hypothesis.strip() else "say what an empty one is worth with empty="
                raise SpeechbenchError(
                    f"{self.display} is {float(number)} for the hypothesis of example {example.id!r}, which is no "
                    f"score: {remedy}"
                )
        return each if isinstance(value, (list, tuple)) else value

    @cached_property
    def _loaded(self) -> tuple[Any, Inputs]:
        """The library's own object for the metric, and what it takes."""
        metric = load(self.path, self._script, self.config_name)
        check_options(metric, self.options, self.path)
        inputs = inputs_of(metric, self.path)
        self.needs, self.several_references = inputs.needs, inputs.several_references
        return metric, inputs
