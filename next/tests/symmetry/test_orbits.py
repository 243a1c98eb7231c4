"""Products of mirrors, against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from chiralize.errors import NotAnInvolutionError, RepresentationSizeError
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.orbits import entry_apart, product
from tests.support.strategies import involutions


@given(involutions(4, 4), involutions(4, 4))
def test_two_mirrors_commute_exactly_where_their_matrices_do(one: SignedPermutation, other: SignedPermutation) -> None:
    first, second = one.matrix(), other.matrix()
    commute = np.array_equal(first @ second, second @ first)
    assert (entry_apart(one, other) is None) == commute
    if commute:
        assert np.array_equal(product(one, other).matrix(), first @ second)
    else:
        with pytest.raises(NotAnInvolutionError):
            product(one, other)


def test_axes_of_two_sizes_have_no_product() -> None:
    with pytest.raises(RepresentationSizeError):
        product(SignedPermutation.identity(2), SignedPermutation.identity(3))
