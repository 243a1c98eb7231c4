"""Laws of signed involutions, against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiralize.errors import NotAnInvolutionError
from chiralize.symmetry.involution import SignedPermutation
from tests.support import oracle
from tests.support.oracle import action_matrix as dense
from tests.support.strategies import involutions


@given(involutions())
def test_twice_is_the_identity(action: SignedPermutation) -> None:
    assert np.array_equal(dense(action) @ dense(action), np.eye(action.size))
    assert np.array_equal(action.matrix(), dense(action))


@given(involutions(), st.integers(0, 2))
def test_act_is_the_dense_sum(action: SignedPermutation, axis: int) -> None:
    shape = [2, 3, 2]
    shape[axis] = action.size
    array = np.random.default_rng(0).normal(size=shape)
    matrices = [np.eye(size) for size in shape]
    matrices[axis] = dense(action)
    assert np.array_equal(action.act(array, axis), oracle.act(matrices, array))
    assert np.array_equal(action.act(action.act(array, axis), axis), array)


@given(involutions(max_size=4), involutions(max_size=4), involutions(max_size=3))
def test_products_and_sums_are_dense_ones(a: SignedPermutation, b: SignedPermutation, c: SignedPermutation) -> None:
    assert np.array_equal(dense(a.kronecker(b, c)), oracle.kronecker(dense(a), dense(b), dense(c)))
    assert np.array_equal(dense(a.direct_sum(b, c)), oracle.direct_sum(dense(a), dense(b), dense(c)))


@given(involutions(max_size=4), involutions(max_size=4))
def test_factors_multiply_back(a: SignedPermutation, b: SignedPermutation) -> None:
    factors = a.kronecker(b).factor(a.size)
    assert factors is not None
    assert factors[0].kronecker(factors[1]) == a.kronecker(b)
    assert factors == (a, b) or factors == (-a, -b)
    assert factors[0].sign[0] == 1


@pytest.mark.parametrize("first", [2, 3, 4])
def test_factor_says_none_exactly_where_no_factors_exist(first: int) -> None:
    size = 4 if first != 3 else 6
    rest = size // first
    products = {
        np.kron(a, b).astype(int).tobytes()
        for a in oracle.signed_involutions(first)
        for b in oracle.signed_involutions(rest)
    }
    rng = np.random.default_rng(1)
    tried = oracle.signed_involutions(4) if size == 4 else [oracle.random_involution(6, rng) for _ in range(200)]
    for matrix in tried:
        action = SignedPermutation(*map(np.array, oracle.entries(matrix)))
        assert (action.factor(first) is not None) == (matrix.astype(int).tobytes() in products), str(action)


def test_product_of_quarter_turns_has_no_factors() -> None:
    action = SignedPermutation(np.array([3, 2, 1, 0]), np.array([1, -1, -1, 1]))
    assert action.factor(2) is None


@given(involutions(min_size=2), st.data())
def test_restriction_is_closed_or_none(action: SignedPermutation, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, action.size - 1), unique=True, min_size=1))
    part = action.restrict(chosen)
    expected = oracle.restrict(dense(action), chosen)
    assert (part is None) == (expected is None)
    if part is not None and expected is not None:
        assert np.array_equal(dense(part), expected)


@given(involutions(min_size=2), st.data())
def test_restriction_with_repetitions_acts_on_copies(action: SignedPermutation, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, action.size - 1), min_size=1, max_size=8))
    part = action.restrict(chosen)
    if part is not None:
        array = np.random.default_rng(0).normal(size=action.size)
        assert np.array_equal(part.act(array[chosen]), action.act(array)[chosen])


@given(involutions())
def test_print_and_parse(action: SignedPermutation) -> None:
    assert SignedPermutation.parse(str(action)) == action


@given(involutions())
def test_even_and_odd_dimensions(action: SignedPermutation) -> None:
    values = np.linalg.eigvalsh(dense(action))
    assert (action.even, action.odd) == (int((values > 0).sum()), int((values < 0).sum()))
    assert abs(action).is_sign_free
    assert action.__neg__().__neg__() == action
    assert hash(SignedPermutation(action.partner, action.sign)) == hash(action)


@pytest.mark.parametrize("text", ["", "4", "x: 1", "4: (0 1", "4: [0 1]", "3: 1", "2: (0 2)", "2: -7", "0: -0"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a signed permutation"):
        SignedPermutation.parse(text)


@pytest.mark.parametrize(
    ("partner", "sign", "words"),
    [
        ([1, 2, 0], [1, 1, 1], "goes to 1, but 1 goes to 2"),
        ([1, 0], [1, -1], "swap with signs"),
        ([0, 5], [1, 1], "outside 0..1"),
        ([0, 1], [1, 2], "signs"),
        ([0, 1], [1], "2 partners but 1 signs"),
    ],
)
def test_what_is_no_involution(partner: list[int], sign: list[int], words: str) -> None:
    with pytest.raises(NotAnInvolutionError, match=words):
        SignedPermutation(np.array(partner), np.array(sign))
