"""Specs: one canonical spelling that reads back as what was written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbench.errors import UsageError
from speechbench.specs import Argument, Spec, Value, parse, split_outside_brackets

NAMES = st.sampled_from(["bleu", "covost2-mini", "path/to/file.py:name"])
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.from_regex(r"[a-z_]\w{0,8}", fullmatch=True).filter(str.isidentifier)
PARAMETERS = st.dictionaries(KEYS, VALUES, max_size=4)
SPECS = st.recursive(
    st.builds(Spec, NAMES, PARAMETERS),
    lambda inner: st.builds(Spec, NAMES, PARAMETERS, st.lists(VALUES | inner, max_size=3).map(tuple)),
    max_leaves=6,
)


def _same(left: Argument, right: Argument) -> bool:
    """Equal, and of the same types all the way down: 1, 1.0 and True are three values."""
    if not isinstance(left, Spec) or not isinstance(right, Spec):
        return left == right and type(left) is type(right)
    return (
        left == right
        and all(map(_same, left.arguments, right.arguments))
        and all(_same(value, right.parameters[key]) for key, value in left.parameters.items())
    )


@given(SPECS)
def test_round_trip(spec: Spec) -> None:
    again = parse(str(spec))
    assert _same(again, spec)
    assert str(again) == str(spec)


@given(SPECS)
def test_nested_spec_is_spelled_as_it_is_alone(spec: Spec) -> None:
    assert str(Spec("shuffled", arguments=(spec,))) == f"shuffled({spec})"


@given(st.lists(SPECS, max_size=4))
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


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("a(bleu)", ("bleu",)),
        ("a( bleu() )", ("bleu",)),
        ("a(./my file.py:name)", ("./my file.py:name",)),
        ("a(1, true, 'b(c)', x=2)", (1, True, "b(c)")),
        ("a(chrf(word_order=2))", (Spec("chrf", {"word_order": 2}),)),
        ("a(./f.py:name(x=1), y=b)", (Spec("./f.py:name", {"x": 1}),)),
        ("a(b(c(d=1)))", (Spec("b", arguments=(Spec("c", {"d": 1}),)),)),
    ],
)
def test_which_arguments_are_read(text: str, arguments: tuple[Argument, ...]) -> None:
    assert parse(text).arguments == arguments


def test_value_with_a_key_is_no_spec() -> None:
    assert parse("a(x=chrf(word_order=2))") == Spec("a", {"x": "chrf(word_order=2)"})


def test_canonical_spelling_sorts_parameters() -> None:
    assert str(parse("a(z=1, b='x y', c=word)")) == "a(b='x y', c=word, z=1)"
    assert str(parse("a( b( z=1 ,y=2),'c', x=1 )")) == "a(b(y=2, z=1), c, x=1)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no spec"),
        ("(x=1)", "is no spec"),
        ("a(x=1", "is no spec"),
        ("a(x=1, y)", "'y' should be key=value, as what stands before it"),
        ("a((x=1))", r"'\(x=1\)' is no spec"),
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
    assert parse("plug(3, other=x)").build(plug, "reward") == (3, "x")
    with pytest.raises(UsageError, match=r"reward plug\(unknown=1\): .*'unknown'"):
        parse("plug(unknown=1)").build(plug, "reward")
    with pytest.raises(UsageError, match=r"reward plug\(1, 2, 3\): too many positional"):
        parse("plug(1, 2, 3)").build(plug, "reward")


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
