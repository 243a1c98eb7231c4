"""Representations of axes and tensors, against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from chiralize.errors import RepresentationSizeError
from chiralize.symmetry.representation import Representation, TensorRepresentation
from tests.support import oracle
from tests.support.oracle import action_matrix as dense
from tests.support.strategies import representations, tensor_representations


@given(representations(), representations())
def test_product_and_sum(a: Representation, b: Representation) -> None:
    assert np.array_equal(dense((a * b).action), np.kron(dense(a.action), dense(b.action)))
    assert np.array_equal(dense((a + b).action), oracle.direct_sum(dense(a.action), dense(b.action)))
    assert (a * b).size == a.size * b.size
    assert (a * b).even + (a * b).odd == a.size * b.size
    assert abs(a).is_sign_free


@given(representations())
def test_parse_undoes_print(rep: Representation) -> None:
    again = Representation.parse(str(rep))
    assert again == rep
    assert again.factors == rep.factors


@given(tensor_representations())
def test_tensor_parse_undoes_print(rep: TensorRepresentation) -> None:
    again = TensorRepresentation.parse(str(rep))
    assert again == rep
    assert str(again) == str(rep)


@given(tensor_representations())
def test_tensor_acts_as_dense_and_twice_as_nothing(rep: TensorRepresentation) -> None:
    array = np.random.default_rng(3).normal(size=rep.shape)
    expected = rep.sign * oracle.act([dense(axis.action) for axis in rep.axes], array)
    assert np.array_equal(rep.act(array), expected)
    assert np.array_equal(rep.act(rep.act(array)), array)


@given(tensor_representations(2))
def test_dimensions_are_those_of_the_eigenspaces(rep: TensorRepresentation) -> None:
    whole = rep.sign * oracle.kronecker(*(dense(axis.action) for axis in rep.axes))
    even = round((len(whole) + np.trace(whole)) / 2)
    assert rep.dimensions() == (even, len(whole) - even)


@given(representations())
def test_equality_is_of_the_action(rep: Representation) -> None:
    merged = Representation.of(rep.action)
    assert merged == rep
    assert hash(merged) == hash(rep)


def test_trivial_and_summary() -> None:
    assert Representation.trivial(5).is_trivial
    assert TensorRepresentation.trivial((2, 3)).is_trivial
    assert Representation.trivial(5).summary() == "trivial 5"
    assert Representation.parse("5: (0 1) -(2 3) -4").summary() == "2 pairs + 1 fixed, 3 negated"


def test_shape_is_checked() -> None:
    with pytest.raises(RepresentationSizeError, match="CH110"):
        TensorRepresentation.trivial((2, 3)).check_shape((2, 4), "x")


@pytest.mark.parametrize("text", ["", "[2:]", "+2:", "+[2: (0 3]"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        TensorRepresentation.parse(text)
