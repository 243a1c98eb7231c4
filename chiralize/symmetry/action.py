"""T on tensors: a signed permutation along every axis, about a centre where coordinates are counted from elsewhere.

T is a signed permutation R, or, where coordinates are not counted from the point that they are mirrored at (pixels),
the affine T x = c + R (x - c). In an image 640 wide the centre of x is 320, and x = 100 goes to 320 - (100 - 320), 540.

`reynolds.act` is the same for weights, which have the representation's shape; here inputs and answers may have any size
along axes that T leaves alone, and any dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from chiralize.errors import RepresentationSizeError
from chiralize.symmetry.involution import shape_along
from chiralize.symmetry.representation import TensorRepresentation

Center = npt.NDArray[np.float64] | None
Turn = tuple[TensorRepresentation, Center]  # T x = c + R (x - c), c None for 0


def act(tensor: torch.Tensor, representation: TensorRepresentation, center: Center = None) -> torch.Tensor:
    """T x: along every axis, (T x)[i] = sign[i] x[partner[i]], by gathers and changes of sign, exact in any dtype.

    tensor: any dtype and device (kept); along trivial axes any size. Booleans are swapped, they have no sign.
    center: c of T x = c + R (x - c), broadcastable to the tensor; one addition, rounded in the tensor's dtype.
    Raises RepresentationSizeError where the axes disagree.
    """
    if tensor.ndim != len(representation.axes):
        raise RepresentationSizeError(
            "mirror", f"{len(representation.axes)} axes on a tensor of shape {tuple(tensor.shape)}", "match the axes"
        )
    out = tensor
    for axis, along in enumerate(representation.axes):
        if along.is_trivial:
            continue
        action = along.action
        if tensor.shape[axis] != along.size:
            raise RepresentationSizeError(
                "mirror",
                f"axis {axis} has {along.size} entries, the tensor's shape is {tuple(tensor.shape)}",
                "match it",
            )
        out = out.index_select(axis, torch.tensor(action.partner.tolist(), device=tensor.device))
        if not action.is_sign_free and tensor.dtype != torch.bool:
            sign = torch.tensor(action.sign.tolist(), dtype=tensor.dtype, device=tensor.device)
            out = out * sign.reshape(shape_along(axis, tensor.ndim))
    if representation.sign < 0 and tensor.dtype != torch.bool:
        out = -out
    if center is None:
        return out
    return out + torch.from_numpy(shift(representation, center)).to(tensor.device, tensor.dtype)


def act_on_array(
    array: npt.NDArray[Any], representation: TensorRepresentation, center: Center = None
) -> npt.NDArray[Any]:
    """`act` on a numpy array, whose dtype is kept: the same numbers, without torch."""
    if array.ndim != len(representation.axes):
        facts = f"{len(representation.axes)} axes on an array of shape {array.shape}"
        raise RepresentationSizeError("mirror", facts, "match the axes")
    out = representation.act(array)
    if center is None:
        return out
    return out + shift(representation, center).astype(array.dtype)


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
