"""The grammar of specs: one canonical spelling that reads back as what was written, and errors that point."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbench.errors import UsageError
from speechbench.grammar import parse, parse_expression, split_outside_brackets
from speechbench.specs import Argument, Spec, Value, product_of, sum_of

NAMES = st.sampled_from(
    ["bleu", "covost2-mini", "path/to/file.py:name", "./my file.py:name", "c++/file.py:name", "a -b", "it's, (so)", "5"]
)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.from_regex(r"[a-z_]\w{0,8}", fullmatch=True).filter(str.isidentifier)
PARAMETERS = st.dictionaries(KEYS, VALUES, max_size=4)
SPECS = st.recursive(
    st.builds(Spec, NAMES, PARAMETERS),
    lambda inner: st.builds(Spec, NAMES, PARAMETERS, st.lists(VALUES | inner, max_size=3).map(tuple)),
    max_leaves=6,
)


REWARDS = st.builds(Spec, NAMES, PARAMETERS, st.lists(VALUES, max_size=2).map(tuple))
WEIGHTS = st.floats(allow_nan=False, allow_infinity=False).filter(lambda weight: abs(weight) > 1e-100 < 1e100)
EXPRESSIONS = st.recursive(
    REWARDS,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3, unique_by=lambda spec: str(spec.weighted[1])).map(sum_of)
        | st.builds(
            lambda weight, factors: product_of([weight, *factors]),
            st.floats(0.01, 100),
            st.lists(inner, min_size=1, max_size=2),
        )
        | st.builds(lambda one: product_of([-1.0, one]), inner)
        | st.builds(lambda one: Spec("shuffled", arguments=(one,)), inner)
        | st.builds(lambda one: sum_of([one], {"normalize": "group"}), inner)
    ),
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


def _can_be_made(make: Callable[[], Spec]) -> Spec | None:
    """Opening up sums may bring one reward in twice, and multiplying weights may overflow."""
    try:
        return make()
    except UsageError:
        return None


@given(st.data())
def test_round_trip_of_expressions(data: st.DataObject) -> None:
    spec = _can_be_made(lambda: data.draw(EXPRESSIONS))
    if spec is not None:
        again = parse_expression(str(spec))
        assert _same(again, spec)
        assert str(again) == str(spec)


@given(SPECS)
def test_a_spec_reads_the_same_as_an_expression(spec: Spec) -> None:
    assert _same(parse_expression(str(spec)), spec)


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
        ("a(x=1", "is no spec: it is a bracket without"),
        ("a(x=1, y)", "'y' should be key=value, as what stands before it"),
        ("a((x=1))", "a name should stand here"),
        ("a(1=x)", "should be key=value"),
        ("a(x=)", "should be given a value, as key=value"),
        ("a(x=1, x=2)", "'x' stands twice"),
        ("a(x=1)(y=2)", "this should be the end"),
        ("a(x='1)", "without its counterpart"),
        ("a(x=(1)", "without its counterpart"),
    ],
)
def test_what_is_no_spec(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("bleu", "bleu"),
        ("((bleu))", "bleu"),
        ("0.3*comet+0.7*bleu", "0.7*bleu + 0.3*comet"),
        ("bleu * language", "bleu*language"),
        ("language * 2 * bleu", "2*bleu*language"),
        ("comet - 0.5*length - bleu", "-bleu + comet - 0.5*length"),
        ("2*(chrf + bleu)*3", "6*(bleu + chrf)"),
        ("-(bleu - chrf)", "-(bleu - chrf)"),
        ("a + (b + (c))", "a + b + c"),
        ("bleu*(chrf + 1e-1*ter)", "bleu*(chrf + 0.1*ter)"),
        ("sum(0.7*bleu + 0.3*comet, normalize=group)", "sum(0.7*bleu, 0.3*comet, normalize=group)"),
        ("sum(0.3*comet, bleu)", "bleu + 0.3*comet"),
        ("product(2, chrf, bleu)", "2*bleu*chrf"),
        ("shuffled( chrf(word_order=2)+bleu )", "shuffled(bleu + chrf(word_order=2))"),
        ("./my file.py:same-length + bleu", "bleu + ./my file.py:same-length"),
        ("'c++/a.py:x' * 2", "2*'c++/a.py:x'"),
        ("/b/a.py:x + /a/b.py:x", "/b/a.py:x + /a/b.py:x"),
    ],
)
def test_canonical_spelling_of_expressions(text: str, canonical: str) -> None:
    assert str(parse_expression(text)) == canonical
    assert str(parse_expression(canonical)) == canonical


def test_what_a_weight_weighs() -> None:
    assert parse_expression("0.5*bleu").weighted == (0.5, Spec("bleu"))
    assert parse_expression("2*bleu*chrf").weighted == (2.0, parse_expression("bleu*chrf"))
    assert parse_expression("bleu").weighted == (1.0, Spec("bleu"))


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("bleu + * chrf", "a name should stand here", 7),
        ("chrf++", "chrF\\+\\+ is chrf\\(word_order=2\\)", 5),
        ("0.5", "a number weighs nothing by itself", 0),
        ("bleu +", "a name should stand here", 6),
        ("bleu + -chrf", "a name should stand here", 7),
        ("2*(bleu", "without its counterpart", 2),
        ("bleu)", "closes no bracket", 4),
        ("bleu(x=1) chrf", "this should be the end", 10),
        ("shuffled('a'b)", "a comma or a closing bracket should stand here", 12),
        ("bleu + f(x=1, y)", "should be key=value", 14),
        ("f('a + b", "a quote without its counterpart", 2),
        ("a\n+ *b", "a name should stand here", 4),
        ("bleu + chrf++", r"chrF\+\+ is chrf\(word_order=2\)", 12),
        ("sum(bleu, 1)", "1 is no reward", 3),
        ("bleu(,)", "an argument should stand here", 5),
        ("(" * 60, "more than 50 brackets are open", 50),
    ],
)
def test_errors_point_at_the_character(text: str, message: str, column: int) -> None:
    with pytest.raises(UsageError, match=message) as error:
        parse_expression(text)
    _, line, caret = str(error.value).rsplit("\n", 2)
    assert line == "    " + text.replace("\n", " ")
    assert caret == " " * (4 + column) + "^"


@pytest.mark.parametrize("read", [parse, parse_expression])
def test_brackets_without_end_are_refused(read: Callable[[str], Spec]) -> None:
    with pytest.raises(UsageError, match="more than 50 brackets are open"):
        read("f(" * 3_000 + ")" * 3_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [("0*bleu", "a weight is a finite number other than 0"), ("1e400*bleu", "finite"), ("a + 2*a", "a stands twice")],
)
def test_sums_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_expression(text)
