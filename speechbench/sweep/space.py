"""What a sweep tries: fields of a trainer's configuration, all combinations of their values or some that are drawn."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speechbench.errors import MissingError, UsageError, did_you_mean
from speechbench.settings import typed

if TYPE_CHECKING:
    from optuna import Trial

Values = Mapping[str, Any]

_WHOLE = 1000  # combinations that are looked at one by one
_DIGITS = 3  # of a value that is drawn: a spelling that people can read, and that no library's last bit changes


@dataclass(frozen=True)
class Axis:
    """A field and what is tried of it: values, or whatever lies in a range.

    Attributes:
        name: Of the field.
        values: As YAML reads them, or of the field's type; empty for a range.
        ends: The range's smallest and largest value; empty for values.
    """

    name: str
    values: tuple[Any, ...] = ()
    ends: tuple[Any, ...] = ()

    def typed(self, wanted: Any) -> Axis:
        """With values of the type of a trainer's field.

        Raises:
            UsageError: If one is none of it.
        """
        values, ends = (
            tuple(dict.fromkeys(typed(value, wanted, f"sweep of {self.name}: {value!r}") for value in some))
            for some in (self.values, self.ends)
        )
        if ends and not all(isinstance(end, (int, float)) for end in ends):
            raise UsageError(f"sweep of {self.name}: it is no number, so write its values, as in {self.name}=a,b")
        return Axis(self.name, values, ends)


def axis_of(text: str) -> Axis:
    """Reads `learning_rate=5e-5,2e-4` or `learning_rate=1e-6..5e-5`.

    Raises:
        UsageError: If it is neither.
    """
    import yaml

    name, equals, rest = (part.strip() for part in text.partition("="))
    wrong = f"sweep {text!r}: write a field and its values, as in learning_rate=5e-5,2e-4, or a range, as in 1e-6..5e-5"
    if not (name and equals and rest):
        raise UsageError(wrong)
    low, dots, high = rest.partition("..")
    if dots:
        try:
            ends = float(low), float(high)
        except ValueError:
            raise UsageError(wrong) from None
        if not -math.inf < ends[0] < ends[1] < math.inf:
            raise UsageError(f"sweep {text!r}: the range should go from a number to a larger one")
        return Axis(name, (), ends)
    parts = rest.split(",")
    if not all(part.strip() for part in parts):  # YAML would read nothing as null, which some fields take
        raise UsageError(wrong)
    try:
        return Axis(name, tuple(map(yaml.safe_load, parts)))
    except yaml.YAMLError:
        raise UsageError(wrong) from None


def axes_of(texts: Sequence[str], fields: Collection[str], trials: int | None) -> list[Axis]:
    """Reads what is to be swept.

    Args:
        texts: As `axis_of` takes them.
        fields: All that some trainer has.
        trials: How many are drawn; `None` where all are tried.

    Raises:
        UsageError: If a field is named twice or not there, or a range is to be tried whole.
    """
    if isinstance(texts, str):
        raise UsageError(f"sweep={texts!r} should be a list, as in sweep=[{texts!r}]")
    axes = [axis_of(text) for text in texts]
    for place, axis in enumerate(axes):
        if axis.name not in fields:
            hint = did_you_mean(axis.name, sorted(fields))
            raise UsageError(f"sweep of {axis.name!r}: no trainer here has it; {hint}")
        if axis.name in [other.name for other in axes[:place]]:
            raise UsageError(f"sweep of {axis.name!r}: it is given twice; write all its values once")
        if axis.ends and trials is None:
            raise UsageError(f"sweep of {axis.name!r}: a range has no end of values: give sweep_trials, or a list")
    if trials is not None and (not isinstance(trials, int) or isinstance(trials, bool) or trials < 1):
        raise UsageError(f"sweep_trials={trials!r} should be a whole number, 1 or more")
    return axes


def representatives(axes: Sequence[Axis]) -> list[Values]:
    """Candidates that stand for all that may be drawn: every combination, of ranges both ends.

    Of very many combinations it is each value once, the others at their first.
    """
    values = {axis.name: axis.values or axis.ends for axis in axes}
    if math.prod(map(len, values.values())) <= _WHOLE:
        return Grid(values).all
    first = {name: some[0] for name, some in values.items()}
    return [first, *({**first, name: value} for name, some in values.items() for value in some[1:])]


class Search(ABC):
    """Candidates one after the other; the next may depend on how those before it did."""

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def ask(self) -> Values:
        """The next candidate."""

    @abstractmethod
    def tell(self, score: float | None) -> None:
        """How the last one did, the higher the better; `None` where its training failed."""


class Grid(Search):
    """All combinations, the last axis' values changing first.

    Args:
        axes: By field, the values.

    Attributes:
        all: The candidates.
    """

    def __init__(self, axes: Mapping[str, Sequence[Any]]) -> None:
        self.all: list[Values] = [dict(zip(axes, some, strict=True)) for some in itertools.product(*axes.values())]
        self._asked = 0

    def __len__(self) -> int:
        return len(self.all)

    def ask(self) -> Values:
        """The next candidate."""
        self._asked += 1
        return self.all[self._asked - 1]

    def tell(self, score: float | None) -> None:
        """Changes nothing."""


class Draws(Search):
    """Candidates that Optuna's tree-structured Parzen estimator draws; the same for the same seed and scores.

    Ranges above 0 are drawn on a log scale, those of whole numbers evenly.

    Args:
        axes: What is drawn from, typed.
        trials: How many.
        seed: Of the sampler.

    Raises:
        MissingError: If Optuna is not installed.
    """

    def __init__(self, axes: Sequence[Axis], trials: int, seed: int) -> None:
        try:
            import optuna
        except ImportError:
            raise MissingError("sweep_trials needs Optuna: pip install 'speechbench[sweep]'") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._count = trials
        self._failed = optuna.trial.TrialState.FAIL
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        self._ends = {axis.name: axis.ends for axis in axes if axis.ends}
        self._trial: Trial | None = None

        def distribution(axis: Axis) -> Any:
            if axis.values:
                return optuna.distributions.CategoricalDistribution(axis.values)
            low, high = axis.ends
            if isinstance(low, int):
                return optuna.distributions.IntDistribution(low, high)
            return optuna.distributions.FloatDistribution(low, high, log=low > 0)

        self._distributions = {axis.name: distribution(axis) for axis in axes}

    def __len__(self) -> int:
        return self._count

    def ask(self) -> Values:
        """The next candidate, numbers with three digits."""
        self._trial = self._study.ask(self._distributions)
        return {name: self._rounded(name, value) for name, value in self._trial.params.items()}

    def tell(self, score: float | None) -> None:
        """Lets the sampler learn from the last candidate."""
        assert self._trial is not None, "ask first"
        self._study.tell(self._trial, score, state=self._failed if score is None else None)

    def _rounded(self, name: str, value: Any) -> Any:
        if name not in self._ends or not isinstance(value, float):
            return value
        low, high = self._ends[name]
        return min(max(float(f"{value:.{_DIGITS}g}"), low), high)
