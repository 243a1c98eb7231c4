"""Values for the oracle: dense matrices, the package's representations, random tensors, and all right answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from tests.support import oracle
from tests.support.oracle import Matrix

Shape = tuple[int, ...]


# ---- calls --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Drawn:
    """A tensor for the oracle to draw: its shape and what it holds (`normal`, `positive`, `small` within
    -1..1, a `share` within 0..1, `large` above 1, `whole` or `complex` numbers, `truth`, `label`s 0..2 or `zero`)."""

    shape: Shape
    kind: str = "normal"


@dataclass(frozen=True)
class Sample:
    """Arguments that show an op at work: `Drawn` tensors, numbers and lists, as the op takes them.

    parameters: positions of arguments that are weights (projected by the rule's own representations).
    read: which outputs somebody uses (None: all).  A list of numbers for a tensor argument is a constant.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    parameters: frozenset[int] = frozenset()
    read: frozenset[int] | None = None


# ---- representations ----------------------------------------------------------------------------------------------
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
    taken = flat[:, where[:, 0]].transpose(1, 0, 2) if len(lead) == 1 else np.take_along_axis(flat, where, 2)
    return (taken * signs).reshape(len(reps), lead[-1], *shape)


@lru_cache(maxsize=4096)
def _gathered(rep: TensorRepresentation) -> tuple[npt.NDArray[np.int64], Matrix]:
    """Which entry of a flat tensor comes to every entry, and its sign."""
    numbers = np.arange(1.0, np.prod(rep.shape, dtype=int) + 1).reshape(rep.shape)
    image = rep.sign * oracle.act(matrices(rep), numbers).reshape(-1)
    return np.abs(image).astype(np.int64) - 1, np.sign(image)


def equal(left: TensorRepresentation, right: TensorRepresentation) -> bool:
    """The same action, wherever the signs sit."""
    return left.shape == right.shape and all(map(np.array_equal, _gathered(left), _gathered(right)))


def actions(size: int, rng: np.random.Generator) -> list[Matrix]:
    """Signed involutions of an axis: all of up to 4 entries, some of more, products among them."""
    if size == 1:
        return []
    if size <= 4:
        return list(oracle.signed_involutions(size))
    chosen = [oracle.random_involution(size, rng, k % 3 > 0) for k in range(16)]
    for first in (first for first in range(2, size) if size % first == 0):
        for slow, fast in product((False, True), repeat=2):
            pair = oracle.random_involution(first, rng, slow), oracle.random_involution(size // first, rng, fast)
            chosen += [oracle.kronecker(*pair)] * 4
    return chosen


# ---- tensors ------------------------------------------------------------------------------------------------------
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
    match drawn.kind:
        case "zero":
            return np.zeros(shape)
        case "truth":
            return rng.integers(0, 2, shape).astype(float)
        case "label":
            return rng.integers(0, 3, shape).astype(float)
        case "whole":
            return rng.integers(-2, 3, shape).astype(float)
        case "small":
            return rng.uniform(-0.9, 0.9, shape)
        case "share":
            return rng.uniform(0.05, 0.95, shape)
        case "positive":
            return rng.uniform(0.5, 2.0, shape)
        case "large":
            return rng.uniform(1.5, 3.0, shape)
        case "complex":
            imaginary: Any = 1j * rng.normal(size=shape)
            return rng.normal(size=shape) + imaginary
    return rng.normal(size=shape)


# ---- right answers ------------------------------------------------------------------------------------------------
def right_outputs(before: Matrix, after: Matrix) -> list[list[TensorRepresentation]]:
    """For every T of "T draw ...", every representation with one moving axis that turns op(x) into op(T x)."""
    shape = before.shape[2:]
    right: list[list[TensorRepresentation]] = [[] for _ in before]
    for sign in (1, -1):
        for k in np.flatnonzero(oracle.agree_each(sign * before, after)):
            right[k].append(representation([np.eye(size) for size in shape], sign))
    for axis, size in enumerate(shape):
        for k, rep in _along(before, after, axis) if size > 1 else ():
            if not any(equal(rep, other) for other in right[k]):
                right[k].append(rep)
    return right


def _along(before: Matrix, after: Matrix, axis: int) -> list[tuple[int, TensorRepresentation]]:
    """Which T have an answer that moves this axis, and what it is."""
    shape = before.shape[2:]
    if shape[axis] <= 4:
        options = _options(shape, axis)
        pairs = [(int(k), options[option]) for k, option in np.argwhere(_plausible(before, after, axis))]
    else:
        matches = [oracle.matching(x, y, axis) for x, y in zip(before, after, strict=True)]
        pairs = [(k, _moving(shape, axis, match)) for k, match in enumerate(matches) if match is not None]
    if not pairs:
        return []
    numbers = [k for k, _ in pairs]
    holds = oracle.agree_each(moved_each([rep for _, rep in pairs], before[numbers]), after[numbers])
    return [pair for pair, is_right in zip(pairs, holds, strict=True) if is_right]


def _plausible(before: Matrix, after: Matrix, axis: int) -> npt.NDArray[np.bool_]:
    """Which involutions of an axis are right on the first draws, "T involution"."""
    size = before.shape[axis + 2]
    rows, aims = (np.moveaxis(each[:, :2], axis + 2, 1).reshape(len(each), 1, size, -1) for each in (before, after))
    with np.errstate(invalid="ignore"):  # inf - inf
        error = np.abs(_together(size) @ rows - aims).max((2, 3), initial=0.0)
        bound = 1e-6 * (1 + np.abs(aims).max((2, 3), initial=0.0))
    return ~(error >= bound)


@cache
def _together(size: int) -> Matrix:
    return np.stack(oracle.signed_involutions(size))


@cache
def _options(shape: Shape, axis: int) -> list[TensorRepresentation]:
    return [_moving(shape, axis, matrix) for matrix in oracle.signed_involutions(shape[axis])]


def _moving(shape: Shape, axis: int, matrix: Matrix) -> TensorRepresentation:
    return representation([matrix if k == axis else np.eye(size) for k, size in enumerate(shape)])
