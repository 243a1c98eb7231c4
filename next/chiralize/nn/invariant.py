"""Tensors that the mirror leaves alone, by one number per orbit, and functions of every entry.

If T exchanges joints 0 and 1 of three, a vector (a a b) is left alone, and its coordinates are (a, b). If T negates
entry 2 as well, (a a 0) has the coordinate (a). Gradient steps on the coordinates never leave the space: biases, norms,
embeddings, learned adjacencies.

A function of every entry commutes with T where T only moves entries. If T negates a channel, f(-x) has to be -f(x)
there: tanh is odd, ReLU is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chiralize.errors import NegatedChannelsError, UsageError
from chiralize.nn.basis import Tables
from chiralize.nn.module import ChiralModule
from chiralize.symmetry.representation import Representation, TensorRepresentation

ODD = (nn.Tanh, nn.Hardtanh, nn.Softsign, nn.Tanhshrink, nn.Hardshrink, nn.Softshrink, nn.Identity)


class InvariantSpace(Tables):
    """Coordinates of {W : T W = W}: the entry that comes first of every orbit. Holds no parameters.

    A pair of entries that T exchanges is one number, a fixed entry one, an entry that T negates none.
    """

    index: Tensor
    sign: Tensor
    first: Tensor
    partner: Tensor
    turn: Tensor

    def __init__(self, representation: TensorRepresentation, device: Any = None) -> None:
        super().__init__()
        self.representation, self.shape = representation, representation.shape
        count = int(np.prod(self.shape, dtype=np.int64))
        here = np.arange(count)
        # T on the numbers 1, 2, ...: where each entry comes from, and with which sign (of which 0 would show none).
        numbered = representation.act(here.reshape(self.shape).astype(np.float64) + 1).reshape(-1)
        partner, sign = (np.abs(numbered) - 1).astype(np.int64), np.sign(numbered)
        # One entry per orbit: the smaller of a pair, a fixed entry itself, and none of a negated one, which must be 0.
        first = np.flatnonzero((here < partner) | ((here == partner) & (sign > 0)))
        orbit = np.zeros(count, np.int64)
        orbit[first] = orbit[partner[first]] = np.arange(len(first))
        signs = np.zeros(count)
        # The second entry of an orbit is the first times the sign; entries without an orbit keep the sign 0.
        signs[partner[first]] = sign[first]
        signs[first] = 1.0
        self.size = len(first)
        self.plain = bool((signs > 0).all())
        self.table("index", orbit, device)
        self.table("sign", signs.astype(np.float32), device)
        self.table("first", first, device)
        self.table("partner", partner, device)
        self.table("turn", sign.astype(np.float32), device)

    @staticmethod
    def of_axis(representation: Representation, device: Any = None) -> InvariantSpace:
        """The invariant vectors of one axis."""
        return InvariantSpace(TensorRepresentation((representation,)), device)

    def full(self, coordinates: Tensor) -> Tensor:
        """The tensor. coordinates: "orbit"."""
        if not self.size:
            return coordinates.new_zeros(self.shape)
        full = coordinates.index_select(0, self.index)
        return (full if self.plain else full * self.sign.to(full.dtype)).view(self.shape)

    def coordinates(self, full: Tensor) -> Tensor:
        """One number per orbit of a tensor that T leaves alone (beyond rounding)."""
        return full.reshape(-1).index_select(0, self.first)

    def image(self, full: Tensor) -> Tensor:
        """T on any tensor of the space's shape."""
        moved = full.reshape(-1).index_select(0, self.partner) * self.turn.to(full.dtype)
        return moved.view(self.shape)


class InvariantParameter(ChiralModule):
    """A learned tensor that T leaves alone: positional embedding, class token, adjacency, query.

    representation: how T acts on its axes.  value: what it starts from, by default standard normal numbers. Calling the
    module gives the tensor.
    Raises AsymmetricWeightError for a value that T changes; nothing is projected here.

    >>> table = InvariantParameter(TensorRepresentation((Representation.parse("3: (0 1)"), Representation.trivial(4))))
    >>> full = table()
    >>> torch.equal(full[0], full[1]), table.weight_even.shape
    (True, torch.Size([8]))
    """

    weight_even: Tensor
    is_parameter = True

    def __init__(self, representation: TensorRepresentation, value: Tensor | None = None) -> None:
        super().__init__()
        like = {} if value is None else {"dtype": value.dtype, "device": value.device}
        self.space = InvariantSpace(representation, like.get("device"))
        self.hold("weight_even", torch.randn(self.space.size, **like))
        if value is not None:
            self.load_dense({"weight": value})

    def forward(self) -> Tensor:
        """The whole tensor."""
        return self.space.full(self.weight_even)

    def dense(self) -> dict[str, Tensor]:
        """The whole tensor as `weight`."""
        return {"weight": self()}

    def dense_representations(self) -> Mapping[str, TensorRepresentation]:
        """How T acts on it."""
        return {"weight": self.space.representation}

    def from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One number per orbit of the whole tensor."""
        return {"weight_even": self.space.coordinates(values["weight"])}


class Pointwise(nn.Module):
    """A function of every entry by itself: any where the mirror only moves entries, an odd one where it negates.

    >>> import torch
    >>> from chiralize.nn import hidden
    >>> Pointwise(nn.ReLU(), hidden(4))(torch.tensor([-1.0, 1.0, 0.0, 2.0])).tolist()
    [0.0, 1.0, 0.0, 2.0]

    function: a torch activation (hardtanh with bounds that are opposite numbers counts as odd).
    Raises NegatedChannelsError for a function that is not odd on a space with signs, UsageError for one that has a
    weight for each channel, such as a PReLU with many.
    """

    def __init__(self, function: nn.Module, representation: Representation) -> None:
        super().__init__()
        self.function, self.representation = function, representation
        # A number per channel would have to be the same for both of a pair, which nothing here sees to.
        if any(parameter.numel() > 1 for parameter in function.parameters()):
            facts = f"{type(function).__name__} has a parameter for every channel"
            raise UsageError("chiralize.nn.Pointwise", facts, "use one number for all channels")
        if not representation.is_sign_free and not _is_odd(function):
            negated = int((representation.action.sign < 0).sum())
            facts = f"{type(function).__name__} is not odd, and {negated} of {representation.size} entries are negated"
            remedy = "use an odd function such as tanh, or a space without signs"
            raise NegatedChannelsError("chiralize.nn", facts, remedy)

    def forward(self, x: Tensor) -> Tensor:
        """The function of every entry of x."""
        return self.function(x)


def _is_odd(function: nn.Module) -> bool:
    """Whether f(-x) = -f(x) for a torch activation, as far as its exact class tells."""
    if isinstance(function, nn.Hardtanh):
        return function.min_val == -function.max_val and type(function) is nn.Hardtanh
    return type(function) in ODD
