"""Dense float64 oracle: signed involutions as matrices, written from the definition.

Nothing of chiralize is imported here, so that a mistake there cannot hide itself. A tensor is acted on with one
matrix per axis; a weight is projected by averaging it with its mirror image (the Reynolds operator of {1, T}).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import permutations, product
from typing import Protocol

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


@cache
def signed_involutions(size: int) -> tuple[Matrix, ...]:
    """Every signed permutation matrix M of this size with M M = 1: 2, 6, 20, 76 for sizes 1 to 4."""
    found: list[Matrix] = []
    for order in permutations(range(size)):
        for signs in product((1.0, -1.0), repeat=size):
            matrix = np.zeros((size, size))
            for row, (column, sign) in enumerate(zip(order, signs, strict=True)):
                matrix[row, column] = sign
            if np.array_equal(matrix @ matrix, np.eye(size)):
                found.append(matrix)
    return tuple(found)


@cache
def plain_involutions(size: int) -> tuple[Matrix, ...]:
    """Those without signs: 1, 2, 4, 10 for sizes 1 to 4."""
    return tuple(matrix for matrix in signed_involutions(size) if (matrix >= 0).all())


def random_involution(size: int, rng: np.random.Generator, signed: bool = True) -> Matrix:
    """A random signed (or plain) involution of any size: random pairs, random fixed points, random signs."""
    matrix = np.zeros((size, size))
    order = rng.permutation(size).tolist()
    while order:
        first = order.pop()
        second = order.pop() if order and rng.random() < 0.6 else first
        matrix[first, second] = matrix[second, first] = rng.choice((1.0, -1.0)) if signed else 1.0
    return matrix


def dense(partner: Sequence[int], sign: Sequence[int]) -> Matrix:
    """The matrix of (T x)[i] = sign[i] x[partner[i]]."""
    matrix = np.zeros((len(partner), len(partner)))
    for row, (column, value) in enumerate(zip(partner, sign, strict=True)):
        matrix[row, column] = value
    return matrix


class Action(Protocol):
    """Anything that says where entries go and with which sign."""

    @property
    def partner(self) -> npt.NDArray[np.int64]: ...

    @property
    def sign(self) -> npt.NDArray[np.int64]: ...


def action_matrix(action: Action) -> Matrix:
    """The matrix of such an action."""
    return dense(action.partner.tolist(), action.sign.tolist())


def entries(matrix: Matrix) -> tuple[list[int], list[int]]:
    """(partner, sign) of a signed permutation matrix."""
    partner = [int(np.flatnonzero(row)[0]) for row in matrix]
    return partner, [int(matrix[row, column]) for row, column in enumerate(partner)]


def kronecker(*matrices: Matrix) -> Matrix:
    """The action on merged axes, the first factor slowest."""
    out = np.eye(1)
    for matrix in matrices:
        out = np.asarray(np.kron(out, matrix), dtype=np.float64)
    return out


def direct_sum(*matrices: Matrix) -> Matrix:
    """The action on concatenated axes."""
    size = sum(len(matrix) for matrix in matrices)
    out = np.zeros((size, size))
    start = 0
    for matrix in matrices:
        out[start : start + len(matrix), start : start + len(matrix)] = matrix
        start += len(matrix)
    return out


def restrict(matrix: Matrix, chosen: Sequence[int]) -> Matrix | None:
    """The action on distinct chosen entries, None where they are not closed under it."""
    part = matrix[np.ix_(list(chosen), list(chosen))]
    return part if np.array_equal(part @ part, np.eye(len(chosen))) else None


def act(matrices: Sequence[Matrix], array: Matrix, batch: int = 0) -> Matrix:
    """One matrix per axis after the first `batch` axes, each summed over its axis: sum_j M[i, j] x[.. j ..]."""
    out = array
    for place, matrix in enumerate(matrices):
        one = _one_entry_a_row(matrix.tobytes(), len(matrix))
        if one is None:
            out = np.moveaxis(np.tensordot(matrix, out, axes=(1, place + batch)), 0, place + batch)
        elif one:
            columns, signs = one
            out = out.take(columns, place + batch) * signs.reshape(-1, *([1] * (out.ndim - place - batch - 1)))
    return out


@cache
def _one_entry_a_row(content: bytes, size: int) -> tuple[npt.NDArray[np.int64], Matrix] | tuple[()] | None:
    """Where it stands and what it is, if there is one in every row of a matrix; nothing for the identity."""
    matrix = np.frombuffer(content).reshape(size, size)
    if np.array_equal(matrix, np.eye(size)):
        return ()
    if ((matrix != 0).sum(1) != 1).any():
        return None
    columns = (matrix != 0).argmax(1)
    return columns, matrix[np.arange(size), columns]


def project(weight: Matrix, matrices: Sequence[Matrix], batch: int = 0) -> Matrix:
    """Nearest tensor that the action leaves alone, (W + T W) / 2."""
    return (weight + act(matrices, weight, batch)) / 2


def agree(left: Matrix, right: Matrix) -> bool:
    """Equal up to rounding; undefined entries (nan) in the same places."""
    if left.shape != right.shape:
        return False
    with np.errstate(invalid="ignore"):  # inf - inf
        apart = np.abs(left - right)
    if apart.max(initial=0.0) <= 1e-9:
        return True
    scale = 1.0 + float(np.abs(left[np.isfinite(left)]).max(initial=0.0))
    near = apart <= 1e-9 * scale
    return bool((near | (left == right) | (np.isnan(left) & np.isnan(right))).all())


def agree_each(left: Matrix, right: Matrix) -> npt.NDArray[np.bool_]:
    """Which entries along the first axis agree."""
    with np.errstate(invalid="ignore"):  # inf - inf
        found = np.asarray((np.abs(left - right) <= 1e-9).reshape(len(left), -1).all(1))
    for place in np.flatnonzero(~found):
        found[place] = agree(left[place], right[place])
    return found


def same_action(left: Sequence[Matrix], right: Sequence[Matrix]) -> bool:
    """Whether two lists of matrices act alike on a tensor (signs may sit on different axes)."""
    if [len(matrix) for matrix in left] != [len(matrix) for matrix in right]:
        return False
    probe = np.random.default_rng(7).normal(size=[len(matrix) for matrix in left])
    return agree(act(left, probe), act(right, probe))


def matching(before: Matrix, after: Matrix, axis: int, batch: int = 1) -> Matrix | None:
    """The signed involution along one axis that turns `before` into `after`, found row by row; None without one."""
    rows = np.moveaxis(before, axis + batch, 0).reshape(before.shape[axis + batch], -1)
    images = np.moveaxis(after, axis + batch, 0).reshape(rows.shape)
    matrix = np.zeros((len(rows), len(rows)))
    free = set(range(len(rows)))
    for place, image in enumerate(images):
        for other in sorted(free):
            sign = 1.0 if agree(rows[other], image) else -1.0 if agree(-rows[other], image) else 0.0
            if sign and (other >= place or matrix[other, place] == sign):
                matrix[place, other] = sign
                free.discard(other)
                break
        else:
            return None
    return matrix if np.array_equal(matrix @ matrix, np.eye(len(rows))) else None
