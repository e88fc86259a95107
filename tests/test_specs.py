"""Specs: one canonical spelling that reads back as what was written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbench.errors import UsageError
from speechbench.specs import Spec, Value, parse, split_outside_brackets

NAMES = st.sampled_from(["bleu", "covost2-mini", "path/to/file.py:name"])
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.from_regex(r"[a-z_]\w{0,8}", fullmatch=True).filter(str.isidentifier)
PARAMETERS = st.dictionaries(KEYS, VALUES, max_size=4)


def _same(left: Value, right: Value) -> bool:
    return left == right and type(left) is type(right)


@given(NAMES, PARAMETERS)
def test_round_trip(name: str, parameters: dict[str, Value]) -> None:
    spec = Spec(name, parameters)
    again = parse(str(spec))
    assert again.name == name and again.parameters.keys() == parameters.keys()
    assert all(_same(again.parameters[key], value) for key, value in parameters.items())
    assert str(again) == str(spec)


@given(st.lists(st.builds(Spec, NAMES, PARAMETERS), max_size=4))
def test_list_of_specs_splits_between_them_only(specs: list[Spec]) -> None:
    texts = [str(spec) for spec in specs]
    assert split_outside_brackets(",".join(texts)) == texts


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("a", {}),
        ("a()", {}),
        (" a ( x = 1 , y = two ) ", {"x": 1, "y": "two"}),
        ("a(model=Unbabel/wmt22-comet-da)", {"model": "Unbabel/wmt22-comet-da"}),
        ("a(x=true,y=none,z=-1e-3)", {"x": True, "y": None, "z": -1e-3}),
        ("a(x='true',y=\"1\",z='b, c)')", {"x": "true", "y": "1", "z": "b, c)"}),
        ("a(x=-inf)", {"x": -math.inf}),
    ],
)
def test_what_is_read(text: str, parameters: dict[str, Value]) -> None:
    assert parse(text) == Spec("a", parameters)


def test_canonical_spelling_sorts_parameters() -> None:
    assert str(parse("a(z=1, b='x y', c=word)")) == "a(b='x y', c=word, z=1)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no spec"),
        ("(x=1)", "is no spec"),
        ("a(x=1", "is no spec"),
        ("a(x)", "'x' should be key=value"),
        ("a(1=x)", "should be key=value"),
        ("a(x=)", "should be key=value"),
        ("a(x=1, x=2)", "'x' stands twice"),
        ("a(x=1)(y=2)", "without its counterpart"),
        ("a(x='1)", "without its counterpart"),
        ("a(x=(1)", "without its counterpart"),
    ],
)
def test_what_is_no_spec(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(text)


def test_build_passes_parameters_and_refuses_unknown_ones() -> None:
    def plug(known: int = 0, other: str = "") -> tuple[int, str]:
        return known, other

    assert parse("plug(known=3, other=x)").build(plug, "reward") == (3, "x")
    with pytest.raises(UsageError, match=r"reward plug\(unknown=1\): .*'unknown'"):
        parse("plug(unknown=1)").build(plug, "reward")
