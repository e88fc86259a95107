"""Specs: what a plug is given, and how it is spelled."""

from __future__ import annotations

import pytest

from speechbench.errors import UsageError
from speechbench.grammar import parse


def test_build_passes_parameters_and_refuses_unknown_ones() -> None:
    def plug(known: int = 0, other: str = "") -> tuple[int, str]:
        return known, other

    assert parse("plug(known=3, other=x)").build(plug, "reward") == (3, "x")
    assert parse("plug(3, other=x)").build(plug, "reward") == (3, "x")
    with pytest.raises(UsageError, match=r"reward plug\(unknown=1\): .*'unknown'"):
        parse("plug(unknown=1)").build(plug, "reward")
    with pytest.raises(UsageError, match=r"reward plug\(1, 2, 3\): too many positional"):
        parse("plug(1, 2, 3)").build(plug, "reward")


def test_a_mistyped_parameter_is_told_the_nearest() -> None:
    def plug(known: int = 0, /, other: str = "") -> None: ...

    def bare() -> None: ...

    def any_of(**parameters: int) -> dict[str, int]:
        return parameters

    with pytest.raises(UsageError, match=r"benchmark plug\(othr=x\): .*'othr': did you mean 'other'\?"):
        parse("plug(othr=x)").build(plug, "benchmark")
    with pytest.raises(UsageError, match=r"'known': there are: other$"):  # by position only
        parse("plug(known=1)").build(plug, "reward")
    with pytest.raises(UsageError, match=r"'zzz': there are: other$"):
        parse("plug(3, zzz=1)").named(plug, "reward")
    with pytest.raises(UsageError, match=r"'x': it has no parameters$"):
        parse("bare(x=1)").build(bare, "model")
    assert parse("any_of(x=1)").build(any_of, "reward") == {"x": 1}


def test_arguments_get_their_names() -> None:
    def plug(known: int = 0, other: str = "") -> None: ...

    def by_position(known: int, /, other: str = "") -> None: ...

    assert parse("plug(3, x)").named(plug, "reward") == parse("plug(known=3, other=x)")
    assert parse("plug(other=x)").named(plug, "reward") == parse("plug(other=x)")
    for stays in ("plug(3)", "plug(3, x)", "plug(chrf(word_order=2))"):
        assert parse(stays).named(by_position, "reward") == parse(stays)
    assert parse("plug(chrf(word_order=2))").named(plug, "reward") == parse("plug(chrf(word_order=2))")
    with pytest.raises(UsageError, match=r"reward plug\(3, known=4\): multiple values for argument 'known'"):
        parse("plug(3, known=4)").named(plug, "reward")
