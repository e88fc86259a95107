"""What a sweep tries: read, combined, drawn."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbench.errors import MissingError, UsageError
from speechbench.sweep.space import Axis, Draws, Grid, Values, axes_of, axis_of, representatives

optuna = pytest.importorskip("optuna")
FIELDS = ("learning_rate", "beta", "num_generations", "loss_type")


def draws(axes: Sequence[Axis], trials: int = 12, seed: int = 0, best: float = 1e-5) -> list[Values]:
    """Candidates, where the nearest to a learning rate scores best."""
    search, found = Draws(axes, trials, seed), []
    for _ in range(len(search)):
        found.append(search.ask())
        search.tell(-abs(math.log(found[-1].get("learning_rate", best) / best)))
    return found


def test_values_and_ranges_are_read_and_typed() -> None:
    assert axis_of("learning_rate=5e-5, 2e-4").typed(float) == Axis("learning_rate", (5e-5, 2e-4))
    assert axis_of("beta=0,0.02,0").typed(float) == Axis("beta", (0.0, 0.02))
    assert axis_of("learning_rate = 1e-6..5e-5").typed(float) == Axis("learning_rate", (), (1e-6, 5e-5))
    assert axis_of("num_generations=4..12").typed(int) == Axis("num_generations", (), (4, 12))
    assert axis_of("loss_type=dapo,grpo").typed(str) == Axis("loss_type", ("dapo", "grpo"))
    assert axis_of("epsilon_high=0.28,null").typed(float | None) == Axis("epsilon_high", (0.28, None))
    assert axis_of("kl_on_references=true,false").typed(bool) == Axis("kl_on_references", (True, False))


@pytest.mark.parametrize(
    ("texts", "trials", "words"),
    [
        (["learning_rate"], None, "write a field and its values"),
        (["learning_rate="], None, "write a field and its values"),
        (["learning_rate=a..b"], 3, "write a field and its values"),
        (["learning_rate=2..1"], 3, "from a number to a larger one"),
        (["learning_rate=1..nan"], 3, "from a number to a larger one"),
        (["learning_rat=1,2"], None, "no trainer here has it; did you mean 'learning_rate'?"),
        (["beta=1", "beta=2"], None, "it is given twice"),
        (["beta=0..1"], None, "a range has no end of values: give sweep_trials"),
        (["beta=0,1"], 0, "sweep_trials=0"),
        (["beta=0,1"], 2.5, "sweep_trials=2.5 should be a whole number"),
        (["epsilon_high=0.28,"], None, "write a field and its values"),
    ],
)
def test_what_makes_no_sense_is_refused(texts: list[str], trials: int | None, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        axes_of(texts, FIELDS, trials)
    assert words in str(caught.value)


def test_values_of_another_type_are_refused() -> None:
    with pytest.raises(UsageError, match="sweep of beta: 'high' should be a number"):
        axis_of("beta=high,0").typed(float)
    with pytest.raises(UsageError, match=r"sweep of num_generations: 4\.5 should be a whole number"):
        axis_of("num_generations=4..4.5").typed(int)


@given(st.lists(st.lists(st.integers(), min_size=1, max_size=3, unique=True), min_size=1, max_size=3))
def test_a_grid_is_every_combination_once(values: list[list[int]]) -> None:
    grid = Grid({str(place): some for place, some in enumerate(values)})
    found = [tuple(grid.ask().values()) for _ in range(len(grid))]
    assert found == list(itertools.product(*values))


def test_draws_are_the_same_for_the_same_seed_and_lie_in_their_ranges() -> None:
    axes = [Axis("learning_rate", (), (1e-6, 5e-5)), Axis("beta", (0.0, 0.02)), Axis("num_generations", (), (4, 12))]
    found = draws(axes, 15)
    assert found == draws(axes, 15) and found != draws(axes, 15, seed=1)
    assert found[:10] == draws(axes, 10)  # as when a sweep was stopped
    for values in found:
        assert 1e-6 <= values["learning_rate"] <= 5e-5 and values["beta"] in (0.0, 0.02)
        assert values["num_generations"] in range(4, 13)
        assert float(f"{values['learning_rate']:.3g}") == values["learning_rate"]


def test_a_range_above_zero_is_drawn_on_a_log_scale() -> None:
    rates = [values["learning_rate"] for values in draws([Axis("learning_rate", (), (1e-6, 1e-2))], 10)]
    assert sum(rate < 1e-4 for rate in rates) > 2  # evenly, one in a hundred would be
    assert len({values["beta"] for values in draws([Axis("beta", (), (0.0, 0.04))], 10)}) == 10


def test_later_draws_learn_from_scores_and_failures_are_passed_over() -> None:
    axis = [Axis("learning_rate", (), (1e-6, 1e-2))]
    assert draws(axis, 20, best=1e-5)[10:] != draws(axis, 20, best=1e-3)[10:]
    search = Draws(axis, 3, 0)
    for score in (None, 1.0, None):
        search.ask()
        search.tell(score)


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingError, match=r"pip install 'speechbench\[sweep\]'"):
        Draws([Axis("beta", (0.0, 0.1))], 2, 0)


def test_of_very_many_combinations_each_value_is_looked_at_once() -> None:
    few = [Axis("a", (1, 2)), Axis("b", (), (0.0, 0.5))]
    assert representatives(few) == [{"a": a, "b": b} for a in (1, 2) for b in (0.0, 0.5)]
    many = representatives([Axis(name, tuple(range(20))) for name in "abc"])
    assert len(many) == 1 + 3 * 19 and {values["b"] for values in many} == set(range(20))
