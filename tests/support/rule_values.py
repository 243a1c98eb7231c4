"""Values for the oracle: dense matrices, the package's representations, and random tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from chiralize.infer.registry import Drawn
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from tests.support import oracle
from tests.support.oracle import Matrix


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
    return moved_each([rep], array)[0]


def moved_each(reps: Sequence[TensorRepresentation], array: Matrix) -> Matrix:
    """Every T on every draw of a tensor, "T draw ..."; the tensor may have draws of its own for every T."""
    where, signs = (np.stack(part)[:, None] for part in zip(*map(_gathered, reps), strict=True))
    shape = reps[0].shape
    lead = array.shape[: array.ndim - len(shape)]
    flat = array.reshape(*lead, -1)
    found = flat[:, where[:, 0]].transpose(1, 0, 2) if len(lead) == 1 else np.take_along_axis(flat, where, 2)
    return (found * signs).reshape(len(reps), lead[-1], *shape)


@lru_cache(maxsize=4096)
def _gathered(rep: TensorRepresentation) -> tuple[npt.NDArray[np.int64], Matrix]:
    """Which entry of a flat tensor comes to every place, and its sign."""
    places = np.arange(1.0, np.prod(rep.shape, dtype=int) + 1).reshape(rep.shape)
    found = rep.sign * oracle.act(matrices(rep), places).reshape(-1)
    return np.abs(found).astype(np.int64) - 1, np.sign(found)


def equal(left: TensorRepresentation, right: TensorRepresentation) -> bool:
    """The same action, wherever the signs sit."""
    return left.shape == right.shape and all(map(np.array_equal, _gathered(left), _gathered(right)))


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
    if drawn.kind == "share":
        return rng.uniform(0.05, 0.95, shape)
    if drawn.kind == "whole":
        return rng.integers(-2, 3, shape).astype(float)
    if drawn.kind == "positive":
        return rng.uniform(0.5, 2.0, shape)
    if drawn.kind == "complex":
        imaginary: Any = 1j * rng.normal(size=shape)
        return rng.normal(size=shape) + imaginary
    return rng.normal(size=shape)
