"""T on tensors and on weights, and the Reynolds operator of {1, T}: the nearest weight that T leaves alone.

T is a signed permutation R along every axis or, where coordinates are not counted from the point that they are mirrored
at (pixels), the affine T x = c + R (x - c). In an image 640 wide the centre of x is 320, and x = 100 goes to
320 - (100 - 320) = 540.

    P(W) = (W + T W) / 2,        (T W) = sign * T_0 x T_1 x ... acting on the axes of W

P is the orthogonal projection onto the tensors that T leaves alone, so P(W) is the nearest of them in the Frobenius
norm. For a weight "out in" this is (W + T_out W T_in) / 2: the matrices of T are symmetric.

With two swapped units at either side:   [[1, 2], [6, 5]]  ->  [[3, 4], [4, 3]],   each diagonal its mean.

Weights go block by block over their rows, so that a large one in half precision needs no copy in another precision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import EllipsisType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chiralize.errors import RepresentationSizeError
from chiralize.symmetry.involution import shape_along
from chiralize.symmetry.representation import TensorRepresentation

Center = npt.NDArray[np.float64] | None
Turn = tuple[TensorRepresentation, Center]
"""T x = c + R (x - c) as (R, c), c None for 0."""
Rows = slice | EllipsisType
_HALF_PRECISION = (torch.float16, torch.bfloat16)
_BLOCK = 1 << 18
"""Entries that are computed with at a time: 2 MB in float64, which a core's cache holds."""


# ---- T --------------------------------------------------------------------------------------------------------
def act(tensor: Tensor, representation: TensorRepresentation, center: Center = None) -> Tensor:
    """T x: along every axis, (T x)[i] = sign[i] x[partner[i]], by gathers and changes of sign, exact in any dtype.

    tensor: any dtype and device (kept); along trivial axes any size. Booleans are swapped, they have no sign.
    center: c of T x = c + R (x - c), broadcastable to the tensor; one addition, rounded in the tensor's dtype.
    Raises RepresentationSizeError where the axes disagree.
    """
    _check_axes(tuple(tensor.shape), representation)
    out = _acted(tensor, representation, ...)
    if center is None:
        return out
    return out + torch.from_numpy(shift(representation, center)).to(tensor.device, tensor.dtype)


def act_on_array(
    array: npt.NDArray[Any], representation: TensorRepresentation, center: Center = None
) -> npt.NDArray[Any]:
    """`act` on a numpy array, whose dtype is kept: the same numbers, without torch."""
    _check_axes(array.shape, representation)
    out = representation.act(array)
    if center is None:
        return out
    return out + shift(representation, center).astype(array.dtype)


def _check_axes(shape: tuple[int, ...], representation: TensorRepresentation) -> None:
    """Raises RepresentationSizeError unless T can act on a tensor of this shape."""
    axes = representation.axes
    if len(shape) != len(axes):
        raise RepresentationSizeError("mirror", f"{len(axes)} axes on a tensor of shape {shape}", "match the axes")
    for position, (size, axis) in enumerate(zip(shape, axes, strict=True)):
        if size != axis.size and not axis.is_trivial:
            facts = f"axis {position} has {axis.size} entries, the tensor's shape is {shape}"
            raise RepresentationSizeError("mirror", facts, "match it")


