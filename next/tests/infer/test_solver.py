"""Unification of axes, against dense matrices."""

from __future__ import annotations

from itertools import product as product_of
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiralize.infer.algebra import multiply
from chiralize.infer.solver.unify import Conflict, Solver, Wait
from chiralize.infer.solver.unknowns import NOTES, Leave
from chiralize.infer.symbolic import (
    Abs,
    Axis,
    Known,
    OpenSign,
    Sum,
    SymbolicRepresentation,
    Term,
    Var,
    action_of,
    axis_size,
    is_known,
    sign_of,
)
from chiralize.symmetry.involution import SignedPermutation
from tests.support import oracle
from tests.support.oracle import action_matrix as dense
from tests.support.strategies import involutions

SWAP = SignedPermutation.of([(0, 1)], size=2)
MINUS = SignedPermutation.of(negated=[1], size=2)


def matrix(axis: Axis) -> oracle.Matrix:
    return dense(action_of(axis, {}))


@given(involutions(2, 3), involutions(2, 3))
def test_same_splits_a_merged_axis(a: SignedPermutation, b: SignedPermutation) -> None:
    solver = Solver()
    slow, fast = solver.fresh(a.size), solver.fresh(b.size)
    assert solver.same(slow + fast, (Known(a.kronecker(b)),)) == 1
    assert np.array_equal(matrix(solver.resolve(slow + fast)), np.kron(dense(a), dense(b)))


@given(involutions(2, 4), involutions(2, 4))
def test_same_of_known_axes_is_equality_up_to_sign(a: SignedPermutation, b: SignedPermutation) -> None:
    if a == b or a == -b:
        assert Solver().same((Known(a),), (Known(b),)) == (1 if a == b else -1)
    else:
        with pytest.raises(Conflict):
            Solver().same((Known(a),), (Known(b),))


@given(involutions(2, 3), involutions(2, 3), involutions(2, 3))
def test_same_cuts_a_sum(a: SignedPermutation, b: SignedPermutation, c: SignedPermutation) -> None:
    solver = Solver()
    parts = [solver.fresh(x.size) for x in (a, b, c)]
    whole = Known(a.direct_sum(b, c))
    assert solver.same((Sum(tuple(parts)),), (whole,)) == 1
    assert matrix(solver.concatenate(parts)).tolist() == dense(whole.action).tolist()


@given(involutions(2, 4))
def test_an_unknown_takes_a_sign(action: SignedPermutation) -> None:
    solver = Solver()
    axis = solver.fresh(action.size)
    assert solver.same(axis, (Known(action),), -1) == 1
    assert np.array_equal(matrix(solver.resolve(axis)), -dense(action))


def test_a_sign_between_unknowns_waits() -> None:
    solver = Solver()
    with pytest.raises(Wait):
        solver.same(solver.fresh(3), solver.fresh(3), -1)


def test_an_unknown_without_signs_takes_none() -> None:
    solver = Solver()
    axis = solver.fresh(2)
    solver.sign_free(axis)
    assert solver.same(axis, (Known(SWAP),), -1) == -1
    other = solver.fresh(2)
    solver.sign_free(other)
    with pytest.raises(Conflict, match="1 of 2 entries are negated"):
        solver.same(other, (Known(MINUS),))


@given(involutions(2, 3), involutions(2, 3), involutions(2, 3))
def test_regroup_is_a_view(a: SignedPermutation, b: SignedPermutation, c: SignedPermutation) -> None:
    sizes = [a.size * b.size, c.size]
    axes = Solver().regroup([(Known(a),), (Known(b.kronecker(c)),)], sizes)
    assert [axis_size(axis) for axis in axes] == sizes
    whole = oracle.kronecker(*map(matrix, axes))
    assert np.array_equal(whole, oracle.kronecker(dense(a), dense(b), dense(c)))


@given(st.permutations([2, 3, 4]), st.permutations([2, 3, 4]))
def test_regroup_of_a_trivial_axis_goes_anywhere(old: list[int], new: list[int]) -> None:
    axes = Solver().regroup([(Known(SignedPermutation.identity(size)),) for size in old], new)
    assert [axis_size(axis) for axis in axes] == new
    assert all(np.array_equal(matrix(axis), np.eye(size)) for axis, size in zip(axes, new, strict=True))


