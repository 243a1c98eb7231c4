"""Between dense matrices and the package's representations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from chiralize.involution import SignedPermutation
from chiralize.representation import Representation, TensorRepresentation
from tests import oracle
from tests.oracle import Matrix


def representation(action: Sequence[Matrix], sign: int = 1) -> TensorRepresentation:
    """Dense matrices as a representation."""
    return TensorRepresentation(tuple(_of_matrix(matrix.tobytes(), len(matrix)) for matrix in action), sign)


@lru_cache(maxsize=4096)
def _of_matrix(content: bytes, size: int) -> Representation:
    partner, sign = oracle.entries(np.frombuffer(content).reshape(size, size))
    return Representation.of(SignedPermutation(np.array(partner, dtype=np.int64), np.array(sign, dtype=np.int64)))


def matrices(rep: TensorRepresentation) -> list[Matrix]:
    """The axes of a representation as dense matrices, without the overall sign."""
    return [_matrix(axis.action) for axis in rep.axes]


@lru_cache(maxsize=4096)
def _matrix(action: SignedPermutation) -> Matrix:
    return oracle.action_matrix(action)


def moved(rep: TensorRepresentation, array: Matrix) -> Matrix:
    """T on every draw of a tensor."""
    return rep.sign * oracle.act(matrices(rep), array, 1)


def equal(left: TensorRepresentation, right: TensorRepresentation) -> bool:
    """The same action, wherever the signs sit."""
    probe = np.random.default_rng(7).normal(size=(1, *left.shape))
    return left.shape == right.shape and oracle.agree(moved(left, probe), moved(right, probe))