def shift(representation: TensorRepresentation, center: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """c - R c, the constant part of the affine T, with one entry along every axis where it does not change."""
    # axes that T leaves alone have one entry in `moved_sizes`, so that the result goes with a batch of any size
    full = np.broadcast_to(center, np.broadcast_shapes(center.shape, representation.moved_sizes)).copy()
    moved = full - representation.act(full)
    for axis in range(moved.ndim):
        first = moved.take([0], axis)
        # the same for all joints, say: one entry is enough, and broadcasts
        if (moved == first).all():
            moved = first
    return moved


def _acted(tensor: Tensor, representation: TensorRepresentation, rows: Rows) -> Tensor:
    """Some rows of T on a tensor. rows: of axis 0; `...` for all, and for scalars, which have none."""
    out = tensor
    for position, axis in enumerate(representation.axes):
        # T mixes rows of the tensor: those of the image are gathered from all of it, and other axes follow as they are
        part = rows if position == 0 else ...
        if axis.is_trivial:
            if position == 0:
                out = out[part]
            continue
        action = axis.action
        out = out.index_select(position, torch.tensor(action.partner[part], device=tensor.device))
        if not action.is_sign_free and tensor.dtype != torch.bool:
            sign = torch.tensor(action.sign[part], device=tensor.device, dtype=tensor.dtype)
            out = out * sign.reshape(shape_along(position, tensor.ndim))
    if representation.sign < 0 and tensor.dtype != torch.bool:
        return -out
    return out


# ---- weights, and the Reynolds operator ---------------------------------------------------------------------
def blocks(tensor: Tensor) -> Iterator[Rows]:
    """Rows that are few enough to be held in another dtype, from the first to the last; all of a scalar."""
    if tensor.ndim == 0:
        yield ...
        return
    count = max(_BLOCK // max(tensor[:1].numel(), 1), 1)
    yield from (slice(start, start + count) for start in range(0, len(tensor), count))


def images(tensor: Tensor, representation: TensorRepresentation) -> Iterator[tuple[Rows, Tensor]]:
    """T on a tensor, block by block: the rows, and what T puts there. Raises RepresentationSizeError."""
    representation.check_shape(tensor.shape, "act")
    for rows in blocks(tensor):
        yield rows, _acted(tensor, representation, rows)


def project(tensor: Tensor, representation: TensorRepresentation, partner: Tensor | None = None) -> Tensor:
    """Nearest tensor, in the Frobenius norm, that the mirror leaves alone.

    tensor: any float dtype (kept); float16 and bfloat16 are computed in float32 and rounded once.
    partner: the tensor that the mirror takes it to, where that is another one (weights of a left and a right branch).
    P(P(W)) equals P(W) bit for bit, and T P(W) equals P(W) bit for bit. Raises RepresentationSizeError.
    """
    dtype = torch.float32 if tensor.dtype in _HALF_PRECISION else tensor.dtype
    out = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
    # 0.5 w + 0.5 v is the same for (w, v) and (v, w), and exact where they are equal: so P P = P = T P, bit for bit.
    for rows, image in images(tensor if partner is None else partner, representation):
        out[rows] = (0.5 * tensor[rows].to(dtype) + 0.5 * image.to(dtype)).to(tensor.dtype)
    return out


def wide(tensor: Tensor) -> Tensor:
    """In double precision, complex numbers as such."""
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def rounding_scale(tensor: Tensor) -> Tensor:
    """By row (of axis 0), what the rounding of its small entries is measured by; broadcasts against the tensor.

    It is the largest entry of the row, as in the sums that are made of it, but no more than 1 or the row's median: a
    few entries that tower over the others, such as those that stand for minus infinity in masks, must not hide what is
    between the others. A tensor with one entry a row is one row.
    """
    count = len(tensor) if tensor.ndim and tensor.numel() > len(tensor) else 1
    rows = wide(tensor).abs().reshape(count, -1)
    rows = rows.where(rows.isfinite(), 0.0)
    largest = rows.amax(1)
    tall = largest > 1.0
    # a row whose largest entry is above 1: its median, if that is smaller, but never less than 1
    largest[tall] = largest[tall].minimum(rows[tall].median(1).values.clamp(min=1.0))
    if tensor.ndim:
        return largest.reshape(count, *[1] * (tensor.ndim - 1))
    return largest[0]


def distance(tensor: Tensor, representation: TensorRepresentation) -> float:
    """Relative distance to the symmetric subspace, |W - P(W)| / |W| (0 for a tensor of zeros).

    W - P(W) is half of W - T W.
    """
    tensor = tensor.detach()
    return 0.5 * _relative((tensor[rows], image) for rows, image in images(tensor, representation))


def moved(tensor: Tensor, other: Tensor) -> float:
    """Relative distance of another tensor of the same shape, |W - V| / |W| (0 for a tensor of zeros).

    Infinities, as masks hold them, are nothing where both have them; 1 where only one has.
    """
    return _relative((tensor[rows], other[rows]) for rows in blocks(tensor))


def _relative(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """|W - V| / |W| over all pairs of blocks, finite entries only; 1 where a pair differs in an entry that is not."""
    apart = norm = 0.0
    for tensor, other in pairs:
        # minus infinity in a mask is no number to subtract: it has to be alike in both, and counts nothing then
        finite = tensor.isfinite() & other.isfinite()
        if not bool((finite | (tensor == other)).all()):
            return 1.0
        numbers, other_numbers = wide(tensor).where(finite, 0.0), wide(other).where(finite, 0.0)
        apart += float((numbers - other_numbers).abs().square().sum())
        norm += float(numbers.abs().square().sum())
    return (apart / norm) ** 0.5 if norm else 0.0


def forced_zero(representation: TensorRepresentation) -> Tensor:
    """Which entries can only be zero: those that the mirror maps to minus themselves. Boolean, of the shape."""
    # by axis: the sign of entries that stay at their place, 0 of those that move; negative where the product is
    signs = torch.full((1,) * len(representation.axes), representation.sign, dtype=torch.int8)
    for position, axis in enumerate(representation.axes):
        fixed = torch.tensor(axis.action.sign * axis.action.fixed, dtype=torch.int8)  # 0 where it moves
        signs = signs * fixed.reshape(shape_along(position, signs.ndim))
    return signs < 0