def test_regroup_keeps_a_lone_sign() -> None:
    minus = Known(-SignedPermutation.identity(1))
    with pytest.raises(Conflict, match="sign"):
        Solver().regroup([(Known(SWAP), minus)], [2])


def test_regroup_of_a_concatenation() -> None:
    """(a + b) of 2 and 4 entries seen as 3 rows of 2: all rows alike."""
    solver = Solver()
    a, b = solver.fresh(2), solver.fresh(4)
    rows, entries = solver.regroup([(Sum((a, b)),)], [3, 2])
    solver.same(entries, (Known(MINUS),))
    solver.bind(next(term for term in solver.resolve(b) if isinstance(term, Var)), (Known(SWAP),))
    whole = np.kron(matrix(solver.resolve(rows)), matrix(solver.resolve(entries)))
    assert np.array_equal(matrix(solver.concatenate([a, b])), whole)


@given(involutions(2, 3), involutions(2, 3), involutions(2, 2))
def test_cut_of_known_parts(a: SignedPermutation, b: SignedPermutation, c: SignedPermutation) -> None:
    axis = (Known(a.direct_sum(b)), Known(c))
    first, second = Solver().cut(axis, [a.size * c.size, (a.size + b.size) * c.size])
    assert np.array_equal(matrix(first), np.kron(dense(a), dense(c)))
    assert np.array_equal(matrix(second), np.kron(dense(b), dense(c)))


def test_cut_through_a_pair_is_refused() -> None:
    with pytest.raises(Conflict, match="not closed under the mirror"):
        Solver().cut((Known(SignedPermutation.of([(0, 2), (1, 3)], size=4)),), [2, 4])


def test_a_single_entry_of_an_unknown_waits_for_the_last_resort() -> None:
    solver = Solver()
    axis = solver.fresh(3, "weight[0]")
    with pytest.raises(Wait):
        solver.cut(axis, [1, 3])
    solver.leave = Leave.ENTRIES
    (entry,) = solver.cut(axis, [1, 3])[0]
    assert solver.forced == ["weight[0]"] and entry.size == 1
    solver.settle_signs()
    assert solver.resolve((entry,)) == ()


def test_a_single_entry_has_the_sign_that_is_asked_of_it() -> None:
    solver = Solver()
    axis = solver.fresh(3)
    solver.leave = Leave.ENTRIES
    parts = solver.cut(axis, [1, 2, 3])
    solver.equal(parts[0], (Known(-SignedPermutation.identity(1)),))
    solver.equal((*parts[0], *parts[1]), parts[2])
    assert not is_known(solver.resolve(axis))
    solver.sign_free((*parts[1], Known(-SignedPermutation.identity(2))))
    (whole,) = solver.resolve(axis)
    assert isinstance(whole, Known) and whole.action.sign.tolist() == [-1, -1, 1]


@given(st.lists(st.tuples(st.sets(st.integers(0, 5)), st.booleans()), max_size=12))
def test_signs_are_linear_equations(equations: list[tuple[set[int], bool]]) -> None:
    """`positive` accepts a product of unknown signs and -1 if and only if some values of the signs fit all up to it."""
    solver = Solver()
    unknown = [sign_of(solver.unknown_sign()[0]) for _ in range(6)]
    left = list(product_of([1, -1], repeat=6))
    for places, negative in equations:
        fitting = [signs for signs in left if prod(signs[k] for k in places) == (-1) ** negative]
        asked = prod((unknown[k] for k in places), start=(-1) ** negative)
        assert solver.positive(asked) == bool(fitting)
        left = fitting or left
    solver.settle_signs()
    assert tuple(map(solver.decided, unknown)) in left


def test_unknown_signs_cancel() -> None:
    """A square has no sign, as part of a sum too: the axis is known without them."""
    solver = Solver()
    one, two = solver.unknown_sign(), solver.unknown_sign()
    axis = solver.concatenate([(*one, *two, *one, *two), (*one, *one)])
    assert solver.resolve((*one, *two, *one)) == two
    assert is_known(axis) and action_of(axis).is_identity


