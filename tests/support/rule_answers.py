"""Every representation with one moving axis that is right for an output, by brute force."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from chiralize.symmetry.representation import TensorRepresentation
from tests.support import oracle
from tests.support.oracle import Matrix
from tests.support.rule_values import equal, moved_each, representation


def right_outputs(before: Matrix | None, after: Matrix | None) -> list[list[TensorRepresentation]]:
    """For every T of "T draw ...", the representations that turn op(x) into op(T x)."""
    assert before is not None and after is not None
    shape = before.shape[2:]
    found: list[list[TensorRepresentation]] = [[] for _ in before]
    for sign in (1, -1):
        for place in np.flatnonzero(oracle.agree_each(sign * before, after)):
            found[place].append(representation([np.eye(size) for size in shape], sign))
    for axis, size in enumerate(shape):
        for place, rep in _along(before, after, axis) if size > 1 else ():
            if not any(equal(rep, other) for other in found[place]):
                found[place].append(rep)
    return found


def _along(before: Matrix, after: Matrix, axis: int) -> list[tuple[int, TensorRepresentation]]:
    """Which T have an answer that moves this axis, and what it is."""
    shape = before.shape[2:]
    if shape[axis] <= 4:
        options = _options(shape, axis)
        pairs = [(int(place), options[k]) for place, k in np.argwhere(_plausible(before, after, axis))]
    else:
        matches = [oracle.matching(x, y, axis) for x, y in zip(before, after, strict=True)]
        pairs = [(place, _moving(shape, axis, match)) for place, match in enumerate(matches) if match is not None]
    if not pairs:
        return []
    places = [place for place, _ in pairs]
    right = oracle.agree_each(moved_each([rep for _, rep in pairs], before[places]), after[places])
    return [pair for pair, holds in zip(pairs, right, strict=True) if holds]


def _plausible(before: Matrix, after: Matrix, axis: int) -> npt.NDArray[np.bool_]:
    """Which involutions of an axis are right on the first draws, "T involution"."""
    size = before.shape[axis + 2]
    rows, aims = (np.moveaxis(own[:, :2], axis + 2, 1).reshape(len(own), 1, size, -1) for own in (before, after))
    with np.errstate(invalid="ignore"):  # inf - inf
        error = np.abs(_together(size) @ rows - aims).max((2, 3), initial=0.0)
        bound = 1e-6 * (1 + np.abs(aims).max((2, 3), initial=0.0))
    return ~(error >= bound)


@cache
def _together(size: int) -> Matrix:
    return np.stack(oracle.signed_involutions(size))


@cache
def _options(shape: tuple[int, ...], axis: int) -> list[TensorRepresentation]:
    return [_moving(shape, axis, matrix) for matrix in oracle.signed_involutions(shape[axis])]


def _moving(shape: tuple[int, ...], axis: int, matrix: Matrix) -> TensorRepresentation:
    return representation([matrix if k == axis else np.eye(size) for k, size in enumerate(shape)])
