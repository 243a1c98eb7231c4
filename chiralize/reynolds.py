"""The Reynolds operator of {1, T}: the nearest symmetric weight.

    P(W) = (W + T W) / 2,        (T W) = sign * T_0 x T_1 x ... acting on the axes of W

P is the orthogonal projection onto the tensors that T leaves alone, so P(W) is the nearest of them in the Frobenius
norm. For a weight "out in" this is (W + T_out W T_in) / 2: the matrices of T are symmetric.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chiralize.representation import TensorRepresentation

_HALF_PRECISION = (torch.float16, torch.bfloat16)


def act(tensor: Tensor, representation: TensorRepresentation) -> Tensor:
    """T on a tensor of the representation's shape. Raises RepresentationSizeError."""
    representation.check_shape(tensor.shape, "act")
    out = tensor
    for place, axis in enumerate(representation.axes):
        if axis.is_trivial:
            continue
        action = axis.action
        out = out.index_select(place, torch.tensor(action.partner, device=tensor.device))
        if not action.is_sign_free:
            shape = [-1 if other == place else 1 for other in range(tensor.ndim)]
            out = out * torch.tensor(action.sign, device=tensor.device, dtype=tensor.dtype).reshape(shape)
    return -out if representation.sign < 0 else out


def project(tensor: Tensor, representation: TensorRepresentation) -> Tensor:
    """Nearest tensor, in the Frobenius norm, that the mirror leaves alone.

    tensor: any float dtype (kept); float16 and bfloat16 are computed in float32 and rounded once.
    P(P(W)) equals P(W) bit for bit, and T P(W) equals P(W) bit for bit. Raises RepresentationSizeError.
    """
    wide = tensor.float() if tensor.dtype in _HALF_PRECISION else tensor
    return (0.5 * wide + 0.5 * act(wide, representation)).to(tensor.dtype)


def distance(tensor: Tensor, representation: TensorRepresentation) -> float:
    """Relative distance to the symmetric subspace, |W - P(W)| / |W| (0 for a tensor of zeros)."""
    wide = tensor.detach().double()
    norm = float(wide.norm())
    return float((wide - project(wide, representation)).norm()) / norm if norm else 0.0


def forced_zero(representation: TensorRepresentation) -> Tensor:
    """Which entries can only be zero: those that the mirror maps to minus themselves. Boolean, of the shape."""
    shape = representation.shape
    place = torch.arange(int(torch.tensor(shape).prod()) if shape else 1).reshape(shape)
    unsigned = TensorRepresentation(tuple(abs(axis) for axis in representation.axes))
    sign = act(torch.ones(shape, dtype=torch.float64), representation)
    return (act(place, unsigned) == place) & (sign < 0)