def test_a_sign_that_is_not_known_is_not_compared() -> None:
    sign = sign_of(Solver().unknown_sign()[0])
    assert isinstance(sign, OpenSign) and sign * sign == 1 and -sign * sign == -1
    for compare in (lambda: sign < 0, lambda: sign > 0, lambda: SymbolicRepresentation((), sign).parity):
        with pytest.raises(Wait):
            compare()


@given(involutions(2, 4), involutions(2, 4))
def test_multiply_is_entry_by_entry(a: SignedPermutation, b: SignedPermutation) -> None:
    rng = np.random.default_rng(0)
    if abs(a) != abs(b):
        with pytest.raises(Conflict):
            multiply((Known(a),), (Known(b),), Solver())
        return
    x, y = rng.normal(size=(2, a.size))
    both = matrix(multiply((Known(a),), (Known(b),), Solver()))
    assert np.allclose(both @ (x * y), (dense(a) @ x) * (dense(b) @ y))


def test_multiply_by_itself_drops_signs() -> None:
    solver = Solver()
    axis = solver.fresh(4)
    squared = multiply(axis, axis, solver)
    assert squared == (Abs(axis[0]),) if isinstance(axis[0], Var) else False
    assert multiply(squared, axis, solver) == axis


@given(involutions(2, 4))
def test_absolute_and_representation(action: SignedPermutation) -> None:
    solver = Solver()
    assert np.array_equal(matrix(solver.absolute((Known(action),))), abs(dense(action)))
    rep = solver.representation(SymbolicRepresentation(((Known(-abs(action)),),)))
    assert (rep.sign, rep.axes) == (-1, ((Known(abs(action)),),))


def test_an_axis_is_no_part_of_itself() -> None:
    solver = Solver()
    axis = solver.fresh(4)
    (term,) = axis
    assert isinstance(term, Var)
    with pytest.raises(Conflict, match="part of itself"):
        solver.bind(term, (Sum((axis, axis)),))


def test_what_fits_anything_moves_nothing() -> None:
    solver = Solver()
    axis = solver.fresh(3)
    solver.same(solver.fitting((3,), zero=True).axes[0], axis)
    assert not solver.watch.moved
    solver.same(axis, solver.fitting((3,)).axes[0])
    assert len(solver.watch.moved) == 1  # the axis must be free of signs: said once
    solver.watch.moved.clear()
    solver.same(axis, solver.fitting((3,)).axes[0])
    assert not solver.watch.moved
    assert solver.resolve(axis) == axis


def test_the_watch_sees_what_is_read_and_what_moves() -> None:
    solver = Solver()
    one, two = solver.fresh(6), solver.fresh(6)
    solver.resolve(one)
    assert solver.watch.seen == {0}
    solver.same(one, (*solver.fresh(2), *solver.fresh(3)))
    assert 0 in solver.watch.moved and 1 not in solver.watch.moved
    solver.sign_free(two)
    assert {0, 1} <= solver.watch.moved
    solver.unknown_at("place", 3)
    assert NOTES in solver.watch.moved


def test_the_unknown_of_a_place_is_the_same_at_every_call() -> None:
    solver = Solver()
    assert solver.unknown_at("node[0]", 3) == solver.unknown_at("node[0]", 3)
    assert solver.unknown_at("node[0]", 3) != solver.unknown_at("node[1]", 3)


@given(involutions(2, 3), involutions(2, 3))
def test_signs_of_two_factors_cancel(a: SignedPermutation, b: SignedPermutation) -> None:
    terms: tuple[Term, ...] = (Known(-abs(a)), Known(-abs(b)))
    solver = Solver()
    solver.sign_free(terms)
    assert action_of(terms).is_sign_free
    assert solver.same(terms, (Known(abs(a)), Known(abs(b)))) == 1


@given(involutions(4, 4))
def test_pick_of_entries(action: SignedPermutation) -> None:
    chosen = [0, 2, 3]
    expected = oracle.restrict(dense(action), chosen)
    if expected is None:
        with pytest.raises(Conflict, match="not closed"):
            Solver().pick((Known(action),), chosen)
    else:
        assert np.array_equal(matrix(Solver().pick((Known(action),), chosen)), expected)
    with pytest.raises(Wait):
        Solver().pick(Solver().fresh(4), chosen)
