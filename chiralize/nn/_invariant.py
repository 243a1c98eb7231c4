"""Tensors that the mirror leaves alone, by one number per orbit: biases, norms, embeddings, learned adjacencies.

If T exchanges joints 0 and 1 of three, a vector (a a b) is left alone, and its coordinates are (a, b). If T negates
entry 2 as well, (a a 0) has the coordinate (a). Gradient steps on the coordinates never leave the space.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chiralize.nn._module import ChiralModule
from chiralize.nn._tables import Tables
from chiralize.symmetry.representation import Representation, TensorRepresentation


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
        # T on the numbers 1, 2, ...: where each entry comes from, and with which sign. They begin at 1, since 0 shows
        # none.
        numbered = representation.act(here.reshape(self.shape).astype(np.float64) + 1).reshape(-1)
        partner, sign = (np.abs(numbered) - 1).astype(np.int64), np.sign(numbered)
        # One entry per orbit: the smaller of a pair, a fixed entry itself, and none of a negated one, which must be
        # 0.
        first = np.flatnonzero((here < partner) | ((here == partner) & (sign > 0)))
        orbit = np.zeros(count, np.int64)
        orbit[first] = orbit[partner[first]] = np.arange(len(first))
        signs = np.zeros(count)
        # The second entry of an orbit is the first times the sign; entries without an orbit keep the sign 0.
        signs[partner[first]] = sign[first]
        signs[first] = 1.0
        self.size = len(first)
        self.plain = bool((signs > 0).all())
        self._table("index", orbit, device)
        self._table("sign", signs.astype(np.float32), device)
        self._table("first", first, device)
        self._table("partner", partner, device)
        self._table("turn", sign.astype(np.float32), device)

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

    representation: how T acts on its axes.  value: what it starts from, by default standard normal
    numbers. Calling the module gives the tensor.
    Raises AsymmetricWeightError for a value that T changes; nothing is projected here.

    >>> table = InvariantParameter(TensorRepresentation((Representation.parse("3: (0 1)"), Representation.trivial(4))))
    >>> full = table()
    >>> torch.equal(full[0], full[1]), table.weight_even.shape
    (True, torch.Size([8]))
    """

    weight_even: Tensor

    def __init__(self, representation: TensorRepresentation, value: Tensor | None = None) -> None:
        super().__init__()
        like = {} if value is None else {"dtype": value.dtype, "device": value.device}
        self.space = InvariantSpace(representation, like.get("device"))
        self._hold("weight_even", torch.randn(self.space.size, **like))
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

    def _from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One number per orbit of the whole tensor."""
        return {"weight_even": self.space.coordinates(values["weight"])}


def along(representation: Representation, device: Any = None) -> InvariantSpace:
    """The invariant vectors of one axis."""
    return InvariantSpace(TensorRepresentation((representation,)), device)
