"""Symbolic axes: what they evaluate to, and how a concrete representation is written with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.symmetry.symbolic import (
    Abs,
    Known,
    Sum,
    SymbolicRepresentation,
    Var,
    action_of,
    axis_size,
    describe,
    evaluate,
    is_known,
    known_axis,
    lower,
    trivial,
    variables,
)
from tests.support import oracle
from tests.support.oracle import action_matrix as dense
from tests.support.strategies import involutions, tensor_representations


@given(tensor_representations())
def test_lowered_representation_acts_the_same(rep: TensorRepresentation) -> None:
    symbolic = lower(rep)
    again = evaluate(symbolic, {})
    assert symbolic.shape == rep.shape
    array = np.random.default_rng(0).normal(size=rep.shape)
    assert np.array_equal(again.act(array), rep.act(array))
    assert all(term.size > 1 for axis in symbolic.axes for term in axis)


@given(involutions(2, 4), involutions(2, 4), involutions(2, 3))
def test_evaluation_is_dense(a: SignedPermutation, b: SignedPermutation, c: SignedPermutation) -> None:
    x, y = Var(0, a.size), Var(1, b.size)
    axis = (Sum(((Abs(x),), (y,), (x,))), Known(c))
    expected = oracle.kronecker(oracle.direct_sum(dense(abs(a)), dense(b), dense(a)), dense(c))
    assert np.array_equal(dense(action_of(axis, {0: a, 1: b})), expected)
    assert axis_size(axis) == len(expected)
    assert not is_known(axis)
    assert [var.id for var in variables((axis,))] == [0, 1, 0]


@given(st.integers(1, 6))
def test_trivial_axis(size: int) -> None:
    assert axis_size(trivial(size)) == size
    assert action_of(trivial(size), {}).is_identity


def test_axis_of_one_entry() -> None:
    assert known_axis(SignedPermutation.identity(1)) == ()
    minus = -SignedPermutation.identity(1)
    assert known_axis(minus) == (Known(minus),)


def test_missing_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        evaluate(SymbolicRepresentation(((Var(3, 2),),)), {})


def test_description() -> None:
    axis = (Var(0, 4), Known(SignedPermutation.of([(0, 1)], size=3)))
    assert describe(axis, {0: "H1"}) == "H1(4) x 1 pairs + 1 fixed"
    assert describe((Sum(((Abs(Var(5, 2)),), ())),), {}) == "(|?5|(2) + 1)"
    assert describe((), {}) == "1"
