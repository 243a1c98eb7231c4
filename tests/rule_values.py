"""Values for the oracle: dense matrices, the package's representations, and random tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import torch

from chiralize.involution import SignedPermutation
from chiralize.representation import Representation, TensorRepresentation
from chiralize.rules._registry import Drawn
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
    if left.shape != right.shape:
        return False
    probe = _probe(left.shape)
    return oracle.agree(moved(left, probe), moved(right, probe))


@lru_cache(maxsize=4096)
def _probe(shape: tuple[int, ...]) -> Matrix:
    return np.random.default_rng(7).normal(size=(1, *shape))


def actions(size: int, rng: np.random.Generator) -> list[Matrix]:
    """Signed involutions of an axis: all of up to 4 entries, some of more, products among them."""
    if size == 1:
        return []
    if size <= 4:
        return list(oracle.signed_involutions(size))
    found = [oracle.random_involution(size, rng, k % 3 > 0) for k in range(16)]
    for first in range(2, size):
        if size % first == 0:
            for slow, fast in product(range(4), range(4)):
                found.append(oracle.kronecker(oracle.random_involution(first, rng, bool(slow % 2)),
                                     oracle.random_involution(size // first, rng, bool(fast % 2))))  # fmt: skip
    return found


def listed(out: Any) -> list[Any]:
    """The outputs of an op, None for those that are no tensors."""
    items = out if isinstance(out, (tuple, list)) else (out,)
    return [item if isinstance(item, torch.Tensor) else None for item in items]


def array(tensor: torch.Tensor | None) -> Matrix | None:
    """A tensor as numbers of double precision."""
    if tensor is None:
        return None
    wide = tensor.to(torch.complex128).resolve_conj() if tensor.is_complex() else tensor.double()
    return wide.resolve_neg().numpy()


def draw(drawn: Drawn, count: int, rng: np.random.Generator) -> Matrix:
    """Random values, `count` draws of them."""
    shape = (count, *drawn.shape)
    if drawn.kind == "zero":
        return np.zeros(shape)
    if drawn.kind == "truth":
        return rng.integers(0, 2, shape).astype(float)
    if drawn.kind == "label":
        return rng.integers(0, 3, shape).astype(float)
    if drawn.kind == "small":
        return rng.uniform(-0.9, 0.9, shape)
    if drawn.kind == "whole":
        return rng.integers(-2, 3, shape).astype(float)
    if drawn.kind == "positive":
        return rng.uniform(0.5, 2.0, shape)
    if drawn.kind == "complex":
        imaginary: Any = 1j * rng.normal(size=shape)
        return rng.normal(size=shape) + imaginary
    return rng.normal(size=shape)
