"""Exact match: what normalisation forgives, and what it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbench.benchmarks.base import Example
from speechbench.errors import UsageError
from speechbench.rewards import Batch
from speechbench.rewards.exact import Binary


def score(hypothesis: str, *references: str, normalize: bool = True) -> float | None:
    (result,) = Binary(normalize).score(Batch.of([hypothesis], [Example("id", None, "", references, None, "en", "de")]))
    return result


@pytest.mark.parametrize(
    ("hypothesis", "reference"),
    [
        ("ja", "Ja."),
        ("  die   große Straße!", "Die große Strasse"),
        ("fu\u0308r", "für"),  # decomposed and composed
        ("ﬁnden", "finden"),  # ligature
        ("„Hallo, Welt“", "Hallo Welt"),
    ],
)
def test_forgiven(hypothesis: str, reference: str) -> None:
    assert score(hypothesis, reference) == 1.0
    assert score(hypothesis, reference, normalize=False) == 0.0


@pytest.mark.parametrize(
    ("hypothesis", "reference"),
    [("fur", "für"), ("", "Ja."), ("Ja ja", "Ja"), ("", "?"), ("!", "?"), ("haus tür", "haustür")],
)
def test_not_forgiven(hypothesis: str, reference: str) -> None:
    assert score(hypothesis, reference) == 0.0


@given(st.text(), st.text(), st.booleans())
def test_gold_gets_the_maximum_among_any_references(gold: str, other: str, normalize: bool) -> None:
    assert score(gold, other, gold, normalize=normalize) == 1.0


def test_no_reference_means_none() -> None:
    assert score("Ja.") is None


def test_parameter_must_be_a_truth_value() -> None:
    with pytest.raises(UsageError, match="write true or false"):
        Binary(normalize="flase")  # type: ignore[arg-type]


def test_parameter_changes_the_signature_and_the_column() -> None:
    assert Binary().signature() != Binary(normalize=False).signature()
    assert Binary().display == "binary" != Binary(normalize=False).display
